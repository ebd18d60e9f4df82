// npm run soak -- --minutes 5 [--every 10] [--svg FILE]
//
// All channels at once for so long. It prints what the process holds every so many seconds, draws
// it, and ends with 1 where descriptors or memory grew.

import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { drawCurves, type Sample, slope } from "./curve.ts";
import { soak } from "./mix.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    every: { type: "string", default: "10" },
    svg: { type: "string", default: join(tmpdir(), "bunix-soak.svg") },
  },
});
const [minutes, every] = [Number(values.minutes), Number(values.every)];
if (!(minutes > 0 && every > 0)) throw new Error("--minutes and --every are numbers above 0");

/** Growth that counts as none: what a collector may leave one time and not the other. */
const MAX_GROWN_MEBIBYTES = 32;
const MAX_FDS_GROWN = 4;

const row = (cells: readonly (string | number)[]): string =>
  cells.map((cell) => String(cell).padStart(12)).join("");
console.log(row(["seconds", "rss MiB", "heap MiB", "fds", "messages", "fds moved"]));

const onSample = (sample: Sample): void => {
  const { seconds, rssMebibytes, heapMebibytes, fds, messages, fdsMoved } = sample;
  const memory = [rssMebibytes.toFixed(1), heapMebibytes.toFixed(1)];
  console.log(row([seconds.toFixed(0), ...memory, fds, messages, fdsMoved]));
};

const { samples, sums } = await soak({ seconds: minutes * 60, every, onSample });
for (const [name, { messages, fds }] of sums) console.log(row([messages, fds]), ` ${name}`);
const total = samples.at(-1)!;
const title = `${total.messages} messages, ${total.fdsMoved} descriptors in ${minutes} minutes`;
writeFileSync(values.svg, drawCurves(samples, title));

const later = samples.slice(Math.floor(samples.length / 3)); // code is compiled, buffers are there
const perHour = (value: (sample: Sample) => number): number =>
  (slope(later.map(value)) * 3_600) / every;
const [memory, open] = [perHour((one) => one.rssMebibytes), perHour((one) => one.fds)];
const grown = later.at(-1)!.rssMebibytes - later[0]!.rssMebibytes;
const fdsGrown = later.at(-1)!.fds - later[0]!.fds;
console.log(`${title}; curves in ${values.svg}`);
console.log(`per hour: ${memory.toFixed(1)} MiB, ${open.toFixed(1)} descriptors`);
process.exit(grown > MAX_GROWN_MEBIBYTES || fdsGrown > MAX_FDS_GROWN ? 1 : 0);
