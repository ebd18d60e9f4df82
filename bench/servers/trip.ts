// trip.ts PATH COUNT WARM MICROS: peers/c/client.c's "trip" as a client on bunix that busy-polls:
// prints the median and the 99th percentile in nanoseconds.

import { configureLoop, connect } from "../../src/index.ts";

const [path = "", count = "1", warm = "0", micros = "0"] = process.argv.slice(2);
const SIZE = 64;
const bytes = new Uint8Array(SIZE);
const took = new Float64Array(Number(count));
let at = -Number(warm);
let begun = 0;
let left = SIZE;

configureLoop({ busyPollMicros: Number(micros) });
const socket = await connect(path);

function begin(): void {
  begun = Bun.nanoseconds();
  left = SIZE;
  if (socket.trySend(bytes) !== SIZE) throw new Error("64 bytes did not fit");
}

begin();
await socket.consume(({ data }) => {
  left -= data.length;
  if (left > 0) return;
  if (at >= 0) took[at] = Bun.nanoseconds() - begun;
  at += 1;
  if (at === took.length) socket.close();
  else begin();
});
took.sort();
const middle = Math.floor(took.length / 2);
const late = Math.floor((took.length * 99) / 100);
console.log(`${took[middle]} ${took[late]}`);
