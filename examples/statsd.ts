// Metrics to a statsd agent: many to a datagram, and many datagrams with one system call.
//
//   bun examples/statsd.ts [socket]

import { openDatagram } from "bunix";

const MAX_BYTES = 8192; // what agents read at once from a Unix socket

/** Lines put together into datagrams of at most `MOST_BYTES`. */
function pack(lines: string[]): string[] {
  const packed: string[] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const line of lines) {
    const more = Buffer.byteLength(line) + 1;
    if (bytes + more > MAX_BYTES) {
      packed.push(line);
      bytes = more;
    } else {
      packed[packed.length - 1] += `\n${line}`;
      bytes += more;
    }
  }
  return packed;
}

const [agent = "/var/run/datadog/dsd.socket"] = process.argv.slice(2);
using socket = openDatagram(undefined, { connect: agent });

const metrics = ["jobs.waiting:7|g", "users.unique:anna|s", "temperature:-1.5|g|#place:roof"];
for (let i = 0; i < 5_000; i++) {
  metrics.push("requests:1|c|#route:/login", `latency:${(i % 100) + 0.5}|ms|@0.5`);
}
const datagrams = pack(metrics);
await socket.sendBatch(datagrams); // waits for a slow agent; trySendBatch would say what to drop
console.log(`${metrics.length} metrics in ${datagrams.length} datagrams`);
