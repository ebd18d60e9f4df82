// One writer only, many readers: a counter in a file, which four processes add to.
//
//   bun examples/one-writer.ts

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { lockFile } from "bunix";

const [data = "", worker] = process.argv.slice(2);
const lock = `${data}.lock`; // beside the data, which may be exchanged by a rename
if (worker !== undefined) {
  for (let i = 0; i < 25; i++) {
    using _writing = await lockFile(lock, { signal: AbortSignal.timeout(60_000) });
    writeFileSync(data, `${Number(readFileSync(data, "utf8")) + 1}`);
  }
} else {
  const file = `/tmp/one-writer-${process.pid}`;
  writeFileSync(file, "0");
  const command = [process.execPath, import.meta.path, file, "worker"];
  const workers = [1, 2, 3, 4].map(() => Bun.spawn(command));
  await Promise.all(workers.map(({ exited }) => exited));
  using _reading = await lockFile(`${file}.lock`, { shared: true });
  console.log(readFileSync(file, "utf8"), "of 100");
  for (const one of [file, `${file}.lock`]) rmSync(one);
}
