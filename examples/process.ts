// A process held by a descriptor: it never becomes another one that got the same pid.
//
//   bun examples/process.ts

import { readSync } from "node:fs";
import { ProcessHandle } from "bunix";

const child = Bun.spawn(["sleep", "60"], { stdin: Bun.file(import.meta.path) });
using handle = ProcessHandle.open(child.pid);
console.log(`alive: ${handle.alive()}, its parent is us: ${handle.info()?.ppid === process.pid}`);

using stdin = handle.duplicateFd(0); // another process's open file
const start = Buffer.alloc(12);
readSync(stdin.fd, start);
console.log(`its standard input begins with "${start}"`);

handle.signal("SIGTERM"); // by the descriptor, not by the number
const status = await handle.exited();
console.log(`ended by ${status?.signal}, alive: ${handle.alive()}`);
