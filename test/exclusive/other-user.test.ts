// Another user of the same machine, and directories where everybody may write.

import { describe, expect, test } from "bun:test";
import { chownSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { AddressInUseError } from "../../src/bind/in-use.ts";
import { listen, UnixError } from "../../src/index.ts";
import { type Child, run, start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { roundsSync } from "../support/rounds.ts";
import { setMode, type TempDir, tempDir } from "../support/tmp.ts";
import { Scope } from "../syscalls/sockets.ts";
import { leaveStale, open, serverCommand, startServer, types, visit } from "./crew.ts";

const NOBODY = 65_534;
const needs = ["root", "python3"];

/** A directory like /tmp: of mode 1777. */
function sticky(): TempDir {
  const dir = tempDir();
  setMode(dir.path, 0o1777);
  return dir;
}

const identity = (path: string): string => {
  const { dev, ino, mode, uid, gid } = lstatSync(path);
  return [dev, ino, mode, uid, gid].join(" ");
};

/** What a start as uid 65534 says. */
async function nobodyStarts(path: string, options: object = {}): Promise<string> {
  const { stdout, stderr } = await run(serverCommand(path, { ...options, uid: NOBODY }));
  return stdout + stderr;
}

async function refusal(call: () => unknown): Promise<AddressInUseError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof AddressInUseError) return error;
    throw error;
  }
  throw new Error("it was taken");
}

describe("uid 65534 against root's socket in a sticky directory", () => {
  const options = [{}, { takeOver: true }, { replace: true }, { takeOver: true, replace: true }];
  peerTest("live: stays, and root is named", needs, async () => {
    using dir = sticky();
    const path = dir.file("s");
    for (const type of types) {
      using server = open(path, type, { mode: 0o666 });
      const before = identity(path);
      for (const one of options) {
        const said = await nobodyStarts(path, { ...one, type: "stream" });
        expect(said).toContain("EADDRINUSE");
        expect(said).toContain("the socket belongs to uid 0");
      }
      expect(identity(path)).toBe(before);
      expect(readdirSync(dir.path)).toEqual(["s"]);
      server.close();
    }
  });

  peerTest("stale: stays", needs, async () => {
    using dir = sticky();
    const path = dir.file("s");
    leaveStale(path);
    setMode(path, 0o666);
    const before = identity(path);
    for (const one of options) expect(await nobodyStarts(path, one)).toMatch(/EADDRINUSE|EPERM/);
    expect(identity(path)).toBe(before);
    setMode(path, 0o600); // and it may not even knock
    expect(await nobodyStarts(path)).toMatch(/may not connect/);
    using server = listen(path); // root itself takes it over
    expect(visit(path, "stream")).toBe(process.pid);
    server.close();
  });

  peerTest("its server there is not disturbed by root", needs, async () => {
    using dir = sticky();
    const path = dir.file("s");
    await using child = startServer(path, { uid: NOBODY });
    await child.lineWith("listening");
    const before = identity(path);
    for (const one of options) {
      const error = await refusal(() => listen(path, one));
      expect(error.message).toContain(`uid ${NOBODY}; process ${child.pid} (`);
    }
    expect(identity(path)).toBe(before);
    expect(visit(path, "stream")).toBe(child.pid);
  });

  peerTest("root leaves its stale socket, unless told to take over", needs, async () => {
    using dir = sticky();
    const path = dir.file("s");
    leaveStale(path);
    chownSync(path, NOBODY, NOBODY);
    const before = identity(path);
    const error = await refusal(() => listen(path));
    expect(error.message).toContain(
      `uid ${NOBODY}; it is stale: remove it, or pass takeOver: true`,
    );
    expect(error.found.state).toBe("stale");
    expect(identity(path)).toBe(before);
    using _server = listen(path, { takeOver: true });
    expect(lstatSync(path).uid).toBe(0);
  });
});

describe("root gives the file away", () => {
  peerTest("is killed, and starts again: that is its own", needs, async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const options = { owner: { uid: NOBODY, gid: NOBODY } };
    for (const type of types) {
      const child = startServer(path, { ...options, datagram: type === "datagram" });
      await child.lineWith("listening");
      child.kill("SIGKILL");
      await child.exited;
      expect(lstatSync(path).uid).toBe(NOBODY);
      const error = await refusal(() => open(path, type)); // which would not give it to him
      expect(error.message).toContain(`the socket belongs to uid ${NOBODY}`);
      const server = open(path, type, options);
      expect(await refusal(() => open(path, type, options))).toBeInstanceOf(AddressInUseError);
      const next = open(path, type, { ...options, replace: true });
      server.close();
      expect(lstatSync(path).uid).toBe(NOBODY);
      next.close();
      expect(readdirSync(dir.path)).toEqual([]);
    }
  });

  peerTest("what a killed successor of it left goes, too", needs, async () => {
    using dir = tempDir();
    const [path, aside] = [dir.file("s"), dir.file(".bunix-01234567")];
    leaveStale(aside);
    chownSync(aside, NOBODY, NOBODY);
    const options = { owner: { uid: NOBODY } };
    const old = listen(path, options);
    const next = listen(path, { ...options, replace: true });
    expect(readdirSync(dir.path)).toEqual(["s"]);
    old.close();
    next.close();
  });
});

describe("directories where everybody may replace files", () => {
  test("refused without a sticky bit, unless told", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    setMode(dir.path, 0o777);
    for (const type of types) {
      let code = "";
      try {
        open(path, type).close();
      } catch (error) {
        if (error instanceof UnixError) code = error.code;
        expect(String(error)).toContain(dir.path);
        expect(String(error)).toContain("sticky bit");
      }
      expect(code).toBe("ERR_UNSAFE_DIRECTORY");
      open(path, type, { unsafeDirectory: true }).close();
    }
    for (const mode of [0o1777, 0o755, 0o770]) {
      setMode(dir.path, mode);
      open(path, "stream").close();
    }
  });
});

/** A file and a live socket of root's, as targets; whether all of it is as it was. */
class Treasure implements Disposable {
  readonly #dir = tempDir();
  readonly #scope = new Scope();
  readonly #before: readonly string[];

  constructor() {
    setMode(this.#dir.path, 0o755);
    writeFileSync(this.#dir.file("file"), "precious", { mode: 0o600 });
    this.#scope.listener(this.#dir.file("s"));
    setMode(this.#dir.file("s"), 0o600);
    this.#before = this.#look();
  }

  /** A name in it. */
  file(name: string): string {
    return this.#dir.file(name);
  }

  #look(): string[] {
    return ["file", "s"].map((name) => `${name} ${identity(this.#dir.file(name))}`);
  }

  check(): void {
    expect(this.#look()).toEqual([...this.#before]);
    expect(readdirSync(this.#dir.path).sort()).toEqual(["file", "s"]);
  }

  [Symbol.dispose](): void {
    this.#scope[Symbol.dispose]();
    this.#dir.remove();
  }
}

async function hostile(trick: string, dir: TempDir, target: string): Promise<Child> {
  const script = "test/fixtures/exclusive-hostile.py";
  const child = start(["python3", script, trick, dir.path, target, `${NOBODY}`]);
  await child.lineWith("ready");
  return child;
}

const AMOUNT = { atLeast: 200, seconds: 1.5 };

interface Insisted {
  readonly well: number;
  readonly done: number;
  readonly codes: Set<string>;
}

/** Start and stop at `path` for a while, whatever comes of it; how often it went well. */
function insist(path: string): Insisted {
  const codes = new Set<string>();
  let well = 0;
  const done = roundsSync({ ...AMOUNT, max: 20_000, enough: () => well > 0 }, (i) => {
    try {
      const options = { mode: 0o666, owner: { uid: NOBODY }, takeOver: true };
      open(path, types[i % 3]!, { ...options, replace: i % 2 === 1 }).close();
      well += 1;
    } catch (error) {
      const { code = String(error) } = error as { code?: string };
      codes.add(code);
    }
  });
  return { well, done, codes };
}

describe("tricks", () => {
  for (const target of ["file", "s"]) {
    peerTest(`the socket's path is swapped all the time (${target})`, needs, async () => {
      using dir = sticky();
      using treasure = new Treasure();
      await using _child = await hostile("swap", dir, treasure.file(target));
      const { well, done, codes } = insist(dir.file("s"));
      treasure.check();
      expect(well).toBeGreaterThan(0);
      expect([...codes].filter((code) => !/^E[A-Z]+$/.test(code))).toEqual([]);
      console.log(`note: swap: ${well} of ${done} starts; else ${[...codes].join(", ")}`);
    });
  }

  peerTest("a directory that is sometimes a link to ours", needs, async () => {
    using dir = sticky();
    using treasure = new Treasure();
    mkdirSync(dir.file("d"));
    chownSync(dir.file("d"), NOBODY, NOBODY);
    await using child = await hostile("flip", dir, treasure.file("s"));
    const owner = { uid: NOBODY };
    const unsafe = { mode: 0o666, owner, unsafeDirectory: true } as const;
    // names that are there, and one that is free: nothing of ours may be left there
    const names = ["s", "file", "free"];
    const codes = new Map<string, number>();
    roundsSync(AMOUNT, (i) => {
      let code = "well";
      const name = names[i % names.length];
      const path = `${dir.path}/d/${name}`;
      const lock = i % 5 === 0 ? { lockFile: `${dir.path}/d/lock` } : {};
      try {
        const options = { ...unsafe, ...lock, replace: name === "free" };
        open(path, types[i % 2]!, options).close();
      } catch (error) {
        code = (error as { code?: string }).code ?? String(error);
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
    });
    child.kill("SIGKILL");
    await child.exited;
    treasure.check();
    console.log(`note: flip: ${[...codes].map((one) => one.join(" ")).join(", ")}`);
  });

  peerTest("in a directory of the other's, who steals the socket", needs, async () => {
    using dir = tempDir();
    using treasure = new Treasure();
    chownSync(dir.path, NOBODY, NOBODY);
    await using _child = await hostile("steal", dir, treasure.file("s"));
    const { well, done } = insist(dir.file("s"));
    treasure.check();
    console.log(`note: steal: ${well} of ${done} starts`);
  });
});
