// The soak in small: every channel at once for some seconds, and nothing grows. Long ones:
// npm run soak -- --minutes 60.

import { expect, test } from "bun:test";
import { leakFree } from "../api/tools.ts";
import { slower, work } from "../support/child.ts";
import { drawCurves, type Sample, slope } from "./curve.ts";
import { type Mix, soak } from "./mix.ts";

const SECONDS = Number(process.env["BUNIX_SOAK_SECONDS"] ?? 4 * work);
const EVERY = SECONDS / 8;
const MAX_GROWN_MEBIBYTES = 96;
const MAX_FDS_GROWN = 4;

test(
  `all channels for ${SECONDS} s: descriptors and memory stay where they were`,
  () =>
    leakFree(async () => {
      const { samples, sums }: Mix = await soak({ seconds: SECONDS, every: EVERY });
      for (const [name, { messages }] of sums) expect([name, messages > 0]).toEqual([name, true]);
      const [first, last] = [samples[1] ?? samples[0]!, samples.at(-1)!];
      console.log(`note: ${last.messages} messages, ${last.fdsMoved} descriptors`);
      expect(last.fds - first.fds).toBeLessThanOrEqual(MAX_FDS_GROWN);
      expect(last.rssMebibytes - first.rssMebibytes).toBeLessThan(MAX_GROWN_MEBIBYTES);
    }),
  120_000 * slower,
);

test("the curves are drawn, and their slope is right", () => {
  const samples: Sample[] = [1, 2, 3].map((seconds) => ({
    seconds,
    rssMebibytes: 10 * seconds,
    heapMebibytes: 5,
    fds: 20,
    messages: seconds,
    fdsMoved: 0,
  }));
  const svg = drawCurves(samples, "a title");
  expect(svg.match(/<polyline/g)).toHaveLength(3);
  expect(svg).toContain("resident memory, MiB: 10.0 … 30.0");
  expect(slope(samples.map(({ rssMebibytes }) => rssMebibytes))).toBe(10);
  expect(slope([4, 4, 4])).toBe(0);
  expect(slope([4])).toBe(0);
});
