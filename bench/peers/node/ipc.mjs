// node's own IPC (child_process.fork): prints nanoseconds per message.
//
//   ipc.mjs take|answer COUNT SIZE

import { fork } from "node:child_process";

const [work, count, size] = process.argv.slice(2);
const answers = work === "answer";
if (process.send !== undefined) {
  process.on("message", (value) => {
    if (answers || value === 0) process.send(value);
  });
  process.on("disconnect", () => process.exit());
} else {
  const child = fork(import.meta.filename, [work]);
  const next = () => new Promise((resolve) => child.once("message", resolve));
  const value = { i: 1, pad: "x".repeat(size - 16) };
  const run = async (messages) => {
    const begin = process.hrtime.bigint();
    if (answers) {
      for (let i = 0; i < messages; i++) {
        const coming = next();
        child.send(value);
        await coming;
      }
    } else {
      for (let i = 0; i < messages; i++) {
        if (!child.send(value)) await new Promise(setImmediate);
      }
      const coming = next();
      child.send(0);
      await coming;
    }
    return Number(process.hrtime.bigint() - begin) / messages;
  };
  await run(Number(count));
  console.log(await run(Number(count)));
  child.disconnect();
}
