// Clients that are not ours on an API by serveHttp: curl, Python, Go, and docker's own.

import { expect } from "bun:test";
import http from "node:http";
import { callerOf, capabilities, listen, serveHttp } from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { eventually, leakFree } from "../api/tools.ts";
import { type Outcome, run, start, succeeded } from "../support/child.ts";
import { buildGo } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { testsUnless } from "../support/unless.ts";

const { serveHttp: capable } = capabilities();
const { peerTest } = testsUnless(capable.available ? null : capable.reason);

/** An API at a path, for as long as `body` runs; then no connection is left. */
async function serving(
  handler: http.RequestListener,
  body: (path: string, server: http.Server) => Promise<void>,
): Promise<void> {
  const path = freshPath();
  const server = http.createServer(handler);
  const service = serveHttp(listen(path), server);
  try {
    await body(path, server);
  } finally {
    service.close();
  }
  await eventually(() => service.connections === 0, "no connection is left");
}

/** The pid of who calls; of a POST how much came, too. */
const pids: http.RequestListener = (request, response) => {
  let bytes = 0;
  request.on("data", (data: Buffer) => (bytes += data.length));
  request.on("end", () => {
    const pid = `${callerOf(request)?.pid}`;
    response.end(request.method === "POST" ? `${pid} ${bytes}` : pid);
  });
};

peerTest("curl: GET, POST with Expect: 100-continue, several on one connection", ["curl"], () =>
  leakFree(() =>
    serving(pids, async (path) => {
      using dir = tempDir();
      await Bun.write(dir.file("body"), "x".repeat(2_000_000));
      const curl = async (...rest: string[]): Promise<string[]> => {
        const child = start(["curl", "-sS", "--unix-socket", path, ...rest]);
        const said = succeeded(await child.exited);
        expect(said).toContain(String(child.pid));
        return said.split(String(child.pid));
      };
      const url = "http://localhost/";
      expect(await curl(url, url, url)).toEqual(["", "", "", ""]);
      const upload = ["--data-binary", `@${dir.file("body")}`, "-H", "Expect: 100-continue"];
      expect(await curl(...upload, url)).toEqual(["", " 2000000"]);
    }),
  ),
);

peerTest("python3's http.client: kept, and one for each", ["python3"], () =>
  leakFree(() =>
    serving(pids, async (path) => {
      const program = `import http.client, os, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])
def ask(connection, method, body=None):
    connection.request(method, "/", body)
    return connection.getresponse().read().decode()
kept = Unix("localhost")
own = str(os.getpid())
posted = ask(kept, "POST", b"x" * 70000)
print([ask(kept, "GET") == own for _ in range(3)], posted == own + " 70000")
print([ask(Unix("localhost"), "GET") == own for _ in range(3)])
print(ask(kept, "POST", iter([b"chunk", b"ed"])) == own + " 7")`;
      const said = succeeded(await run(["python3", "-c", program, path]));
      expect(said).toBe("[True, True, True] True\n[True, True, True]\nTrue\n");
    }),
  ),
);

peerTest("Go's http.Client with a dialer of its own, 40 requests at once", ["go"], () =>
  leakFree(() =>
    serving(pids, async (path) => {
      expect(succeeded(await run([buildGo("test/fixtures/http-go"), path, "40"]))).toBe(
        "40 right\n",
      );
    }),
  ),
);

const API = "1.41";

/** As much of Docker's API as `version`, `ps` and `exec` ask for. */
function docker(seen: Set<number | null | undefined>): http.RequestListener {
  return (request, response) => {
    seen.add(callerOf(request)?.pid);
    const path = request.url!.replace(/^\/v[\d.]+/, "").split("?")[0]!;
    response.setHeader("Api-Version", API);
    const json = (value: unknown): void => {
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify(value));
    };
    if (path === "/_ping") response.end(request.method === "HEAD" ? undefined : "OK");
    else if (path === "/version")
      json({ Version: "bunix", ApiVersion: API, MinAPIVersion: "1.12" });
    else if (path === "/info") json({ ServerVersion: "bunix" });
    else if (path === "/containers/json") {
      const one = { Id: "0123456789abcdef", Image: "image", Command: "sleep", Created: 1 };
      json([{ ...one, Names: ["/web"], State: "running", Status: "Up", Ports: [] }]);
    } else if (path === "/containers/web/json") json({ Id: "web", State: { Running: true } });
    else if (path === "/containers/web/exec") json({ Id: "e1" });
    else if (path === "/exec/e1/json") json({ ID: "e1", Running: false, ExitCode: 7 });
    else response.writeHead(404).end("{}");
  };
}

/** A piece of a container's standard output, in the frame of Docker's streams. */
function framed(text: string): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 1;
  head.writeUInt32BE(text.length, 4);
  return Buffer.concat([head, Buffer.from(text)]);
}

peerTest("docker -H unix://: version, ps, and exec, which upgrades", ["docker"], () =>
  leakFree(async () => {
    const seen = new Set<number | null | undefined>();
    await serving(docker(seen), async (path, server) => {
      server.on("upgrade", (request, socket) => {
        request.resume();
        const pid = callerOf(socket)?.pid;
        seen.add(pid);
        socket.write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
        socket.end(framed(`run for ${pid}\n`));
      });
      using dir = tempDir();
      const ask = async (...rest: string[]): Promise<Outcome & { pid: number }> => {
        const env = { DOCKER_CONFIG: dir.path, HOME: dir.path, DOCKER_CONTEXT: undefined };
        const child = start(["docker", "-H", `unix://${path}`, ...rest], { env });
        return { ...(await child.exited), pid: child.pid };
      };
      const version = await ask("version", "--format", "{{.Server.Version}}");
      expect(version).toMatchObject({ code: 0, stdout: "bunix\n" });
      expect([...seen]).toEqual([version.pid]);
      const ps = await ask("ps", "--format", "{{.ID}} {{.Names}} {{.Status}}");
      expect(ps).toMatchObject({ code: 0, stdout: "0123456789ab web Up\n" });
      const exec = await ask("exec", "web", "true");
      expect(exec).toMatchObject({ code: 7, stdout: `run for ${exec.pid}\n` });
      expect(seen).toEqual(new Set([version.pid, ps.pid, exec.pid]));
    });
  }),
);
