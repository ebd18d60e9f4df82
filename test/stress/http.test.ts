// Fifty clients of three users at once, and some that mean harm: each answer names its own client,
// nobody else waits, and nothing is left.

import { expect } from "bun:test";
import http from "node:http";
import net from "node:net";
import { callerOf, capabilities, listen, serveHttp } from "../../src/index.ts";
import { eventually, leakFree } from "../api/tools.ts";
import { fewer, run, start, succeeded } from "../support/child.ts";
import { setMode, tempDir } from "../support/tmp.ts";
import { testsUnless } from "../support/unless.ts";

const CLIENTS = 50;
/** 20,000 in all under `npm run test:long`. */
const REQUESTS = fewer(80);
const TIMEOUT_MS = 120_000;

const { serveHttp: capable } = capabilities();
const { peerTest } = testsUnless(capable.available ? null : capable.reason);

/** Sends requests and reads no answer, until it can send no more; prints how many bytes. */
const FLOOD = `import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(2)
print("begins", flush=True)
sent = 0
try:
    while sent < 2**28: sent += s.send(b"GET /long HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" * 100)
except OSError: pass
print(sent, flush=True)
sys.stdin.read()`;

const MOST_OF_A_FLOOD = 16 * 2 ** 20;

peerTest(
  "each answer names the right uid and pid, whatever others do meanwhile",
  ["root", "python3"],
  () =>
    leakFree(async () => {
      using dir = tempDir();
      setMode(dir.path, 0o755);
      const path = dir.file("s");
      const long = "x".repeat(10_000);
      const server = http.createServer((request, response) => {
        const caller = callerOf(request);
        response.end(request.url === "/long" ? long : `${caller?.pid} ${caller?.uid}`);
      });
      const service = serveHttp(listen(path, { mode: 0o666 }), server);
      const silent = net.connect(path, () => silent.write("GET / HTTP/1.1\r\nHost: x\r\nX: "));
      const half = net.connect(path, () => half.end("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
      half.resume();
      await using flood = start(["python3", "-c", FLOOD, path], { timeoutMs: TIMEOUT_MS });
      await flood.lineWith("begins");
      const crowd = ["python3", "test/fixtures/http-crowd.py", path, `${CLIENTS}`, `${REQUESTS}`];
      const said = succeeded(await run(crowd, { timeoutMs: TIMEOUT_MS }));
      expect(said).toBe(`${CLIENTS * REQUESTS} 0\n`);
      expect(Number(await flood.line())).toBeLessThan(MOST_OF_A_FLOOD);
      flood.kill();
      silent.destroy();
      await eventually(() => service.connections === 0, "no connection is left");
      await service.drain();
    }),
  TIMEOUT_MS,
);
