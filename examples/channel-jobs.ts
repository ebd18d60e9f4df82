// A job runner: jobs with their input and their log as descriptors, many at once, one cancelled.
//
//   bun examples/channel-jobs.ts

import { once } from "node:events";
import { readSync, writeSync } from "node:fs";
import { type Fd, parentMessages, pipe, SharedMemory, spawn } from "bunix";

const parent = parentMessages<{ name: string; input: Fd; log: Fd }>();
if (parent !== null) {
  await parent.serve(async ({ value: { name, input, log } }, { signal }) => {
    const words = Buffer.from(SharedMemory.map(input).bytes).toString().split(" ");
    if (name === "sleep") return { ended: await once(signal, "abort") }; // the other side gives up
    writeSync(log.fd, `${name}: ${words.length} words\n`);
    return { words: words.length };
  });
} else {
  await using runner = spawn([process.execPath, import.meta.path], { channel: "messages" });
  using log = pipe();
  using input = SharedMemory.create("what a job reads");
  const job = (name: string, signal?: AbortSignal) =>
    runner.messages.request({ name, input, log: log.write }, { signal });
  const stopped = job("sleep", AbortSignal.timeout(50)).catch(({ name }) => name);
  for (const { value } of await Promise.all(["a", "b"].map((name) => job(name)))) {
    console.log(JSON.stringify(value));
  }
  console.log(await stopped); // TimeoutError
  const said = Buffer.alloc(100);
  console.log(said.toString("utf8", 0, readSync(log.read.fd, said)).trimEnd());
}
