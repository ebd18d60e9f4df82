// One process after the other at one control address; here both are this process.

import { describe, expect, test } from "bun:test";
import { existsSync, lstatSync, readdirSync } from "node:fs";
import {
  adoptSocket,
  connect,
  Fd,
  Handover,
  type HandoverOptions,
  Listener,
  listen,
  listenTcp,
} from "../../src/index.ts";
import { tempDir } from "../support/tmp.ts";
import { freshAddress, freshPath } from "./pairs.ts";
import {
  codeOf,
  eventually,
  failure,
  isCloseOnExec,
  isOpen,
  leakFree,
  marked,
  markOf,
  thrown,
} from "./tools.ts";

const routes = ["path", "abstract"] as const;
const never = (): never => {
  throw new Error("made again");
};

/** The first of a row, which serves. */
async function first(address: string, options?: HandoverOptions): Promise<Handover> {
  const handover = await Handover.open(address, options);
  expect(handover.predecessor).toBeNull();
  return handover;
}

describe.each(routes)("control address: %s", (route) => {
  test("named descriptors go from one to the next, ten times", () =>
    leakFree(async () => {
      const address = freshAddress(route);
      let old = await first(address);
      const port = old.descriptor("web", () => listenTcp({ hostname: "127.0.0.1", port: 0 }));
      const inode = port.describe().target;
      old.descriptor("state", () => marked("what was before"));
      await old.ready();
      for (let i = 0; i < 10; i++) {
        const next = await Handover.open(address);
        expect(next.predecessor?.pid).toBe(process.pid);
        const web = next.descriptor("web", never);
        expect(web.describe()).toMatchObject({ target: inode, socket: { listening: true } });
        expect(markOf(next.descriptor("state", never))).toBe("what was before");
        for (const { fd } of next.entries()) expect(isCloseOnExec(fd.fd)).toBe(true);
        await Promise.all([next.ready(), next.ready()]);
        await next.ready();
        expect(await old.replaced).toEqual({ pid: process.pid });
        old.close();
        expect(isOpen(web.fd)).toBe(true);
        old = next;
      }
      old.close();
      expect(route === "path" && existsSync(address)).toBe(false);
    }));

  test("a successor that gives up changes nothing", () =>
    leakFree(async () => {
      const address = freshAddress(route);
      const failed: unknown[] = [];
      using old = await first(address, { onFailed: ({ reason }) => void failed.push(reason) });
      const state = old.descriptor("state", () => marked("mine"));
      await old.ready();
      for (let i = 0; i < 3; i++) {
        const next = await Handover.open(address);
        next.close("the configuration is wrong");
        await eventually(() => failed.length === i + 1, "it was told");
        expect(failed[i]).toContain("it gave up: the configuration is wrong");
      }
      expect(markOf(state)).toBe("mine");
      const next = await Handover.open(address);
      expect(markOf(next.descriptor("state", never))).toBe("mine");
      next.close();
    }));

  test("two newcomers: one is told busy; so is whoever comes before the first is ready", () =>
    leakFree(async () => {
      const address = freshAddress(route);
      using old = await first(address);
      expect(await codeOf(() => Handover.open(address))).toBe("EBUSY");
      await old.ready();
      const next = await Handover.open(address);
      const error = await failure(() => Handover.open(address));
      expect([error.code, error.syscall]).toEqual(["EBUSY", "handover"]);
      expect(error.message).toContain(`process ${process.pid} is starting or taking over`);
      await next.ready();
      await old.replaced;
      next.close();
    }));

  test("many at once: one is the first, the others are told busy", () =>
    leakFree(async () => {
      const address = freshAddress(route);
      const all = await Promise.allSettled(Array.from({ length: 8 }, () => Handover.open(address)));
      const won = all.filter((one) => one.status === "fulfilled");
      expect(won.length).toBe(1);
      for (const one of all) if (one.status === "rejected") expect(one.reason.code).toBe("EBUSY");
      for (const { value } of won) value.close();
    }));
});

describe("Unix listeners", () => {
  test("the file goes with the listener: only the last removes it", () =>
    leakFree(async () => {
      using dir = tempDir();
      const [address, path] = [dir.file("control"), dir.file("web")];
      let old = await first(address);
      old.descriptor("web", () => listen(path, { mode: 0o640 }));
      await old.ready();
      const { ino } = lstatSync(path);
      for (let i = 0; i < 5; i++) {
        const next = await Handover.open(address);
        next.descriptor("web", never);
        await next.ready();
        old.close();
        expect(readdirSync(dir.path).sort()).toEqual(["control", "web"]);
        expect(lstatSync(path).ino).toBe(ino);
        old = next;
      }
      const listener = adoptSocket(Fd.duplicate(old.descriptor("web", never)));
      if (!(listener instanceof Listener)) throw new Error("no listener");
      const client = await connect(path);
      using accepted = (await listener.accept()) as { close(): void } & Disposable;
      expect(accepted).toBeDefined();
      client.close();
      listener.close();
      expect(existsSync(path)).toBe(true);
      old.close();
      expect(readdirSync(dir.path)).toEqual([]);
    }));

  test("given back: after a failure the old one removes its files at its end", () =>
    leakFree(async () => {
      using dir = tempDir();
      const failed = Promise.withResolvers<void>();
      using old = await first(dir.file("control"), { onFailed: () => failed.resolve() });
      old.descriptor("web", () => listen(dir.file("web")));
      await old.ready();
      const next = await Handover.open(dir.file("control"));
      next.close();
      await failed.promise;
      expect(readdirSync(dir.path).sort()).toEqual(["control", "web"]);
      old.close();
      expect(readdirSync(dir.path)).toEqual([]);
    }));

  test("a file that somebody has replaced is not taken, and stays", () =>
    leakFree(async () => {
      using dir = tempDir();
      const path = dir.file("web");
      const old = await first(dir.file("control"));
      old.descriptor("web", () => listen(path));
      await old.ready();
      using other = listen(path, { replace: true });
      const next = await Handover.open(dir.file("control"));
      next.descriptor("web", never);
      await next.ready();
      old.close();
      next.close();
      expect(readdirSync(dir.path)).toEqual(["web"]);
      other.close();
    }));

  test("what the new one has not asked for is closed, and its file goes", () =>
    leakFree(async () => {
      using dir = tempDir();
      const old = await first(dir.file("control"));
      old.descriptor("gone", () => listen(dir.file("gone")));
      old.descriptor("stays", () => listen(dir.file("stays")));
      await old.ready();
      const next = await Handover.open(dir.file("control"));
      next.descriptor("stays", never);
      next.descriptor("new", () => listen(dir.file("new")));
      expect(next.entries().map(({ name }) => name)).toEqual(["gone", "stays", "new"]);
      await next.ready();
      expect(next.entries().map(({ name }) => name)).toEqual(["stays", "new"]);
      old.close();
      expect(readdirSync(dir.path).sort()).toEqual(["control", "new", "stays"]);
      next.close();
      expect(readdirSync(dir.path)).toEqual([]);
    }));

  test("closing in the middle leaves the files to whoever has the listeners", () =>
    leakFree(async () => {
      using dir = tempDir();
      const old = await first(dir.file("control"));
      old.descriptor("web", () => listen(dir.file("web")));
      await old.ready();
      const next = await Handover.open(dir.file("control"));
      next.descriptor("web", never);
      old.close();
      expect(readdirSync(dir.path).sort()).toEqual(["control", "web"]);
      // this process lives on, so nobody can say that the predecessor is dead
      expect(await codeOf(() => next.ready())).toBe("ECONNABORTED");
      next.close();
    }));
});

describe("time", () => {
  test("one that is not ready in time is given up, and told so", () =>
    leakFree(async () => {
      const address = freshPath();
      const failed = Promise.withResolvers<string>();
      const told = ({ reason }: { reason: string }): void => failed.resolve(reason);
      using old = await first(address, { readyTimeoutMs: 1_000, onFailed: told });
      await old.ready();
      using next = await Handover.open(address);
      expect(await failed.promise).toContain("ETIMEDOUT");
      const error = await failure(() => next.ready());
      expect([error.code, error.message]).toEqual([
        "ECANCELED",
        expect.stringContaining("1000 ms"),
      ]);
      using after = await Handover.open(address);
      await after.ready();
    }));

  test("a predecessor that does not answer", () =>
    leakFree(async () => {
      const address = freshPath();
      using mute = listen(address, { type: "seqpacket" });
      expect(await codeOf(() => Handover.open(address, { timeoutMs: 30 }))).toBe("ETIMEDOUT");
      const reason = new Error("enough");
      const stopped = Handover.open(address, { signal: AbortSignal.abort(reason) });
      expect(await thrown(() => stopped)).toBe(reason);
      mute.close();
    }));
});

describe("what one process keeps", () => {
  test("names, and what make may return", () =>
    leakFree(async () => {
      using handover = await first(freshPath());
      for (const bad of ["", "a:b", "ä", "x\n", "n".repeat(256)]) {
        expect(() => handover.descriptor(bad, never)).toThrow(TypeError);
      }
      expect(() => handover.descriptor("x", never)).toThrow("made again");
      using own = marked("borrowed");
      const copy = handover.descriptor("number", () => own.fd);
      expect([copy.fd === own.fd, markOf(copy)]).toEqual([false, "borrowed"]);
      const taken = marked("taken");
      expect(markOf(handover.descriptor("taken", () => taken))).toBe("taken");
      expect(taken.closed).toBe(true);
      expect(handover.descriptor("taken", never)).toBe(handover.descriptor("taken", never));
      handover.close();
      expect(own.closed).toBe(false);
    }));

  test("inherited ones: taken, numbered where names repeat, the predecessor's first", () =>
    leakFree(async () => {
      const address = freshPath();
      const inherited = [
        { name: "web", fd: marked("one") },
        { name: "web", fd: marked("two") },
      ];
      const old = await first(address, { inherited });
      expect(inherited.map(({ fd }) => fd.closed)).toEqual([true, true]);
      expect(markOf(old.descriptor("web", never))).toBe("one");
      expect(markOf(old.descriptor("web.2", never))).toBe("two");
      await old.ready();
      const again = [
        { name: "web", fd: marked("stale") },
        { name: "more", fd: marked("more") },
      ];
      const next = await Handover.open(address, { inherited: again });
      const marks = next.entries().map(({ name, fd }) => [name, markOf(fd)]);
      expect(marks).toEqual([
        ["web", "one"],
        ["web.2", "two"],
        ["more", "more"],
      ]);
      next.close();
      old.close();
    }));

  test("what was closed is not handed over, and what is not asked for again can be", () =>
    leakFree(async () => {
      const address = freshPath();
      const old = await first(address);
      old.descriptor("closed", () => marked("x")).close();
      old.descriptor("open", () => marked("y"));
      await old.ready();
      const next = await Handover.open(address);
      expect(next.entries().map(({ name }) => name)).toEqual(["open"]);
      next.descriptor("open", never);
      await next.ready();
      old.close();
      next.close();
    }));

  test("ready is given up: the predecessor goes on, and there is no second try", () =>
    leakFree(async () => {
      const address = freshPath();
      const failed = Promise.withResolvers<string>();
      using old = await first(address, { onFailed: ({ reason }) => failed.resolve(reason) });
      await old.ready();
      using next = await Handover.open(address);
      const reason = new Error("enough");
      const given = next.ready({ signal: AbortSignal.abort(reason) });
      expect(await thrown(() => given)).toBe(reason);
      expect(await failed.promise).toContain("it gave up: Error: enough");
      expect(await thrown(() => next.ready())).toBe(reason);
      next.close();
      using after = await Handover.open(address);
      await after.ready();
      await old.replaced;
    }));

  test("300 descriptors go in many messages", () =>
    leakFree(async () => {
      const address = freshPath();
      const old = await first(address);
      for (let i = 0; i < 300; i++) old.descriptor(`fd ${i}`, () => marked(`${i}`));
      await old.ready();
      const next = await Handover.open(address);
      for (let i = 0; i < 300; i++) expect(markOf(next.descriptor(`fd ${i}`, never))).toBe(`${i}`);
      await next.ready();
      old.close();
      next.close();
    }));

  test("more than it may keep", () =>
    leakFree(async () => {
      using one = marked("x");
      using handover = await first(freshPath());
      const fill = (): void => {
        for (let i = 0; ; i++) handover.descriptor(`${i}`, () => one.fd);
      };
      expect(await codeOf(fill)).toBe("E2BIG");
      expect(handover.entries().length).toBe(1_024);
    }));

  test("after close", async () => {
    const handover = await first(freshPath());
    handover.close();
    handover.close();
    expect(handover.closed).toBe(true);
    expect(await codeOf(() => handover.ready())).toBe("ERR_CLOSED");
    expect(await codeOf(() => handover.descriptor("x", never))).toBe("ERR_CLOSED");
  });

  test("bad options", async () => {
    for (const options of [{ timeoutMs: 0 }, { readyTimeoutMs: 0.5 }, { mode: -1 }]) {
      expect(await thrown(() => Handover.open(freshPath(), options))).toBeInstanceOf(RangeError);
    }
    expect(await thrown(() => Handover.open(""))).toBeInstanceOf(TypeError);
    const onFailed = "told" as never;
    const path = freshPath();
    expect(await thrown(() => Handover.open(path, { onFailed }))).toBeInstanceOf(TypeError);
  });
});
