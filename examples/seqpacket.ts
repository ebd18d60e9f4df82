// Seqpacket: a connection, like a stream, that keeps messages apart, like datagrams.
//
//   bun examples/seqpacket.ts

import { socketPair } from "bunix";

const [a, b] = socketPair("seqpacket");

await a.send("one");
await a.send(""); // an empty message is a message, not the end
await a.sendBatch(["two", "three", "four"]); // one system call
a.close();

const seen: string[] = [];
for await (const message of b) {
  seen.push(message.text());
  message.close();
}
b.close();

console.log(seen); // [ "one", "", "two", "three", "four" ]
if (seen.join() !== "one,,two,three,four") process.exitCode = 1;
