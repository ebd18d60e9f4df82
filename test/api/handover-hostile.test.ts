// Who may hand over to whom, and what everybody else may say: nothing comes of it.

import { describe, expect, test } from "bun:test";
import { lstatSync } from "node:fs";
import {
  type Credentials,
  connect,
  Fd,
  Handover,
  type HandoverOptions,
  listen,
  type SeqpacketSocket,
} from "../../src/index.ts";
import { encodeFrame, type HandoverFrame } from "../../src/structs/handover-frame.ts";
import { freshPath } from "./pairs.ts";
import { codeOf, eventually, failure, leakFree, marked } from "./tools.ts";

/** The first of a row, which serves. */
async function first(address: string, options?: HandoverOptions): Promise<Handover> {
  const handover = await Handover.open(address, options);
  expect(handover.predecessor).toBeNull();
  return handover;
}

describe("who may", () => {
  test("a newcomer that is not allowed is told so", () =>
    leakFree(async () => {
      const address = freshPath();
      let seen = -1;
      using old = await first(address, {
        allow: ({ uid }) => {
          seen = uid ?? -1;
          return false;
        },
      });
      await old.ready();
      const error = await failure(() => Handover.open(address));
      expect([error.code, seen]).toEqual(["EACCES", process.geteuid?.() ?? -2]);
      expect(error.message).toContain("may not take over");
    }));

  test("from whom nothing is to be taken, nothing is", () =>
    leakFree(async () => {
      const address = freshPath();
      using old = await first(address);
      old.descriptor("state", () => marked("mine"));
      await old.ready();
      const seen: unknown[] = [];
      const allow = (peer: Credentials): boolean => {
        seen.push(peer);
        return false;
      };
      const error = await failure(() => Handover.open(address, { allow }));
      expect(error.message).toContain("nothing is taken from there");
      expect(seen).toEqual([
        { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() },
      ]);
    }));

  test("only true is yes, on both sides; a promise is a TypeError", () =>
    leakFree(async () => {
      type Allow = (peer: Credentials) => boolean;
      const address = freshPath();
      let answer: unknown;
      const reasons: string[] = [];
      using old = await first(address, {
        allow: (() => answer) as Allow,
        onFailed: ({ reason }) => void reasons.push(reason),
      });
      await old.ready();
      for (answer of [1, "no", { ok: false }, Promise.resolve(true)]) {
        expect((await failure(() => Handover.open(address))).code).toBe("EACCES");
      }
      expect(reasons).toEqual([expect.stringContaining("TypeError: allow must return")]);
      answer = true;
      for (const other of [1, "no", { ok: false }]) {
        const allow = (() => other) as unknown as Allow;
        expect((await failure(() => Handover.open(address, { allow }))).code).toBe("EACCES");
      }
      const promising = (async () => true) as unknown as Allow;
      const opening = Handover.open(address, { allow: promising });
      expect(await opening.catch((error: unknown) => error)).toBeInstanceOf(TypeError);
    }));

  test("the control socket's file is its owner's alone", async () => {
    const address = freshPath();
    using old = await first(address);
    expect(lstatSync(address).mode & 0o777).toBe(0o600);
    old.close();
    using open = await first(address, { mode: 0o666 });
    expect(lstatSync(address).mode & 0o777).toBe(0o666);
    open.close();
  });
});

describe("hostile", () => {
  const frame = (one: HandoverFrame): Uint8Array => encodeFrame(one);
  const rubbish = [
    "rubbish",
    new Uint8Array(70_000),
    frame({ kind: "ready" }),
    frame({ kind: "taken" }),
    frame({ kind: "table", last: true, entries: [] }),
  ];

  test("what newcomers may say: the holder goes on", () =>
    leakFree(async () => {
      const address = freshPath();
      using old = await first(address);
      await old.ready();
      for (const bytes of rubbish) {
        using client = await connect(address, { type: "seqpacket" });
        await client.send(bytes);
        using answer = await client.receive();
        expect(answer?.text()).toContain("version 1 of the protocol");
        expect(await client.receive().catch(() => null)).toBeNull();
      }
      for (let i = 0; i < 20; i++) (await connect(address, { type: "seqpacket" })).close();
      using next = await Handover.open(address);
      await next.ready();
    }));

  test("a candidate that says something else than ready", () =>
    leakFree(async () => {
      const address = freshPath();
      const failed: string[] = [];
      using old = await first(address, { onFailed: ({ reason }) => void failed.push(reason) });
      old.descriptor("web", () => listen(freshPath()));
      await old.ready();
      for (const [i, bytes] of rubbish.entries()) {
        if (i === 2) continue; // it is ready
        using client = await connect(address, { type: "seqpacket" });
        await client.send(frame({ kind: "hello" }));
        (await client.receive())?.close();
        await client.send(bytes);
        using answer = await client.receive();
        expect(answer?.text()).toContain("EPROTO");
      }
      // descriptors, which nobody asked for
      using client = await connect(address, { type: "seqpacket" });
      await client.send(frame({ kind: "hello" }), { fds: [0] }).catch(() => {});
      client.close();
      // ready, and gone before it has taken over
      using ghost = await connect(address, { type: "seqpacket" });
      await ghost.send(frame({ kind: "hello" }));
      (await ghost.receive())?.close();
      await ghost.send(frame({ kind: "ready" })).catch(() => {});
      ghost.close();
      await eventually(() => failed.some((one) => one.includes("ended before")), "it was noticed");
      using next = await Handover.open(address);
      await next.ready();
      await old.replaced;
    }));

  /** A server that answers with these frames, and what a newcomer makes of it. */
  async function answered(
    answers: readonly (readonly [Uint8Array | string, readonly Fd[]])[],
  ): Promise<string> {
    const address = freshPath();
    using server = listen(address, { type: "seqpacket" });
    const serve = (async () => {
      const socket: SeqpacketSocket = await server.accept();
      (await socket.receive())?.close();
      for (const [bytes, fds] of answers) await socket.send(bytes, { fds });
      await socket.receive().catch(() => null);
      socket.close();
    })();
    const code = await codeOf(() => Handover.open(address, { timeoutMs: 5_000 }));
    await serve;
    return code;
  }

  test("what a predecessor may say: nothing is kept", () =>
    leakFree(async () => {
      using control = listen(freshPath(), { type: "seqpacket" });
      using stream = listen(freshPath());
      const own = { name: "", file: null };
      const web = { name: "web", file: null };
      const fds = (...of: { fd: number }[]): Fd[] => of.map((one) => Fd.duplicate(one));
      const table = (entries: (typeof own)[], last = true): Uint8Array =>
        frame({ kind: "table", last, entries });
      const cases: [string, (readonly [Uint8Array | string, readonly Fd[]])[]][] = [
        ["EPROTO", [["rubbish", []]]],
        ["EPROTO", [["rubbish", fds(control, stream)]]],
        ["EPROTO", [[frame({ kind: "yours" }), []]]],
        ["EPROTO", [[table([own]), []]]], // without its descriptor
        ["EPROTO", [[table([own]), fds(control, stream)]]], // with one too many
        ["EPROTO", [[table([web]), fds(control)]]], // no control socket
        ["EPROTO", [[table([own]), fds(stream)]]], // not one that can be it
        ["EPROTO", [[table([own, web, web]), fds(control, stream, stream)]]],
        ["EPROTO", [[table([], false), []]]],
        ["EACCES", [[frame({ kind: "refused", reason: "no" }), []]]],
        ["EBUSY", [[frame({ kind: "busy", pid: 1 }), []]]],
        [
          "ECANCELED",
          [
            [table([own], false), fds(control)],
            [frame({ kind: "failed", reason: "" }), []],
          ],
        ],
      ];
      for (const [i, [code, answers]] of cases.entries()) {
        expect([i, await answered(answers)]).toEqual([i, code]);
        for (const [, sent] of answers) for (const fd of sent) fd.close();
      }
    }));

  test("a table without end", () =>
    leakFree(async () => {
      using control = listen(freshPath(), { type: "seqpacket" });
      const entry = (name: string) => ({ name, file: null });
      const parts = Array.from({ length: 80 }, (_, i) => {
        const entries = Array.from({ length: 14 }, (_, j) => entry(i + j === 0 ? "" : `${i}-${j}`));
        return [
          frame({ kind: "table", last: false, entries }),
          new Array(14).fill(control),
        ] as const;
      });
      const address = freshPath();
      using server = listen(address, { type: "seqpacket" });
      const serve = (async () => {
        using socket = await server.accept();
        for (const [bytes, fds] of parts) await socket.send(bytes, { fds });
      })().catch((error: { code: string }) => error.code);
      const error = await failure(() => Handover.open(address));
      expect(error.message).toContain("does not end");
      expect(["EPIPE", "ECONNRESET", undefined]).toContain((await serve) ?? undefined);
    }));
});
