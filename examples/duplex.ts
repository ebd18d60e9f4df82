// A node:stream over the socket, for libraries that expect a net.Socket; descriptors ride along.
//
//   bun examples/duplex.ts

import { closeSync, openSync, readSync } from "node:fs";
import { socketPair } from "bunix";

const [a, b] = socketPair("stream");
const left = a.toDuplex();
const right = b.toDuplex();
const queue: number[] = [];

right.on("fds", (fds) => queue.push(...fds)); // before the "data" that they came with
right.on("data", (bytes: Buffer) => {
  const fd = queue.shift();
  if (fd === undefined) throw new Error("the bytes came without their descriptor");
  const start = Buffer.alloc(9);
  readSync(fd, start);
  closeSync(fd); // what came is ours to close
  console.log(`${bytes}: descriptor of a file that starts with "${start}"`);
  right.end();
  left.destroy();
});

const file = openSync(import.meta.path, "r");
left.writeWithFds(Buffer.from("take this"), [file]); // duplicated: `file` stays ours
closeSync(file);
