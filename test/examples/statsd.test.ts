// examples/statsd.ts: an agent gets every metric, though its queue holds far fewer datagrams.

import { expect } from "bun:test";
import { join } from "node:path";
import { root, runScript, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { wakers } from "./daemons.ts";

const METRIC = /^[a-z.]+:(-?[\d.]+|anna)\|(c|g|ms|s)(\|@[\d.]+)?(\|#\w+:[/\w]+)?$/;
const MAX_BYTES = 8192;
const METRICS = 10_003;

for (const waker of wakers) {
  peerTest(`an agent in Python [${waker}]`, ["python3"], async () => {
    using dir = tempDir();
    const path = dir.file("agent");
    const fixture = join(root, "test/fixtures/log-peer.py");
    await using agent = start(["python3", fixture, "text", path]);
    await agent.lineWith("ready");
    const running = runScript("examples/statsd.ts", [path], { env: { BUNIX_WAKER: waker } });
    const seen: string[] = [];
    let datagrams = 0;
    while (seen.length < METRICS) {
      const datagram: string = JSON.parse(await agent.lineWith('"'));
      expect(Buffer.byteLength(datagram)).toBeLessThanOrEqual(MAX_BYTES);
      seen.push(...datagram.split("\n"));
      datagrams++;
    }
    const said = succeeded(await running);
    expect(said).toBe(`${METRICS} metrics in ${datagrams} datagrams\n`);
    expect(seen.filter((metric) => !METRIC.test(metric))).toEqual([]);
    expect(seen.length).toBe(METRICS);
    expect(seen.filter((metric) => metric === "requests:1|c|#route:/login").length).toBe(5_000);
    expect(new Set(seen.filter((metric) => metric.startsWith("latency:"))).size).toBe(100);
    expect(seen.slice(0, 3)).toEqual([
      "jobs.waiting:7|g",
      "users.unique:anna|s",
      "temperature:-1.5|g|#place:roof",
    ]);
  });
}
