// A server that closes removes its own file, and never that of the server that came after it.

import { describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { adoptSocket, type Listener, listen } from "../../src/index.ts";
import { slower, startScript, writeSource } from "../support/child.ts";
import { rounds, roundsSync } from "../support/rounds.ts";
import { tempDir } from "../support/tmp.ts";
import { noSockDiag, testUnless } from "../support/unless.ts";
import { Scope } from "../syscalls/sockets.ts";
import { Crew, leaveStale, numberOf, open, type Take, types, visit } from "./crew.ts";

const inode = (path: string): number => lstatSync(path).ino;

/** Its client comes to this very server. */
function reaches(path: string, server: Listener): void {
  expect(visit(path, "stream")).toBe(process.pid);
  const accepted = server.tryAccept();
  expect(accepted).toBeDefined();
  accepted?.close();
}

const TIMEOUT_MS = 60_000 * slower;
/** Each looks through /proc, whose length is that of the machine's load. */
const AMOUNT = { atLeast: 20, seconds: 1 };

describe("many successors", () => {
  test(
    "with replace: true",
    () => {
      using dir = tempDir();
      const path = dir.file("s");
      let old = listen(path);
      roundsSync(AMOUNT, () => {
        const next = listen(path, { replace: true });
        const file = inode(path);
        old.close();
        expect(inode(path)).toBe(file);
        reaches(path, next);
        old = next;
      });
      old.close();
      expect(readdirSync(dir.path)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test("by hand: the file removed, and another made", () => {
    using dir = tempDir();
    const path = dir.file("s");
    roundsSync(AMOUNT, (i) => {
      const type = types[i % 3]!;
      const old = open(path, type);
      unlinkSync(path);
      using scope = new Scope();
      scope.bound(path, numberOf[type]);
      const file = inode(path);
      old.close();
      expect(inode(path)).toBe(file);
      unlinkSync(path);
    });
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test(
    "that come just when the old server goes",
    async () => {
      using own = tempDir();
      using dir = tempDir();
      await using crew = await Crew.of(own, 2);
      const [a, b] = [crew.members[0]!, crew.members[1]!];
      const take: Take = { address: dir.file("s"), type: "stream", options: { replace: true } };
      let [server, next] = [a, b];
      await crew.race(new Map([[server, take]]));
      await rounds({ atLeast: 20, seconds: 2 }, async (i) => {
        // the one takes some time before its rename: let the other's end wander over it
        const leave: Take = { ...take, do: "leave", delayUs: ((i * 9) % 200) * 25 };
        const answers = await crew.race(
          new Map([
            [server, leave],
            [next, take],
          ]),
        );
        const answer = answers.get(next);
        if (answer?.won !== true) throw new Error(`round ${i}: ${answer?.message}`);
        expect(visit(take.address, "stream")).toBe(next.pid);
        [server, next] = [next, server];
      });
      await server.close();
      expect(readdirSync(dir.path)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

test(
  "clients in a tight loop find a server through many replacements",
  async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const script = writeSource(
      dir,
      `import { existsSync } from "node:fs";
import { connectSync } from "@/src/index.ts";
const [path, stop] = process.argv.slice(2) as [string, string];
const codes: string[] = [];
let tries = 0;
console.log("ready");
for (; tries % 64 || !existsSync(stop); tries++) {
  try {
    connectSync(path).close();
  } catch (error) {
    codes.push((error as { code: string }).code);
  }
}
console.log(JSON.stringify({ tries, codes }));`,
    );
    const serve = (): Listener => {
      const server = listen(path, { replace: true });
      server.consume((socket) => socket.close()).catch(() => {}); // else they wait
      return server;
    };
    const servers = [serve()];
    await using client = startScript(script, [path, dir.file("stop")]);
    await client.lineWith("ready");
    const replacements = await rounds(AMOUNT, async () => {
      servers.push(serve());
      if (servers.length > 2) servers.shift()?.close(); // it had its clients until the next but one
      await Bun.sleep(1);
    });
    writeFileSync(dir.file("stop"), "");
    const { tries, codes } = JSON.parse((await client.line()) ?? "") as {
      tries: number;
      codes: string[];
    };
    for (const server of servers) server.close();
    expect(codes).toEqual([]);
    expect(tries).toBeGreaterThan(10);
    console.log(`note: ${tries} connections during ${replacements} replacements, none refused`);
  },
  TIMEOUT_MS,
);

testUnless(noSockDiag(), "what a killed successor left is cleaned up, and nothing else", () => {
  using dir = tempDir();
  using scope = new Scope();
  const path = dir.file("s");
  leaveStale(dir.file(".bunix-0123abcd"));
  leaveStale(dir.file(".bunix-0123abcdef")); // not a name of ours
  writeFileSync(dir.file(".bunix-11111111"), "a file");
  scope.listener(dir.file(".bunix-22222222")); // another successor, between bind and rename
  using old = listen(path);
  using next = listen(path, { replace: true });
  const rest = [".bunix-0123abcdef", ".bunix-11111111", ".bunix-22222222", "s"];
  expect(readdirSync(dir.path).sort()).toEqual(rest);
  old.close();
  next.close();
  expect(readdirSync(dir.path).sort()).toEqual(rest.slice(0, 3));
});

describe("which file goes", () => {
  test("the directory was renamed: its own, wherever it is by then", () => {
    for (const type of types) {
      using dir = tempDir();
      mkdirSync(dir.file("a"));
      const server = open(dir.file("a/s"), type);
      renameSync(dir.file("a"), dir.file("b"));
      mkdirSync(dir.file("a"));
      using another = open(dir.file("a/s"), type);
      server.close();
      expect(existsSync(dir.file("b/s"))).toBe(false);
      expect(existsSync(dir.file("a/s"))).toBe(true);
      another.close();
    }
  });

  test("the file was renamed: neither it nor another of the old name", () => {
    using dir = tempDir();
    const server = open(dir.file("s"), "stream");
    renameSync(dir.file("s"), dir.file("t"));
    writeFileSync(dir.file("s"), "");
    server.close();
    expect(readdirSync(dir.path).sort()).toEqual(["s", "t"]);
  });

  test("removed by somebody else already, or with its directory", () => {
    using dir = tempDir();
    const server = open(dir.file("s"), "stream");
    dir.remove();
    server.close();
    expect(server.closed).toBe(true);
  });

  test("release: the file stays with the descriptor; what is adopted removes none", () => {
    for (const type of types) {
      using dir = tempDir();
      const path = dir.file("s");
      const fd = open(path, type).release();
      expect(existsSync(path)).toBe(true);
      const adopted = adoptSocket(fd);
      adopted.close();
      expect(existsSync(path)).toBe(true);
      open(path, type).close(); // stale by now
      expect(existsSync(path)).toBe(false);
    }
  });

  test("inherited: a child that closes it, and ends, removes nothing", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const script = writeSource(
      dir,
      `import { adoptSocket } from "@/src/index.ts";
adoptSocket(3).close();
console.log("closed");`,
      "child.ts",
    );
    using server = listen(path);
    await using child = startScript(script, [], { fds: [server.fd] });
    await child.lineWith("closed");
    expect((await child.exited).code).toBe(0);
    reaches(path, server);
  });

  test("unlinkOnClose: false leaves it, also of a successor", () => {
    for (const type of types) {
      using dir = tempDir();
      const path = dir.file("s");
      open(path, type, { unlinkOnClose: false }).close();
      expect(lstatSync(path).isSocket()).toBe(true);
      using old = open(path, type);
      open(path, type, { replace: true, unlinkOnClose: false }).close();
      old.close();
      expect(readdirSync(dir.path)).toEqual(["s"]);
    }
  });
});
