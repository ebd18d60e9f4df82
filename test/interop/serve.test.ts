// Listeners that other programs opened and handed over, and their clients.

import { expect } from "bun:test";
import { existsSync, unlinkSync } from "node:fs";
import { listen, listenTcp, serveOn } from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { portOf } from "../api/servers.ts";
import { leakFree } from "../api/tools.ts";
import { run, start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";

const echo = {
  fetch: async (request: Request) => new Response(`got ${await request.text()}`),
};

for (const kind of ["tcp", "unix"]) {
  peerTest(`a ${kind} listener that python3 opened and sent`, ["python3"], () =>
    leakFree(async () => {
      const [control, path] = [freshPath(), freshPath()];
      using door = listen(control);
      await using peer = start(["python3", "test/fixtures/serve-peer.py", control, kind, path]);
      using channel = await door.accept();
      using message = await channel.receive();
      const [listening] = message?.fds ?? [];
      if (listening === undefined) throw new Error("no descriptor came");
      const server = serveOn(listening, (where) => Bun.serve({ ...where, ...echo }));
      listening.close();
      await channel.send("go");
      expect(await peer.line()).toBe("0 []");
      expect((await peer.exited).code).toBe(0);
      await server.stop(true);
      if (kind === "unix") {
        expect(existsSync(path)).toBe(true); // python3 made it, nobody told us to remove it
        unlinkSync(path);
      }
    }),
  );
}

peerTest("curl, on both kinds at once", ["curl"], () =>
  leakFree(async () => {
    const path = freshPath();
    using tcp = listenTcp({ hostname: "127.0.0.1", port: 0 });
    using unix = listen(path);
    const servers = [tcp, unix].map((fd) =>
      serveOn(fd, (where) => Bun.serve({ ...where, ...echo })),
    );
    const url = `http://127.0.0.1:${portOf(tcp.fd)}/`;
    for (const way of [[url], ["--unix-socket", path, "http://localhost/"]]) {
      const { stdout, code } = await run(["curl", "-sS", "-d", "a body", ...way, ...way.slice(-1)]);
      expect([stdout, code]).toEqual(["got a bodygot a body", 0]);
    }
    for (const server of servers) await server.stop(true);
  }),
);
