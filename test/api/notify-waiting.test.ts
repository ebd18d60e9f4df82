// Descriptors that go to the manager, and waiting for it: for room, and for its answer.

import { describe, expect, test } from "bun:test";
import { writeSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { type DatagramSocket, Fd, notify } from "../../src/index.ts";
import { fake } from "../support/seam.ts";
import { cleanEnvironment, here, manager, next } from "./managers.ts";
import {
  closeAll,
  codeOf,
  fillReceiver,
  leakFree,
  marked,
  markOf,
  must,
  thrown,
  turns,
} from "./tools.ts";

cleanEnvironment();

describe("descriptors", () => {
  test("are stored before the state is told, under the manager's name for them", () =>
    leakFree(async () => {
      using socket = manager();
      using a = marked("a");
      using b = marked("b");
      await notify({ ready: true }, { fds: [a, b.fd] });
      expect(await next(socket)).toEqual({ lines: ["FDSTORE=1"], marks: ["a", "b"] });
      expect(await next(socket)).toEqual({ lines: ["READY=1"], marks: [] });
      expect([markOf(a), markOf(b)]).toEqual(["a", "b"]); // still ours
    }));

  test("one name for all, a name for each; neighbours of one name go together", () =>
    leakFree(async () => {
      using socket = manager();
      const fds = ["0", "1", "2", "3"].map(marked);
      await notify({}, { fds, fdNames: "all", fdPoll: false });
      const all = ["FDSTORE=1", "FDNAME=all", "FDPOLL=0"];
      expect(await next(socket)).toEqual({ lines: all, marks: ["0", "1", "2", "3"] });
      await notify({}, { fds, fdNames: ["x", "y z", "y z", "x"] });
      const named = (name: string): string[] => ["FDSTORE=1", `FDNAME=${name}`];
      expect(await next(socket)).toEqual({ lines: named("x"), marks: ["0"] });
      expect(await next(socket)).toEqual({ lines: named("y z"), marks: ["1", "2"] });
      expect(await next(socket)).toEqual({ lines: named("x"), marks: ["3"] });
      closeAll(fds);
    }));

  test("are removed by name, first", async () => {
    using socket = manager();
    using a = marked("a");
    await notify({ status: "s" }, { removeFds: ["x", "y"], fds: [a], fdNames: "x" });
    expect(here(socket)).toEqual([
      ["FDSTOREREMOVE=1", "FDNAME=x"],
      ["FDSTOREREMOVE=1", "FDNAME=y"],
      ["FDSTORE=1", "FDNAME=x"],
      ["STATUS=s"],
    ]);
    await notify({}, { removeFds: "z" });
    expect(here(socket)).toEqual([["FDSTOREREMOVE=1", "FDNAME=z"]]);
  });

  test("253 at once", () =>
    leakFree(async () => {
      using socket = manager();
      using a = marked("a");
      await notify({}, { fds: new Array(253).fill(a) });
      expect((await next(socket)).marks).toEqual(new Array(253).fill("a"));
    }));

  test("one that is not open: nothing is stored, and the state is not told", () =>
    leakFree(async () => {
      using socket = manager();
      expect(await codeOf(() => notify({ ready: true }, { fds: [99_999] }))).toBe("EBADF");
      await turns();
      expect(here(socket)).toEqual([]);
    }));
});

describe("waiting", () => {
  test("with room all is out at once, before anything else runs", async () => {
    using socket = manager();
    const sent = notify({ ready: true }, { removeFds: ["a", "b"], fds: [0] });
    expect(here(socket)).toHaveLength(4);
    expect(await sent).toBe(true);
  });

  test("for room: none is lost, and they keep their order", () =>
    leakFree(async () => {
      using socket = manager();
      const COUNT = 100;
      using a = marked("a");
      const sending = Array.from({ length: COUNT }, (_, i) =>
        i % 10 === 0 ? notify({}, { fds: [a], fdNames: `n${i}` }) : notify({ status: `${i}` }),
      );
      for (let i = 0; i < COUNT; i++) {
        const { lines, marks } = await next(socket);
        if (i % 10 === 0) expect([lines[1], ...marks]).toEqual([`FDNAME=n${i}`, "a"]);
        else expect(lines).toEqual([`STATUS=${i}`]);
      }
      expect(new Set(await Promise.all(sending))).toEqual(new Set([true]));
    }));

  test("until the signal: what was waiting is not sent, what is out stays out", () =>
    leakFree(async () => {
      using socket = manager();
      const full = fillReceiver(process.env["NOTIFY_SOCKET"]!);
      const stop = new AbortController();
      using a = marked("a");
      const waiting = thrown(() => notify({ ready: true }, { fds: [a], signal: stop.signal }));
      await turns();
      stop.abort(new Error("enough"));
      expect(await waiting).toMatchObject({ message: "enough" });
      expect(here(socket)).toHaveLength(full);
      await turns();
      expect(here(socket)).toEqual([]);
    }));

  test("a signal that has aborted: nothing is sent", async () => {
    using socket = manager();
    const signal = AbortSignal.abort(new Error("before"));
    expect(await thrown(() => notify({ ready: true }, { signal }))).toMatchObject({
      message: "before",
    });
    expect(here(socket)).toEqual([]);
  });

  test("a manager that goes meanwhile", () =>
    leakFree(async () => {
      using socket = manager();
      fillReceiver(process.env["NOTIFY_SOCKET"]!);
      const waiting = codeOf(() => notify({ ready: true }));
      await turns();
      socket.close();
      expect(["ECONNREFUSED", "ENOENT"]).toContain(await waiting);
    }));
});

describe("the barrier", () => {
  /** The barrier's message: alone, with one descriptor, which is returned. */
  async function barrier(socket: DatagramSocket): Promise<Fd> {
    using message = must(await socket.receive());
    expect(message.text()).toBe("BARRIER=1");
    const [fd, ...more] = message.takeFds();
    expect(more).toEqual([]);
    return fd!;
  }

  async function state(promise: Promise<unknown>): Promise<string> {
    let found = "waits";
    promise.then(
      () => (found = "done"),
      () => (found = "failed"),
    );
    await turns();
    return found;
  }

  test("waits until the manager closes its descriptor, a pipe's writing end", () =>
    leakFree(async () => {
      using socket = manager();
      const waiting = notify({ ready: true }, { barrier: true });
      expect((await next(socket)).lines).toEqual(["READY=1"]);
      expect(await state(waiting)).toBe("waits");
      const fd = await barrier(socket);
      expect(fd.describe()).toMatchObject({ kind: "pipe", access: "write" });
      expect(await state(waiting)).toBe("waits");
      fd.close();
      expect(await waiting).toBe(true);
    }));

  test("by itself; a copy of the descriptor counts", () =>
    leakFree(async () => {
      using socket = manager();
      const waiting = notify({}, { barrier: true });
      const fd = await barrier(socket);
      const copy = Fd.duplicate(fd);
      fd.close();
      expect(await state(waiting)).toBe("waits");
      copy.close();
      expect(await waiting).toBe(true);
    }));

  test("a manager that writes into it has not closed it", () =>
    leakFree(async () => {
      using socket = manager();
      const waiting = notify({}, { barrier: true });
      const fd = await barrier(socket);
      writeSync(fd.fd, "x".repeat(300));
      expect(await state(waiting)).toBe("waits");
      writeSync(fd.fd, "and more");
      fd.close();
      expect(await waiting).toBe(true);
    }));

  test("nobody reads: the signal ends it, nothing is left open", () =>
    leakFree(async () => {
      using socket = manager();
      const stop = new AbortController();
      const waiting = thrown(() => notify({ ready: true }, { barrier: true, signal: stop.signal }));
      await turns();
      stop.abort(new Error("enough"));
      expect(await waiting).toMatchObject({ message: "enough" });
      expect((await next(socket)).lines).toEqual(["READY=1"]);
      (await barrier(socket)).close();
    }));

  test("no room: the signal ends it, nothing is left open", () =>
    leakFree(async () => {
      using _socket = manager();
      fillReceiver(process.env["NOTIFY_SOCKET"]!);
      const stop = new AbortController();
      const waiting = thrown(() => notify({}, { barrier: true, signal: stop.signal }));
      await turns();
      stop.abort(new Error("enough"));
      expect(await waiting).toMatchObject({ message: "enough" });
    }));

  test("a manager that dies does not keep anybody waiting", () =>
    leakFree(async () => {
      using socket = manager();
      const waiting = notify({ ready: true }, { barrier: true });
      await turns();
      socket.close();
      expect(await waiting).toBe(true);
    }));

  test("no descriptors to be had: EMFILE, and the state is out", () =>
    leakFree(async () => {
      using socket = manager();
      const call = fake("pipe2", [{ errno: errno.EMFILE }]);
      const code = await codeOf(() => notify({ ready: true }, { barrier: true }));
      call[Symbol.dispose]();
      expect(code).toBe("EMFILE");
      expect(here(socket)).toEqual([["READY=1"]]);
    }));
});
