// CONNECT, Expect, pipelining and upgrades, whoever accepts: curl, python3, node:http and C as
// clients, and who each of them is.

import { describe, expect } from "bun:test";
import { once } from "node:events";
import http from "node:http";
import type { Duplex } from "node:stream";
import { callerOf, capabilities, listen, serveHttp } from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { eventually, leakFree } from "../api/tools.ts";
import { run, start, succeeded } from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import { testsUnless } from "../support/unless.ts";

const { serveHttp: capable } = capabilities();
const { test, peerTest } = testsUnless(capable.available ? null : capable.reason);

const pid = (of: object): string => `${callerOf(of)?.pid}`;

/** What has come of a body, and who has sent it. */
const tell: http.RequestListener = (request, response) => {
  let bytes = 0;
  request.on("data", (data: Buffer) => (bytes += data.length));
  request.on("end", () => response.end(`${pid(request)} ${request.url} ${bytes}`));
};

/** Answers one request within a tunnel by hand, then ends. */
function within(request: object, socket: Duplex, head: Buffer): void {
  socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
  let heard = head.toString("latin1");
  const look = (): void => {
    if (!heard.endsWith("\r\n\r\n")) return;
    const text = `${pid(request)} ${pid(socket)}`;
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`);
  };
  socket.on("data", (data) => {
    heard += String(data);
    look();
  });
  look();
}

for (const acceptBy of ["bun", "bunix"] as const) {
  /** A server at a path, for as long as `body` runs; then no connection is left. */
  const serving = async (
    server: http.Server,
    body: (path: string) => Promise<void>,
  ): Promise<void> => {
    const path = freshPath();
    const service = serveHttp(listen(path), server, { acceptBy });
    try {
      await body(path);
      await eventually(() => service.connections === 0, "no connection is left");
    } finally {
      service.close();
    }
  };

  describe(`accepted by ${acceptBy}`, () => {
    peerTest("CONNECT: python3's http.client goes through a tunnel", ["python3"], () =>
      leakFree(() =>
        serving(http.createServer().on("connect", within), async (path) => {
          const program = `import http.client, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])
        self._tunnel()
c = Unix("proxy")
c.set_tunnel("target", 80)
c.request("GET", "/in")
print(c.getresponse().read().decode())`;
          const child = start(["python3", "-c", program, path]);
          expect(succeeded(await child.exited)).toBe(`${child.pid} ${child.pid}\n`);
        }),
      ),
    );

    test("CONNECT: node:http, with bytes behind the head", () =>
      leakFree(() =>
        serving(http.createServer().on("connect", within), async (path) => {
          const asked = http.request({ socketPath: path, method: "CONNECT", path: "target:80" });
          asked.end();
          const [response, socket] = (await once(asked, "connect")) as [
            http.IncomingMessage,
            Duplex,
          ];
          expect(response.statusCode).toBe(200);
          socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
          const parts: Buffer[] = [];
          for await (const part of socket) parts.push(part as Buffer);
          expect(Buffer.concat(parts).toString()).toEndWith(`${process.pid} ${process.pid}`);
        }),
      ));

    peerTest("Expect: 100-continue, by default and by the server's own decision", ["curl"], () =>
      leakFree(async () => {
        const decides = http.createServer(tell).on("checkContinue", (request, response) => {
          if (request.url === "/no") return void response.writeHead(417).end(pid(request));
          response.writeContinue();
          tell(request, response);
        });
        for (const server of [http.createServer(tell), decides]) {
          await serving(server, async (path) => {
            const post = ["-d", "x".repeat(2_000), "-H", "Expect: 100-continue"];
            const curl = ["curl", "-sS", "-v", "--unix-socket", path, ...post, "http://x/yes"];
            const child = start(curl);
            const { stdout, stderr } = await child.exited;
            expect(stdout).toBe(`${child.pid} /yes 2000`);
            expect(stderr).toContain("100 Continue");
          });
        }
        await serving(decides, async (path) => {
          const headers = { Expect: "100-continue", "Content-Length": "5" };
          const options = { socketPath: path, method: "POST", headers, agent: false as const };
          const asked = http.request({ ...options, path: "/yes" });
          asked.flushHeaders();
          await once(asked, "continue");
          asked.end("hello");
          const [response] = (await once(asked, "response")) as [http.IncomingMessage];
          expect(await textOf(response)).toBe(`${process.pid} /yes 5`);
          const refused = http.request({ ...options, path: "/no" });
          refused.on("error", () => {}).flushHeaders();
          const [said] = (await once(refused, "response")) as [http.IncomingMessage];
          expect([said.statusCode, await textOf(said)]).toEqual([417, String(process.pid)]);
          refused.destroy();
        });
      }),
    );

    peerTest("pipelining: C, twenty at once, a body among them", ["cc"], () =>
      leakFree(() =>
        serving(http.createServer(tell), async (path) => {
          const child = start([compileC("test/fixtures/http-pipeline.c"), path, "20"]);
          const said = succeeded(await child.exited);
          const answers = Array.from(said.matchAll(/^\d+ \/\d+ \d+/gm), ([one]) => one);
          expect(answers).toEqual(
            Array.from({ length: 20 }, (_, i) => `${child.pid} /${i} ${i % 5 === 4 ? 3 : 0}`),
          );
        }),
      ),
    );

    peerTest("Upgrade: python3, and requests before it on the same connection", ["python3"], () =>
      leakFree(() => {
        const server = http.createServer(tell).on("upgrade", (request, socket, head) => {
          socket.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
          );
          socket.write(`${pid(request)} ${pid(socket)} ${head}`);
          socket.pipe(socket);
        });
        return serving(server, async (path) => {
          const program = `import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); own = str(os.getpid()).encode()
def until(end):
    heard = b""
    while not heard.endswith(end):
        more = s.recv(65536)
        if not more: raise EOFError(heard)
        heard += more
    return heard
s.sendall(b"GET /1 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"); until(own + b" /1 0")
s.sendall(b"GET /2 HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: x\\r\\n\\r\\n")
until(own + b" " + own + b" ")
s.sendall(b"ping"); until(b"ping")
s.shutdown(socket.SHUT_WR); print("right", s.recv(10))`;
          expect(succeeded(await run(["python3", "-c", program, path]))).toBe("right b''\n");
        });
      }),
    );

    test("Upgrade: node:http", () =>
      leakFree(() => {
        const server = http.createServer().on("upgrade", (request, socket) => {
          const headers = "Connection: Upgrade\r\nUpgrade: x\r\n\r\n";
          socket.end(`HTTP/1.1 101 Switching Protocols\r\n${headers}${pid(request)}`);
        });
        return serving(server, async (path) => {
          const headers = { Connection: "Upgrade", Upgrade: "x" };
          const asked = http.request({ socketPath: path, headers });
          asked.end();
          const [, socket, head] = (await once(asked, "upgrade")) as [unknown, Duplex, Buffer];
          let heard = head.toString();
          for await (const part of socket) heard += String(part);
          expect(heard).toBe(String(process.pid));
        });
      }));
  });
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of response) text += String(part);
  return text;
}
