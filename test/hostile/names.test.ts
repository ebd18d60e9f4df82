// Peers that lie about who they are, and names that somebody else took first.

import { describe, expect, test } from "bun:test";
import {
  AddressInUseError,
  type Credentials,
  connect,
  listen,
  openDatagram,
  probe,
  type SeqpacketSocket,
} from "../../src/index.ts";
import { freshAddress } from "../api/pairs.ts";
import { codeOf, failure, leakFree, must, thrown } from "../api/tools.ts";
import { start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { attack, hostileTest } from "./peers.ts";

interface Claims {
  /** What the kernel let pass: each text with the credentials that came with it. */
  readonly came: ReadonlyMap<string, Credentials | undefined>;
  /** What the sender was told. */
  readonly said: ReadonlyMap<string, string>;
  /** Who connected. */
  readonly peer: Credentials;
  readonly pid: number;
}

async function claimed(uid?: number): Promise<Claims> {
  const address = freshAddress("abstract");
  const options = { type: "seqpacket", passCredentials: true, allow: () => true } as const;
  using server = listen(address, options);
  const more = uid === undefined ? [] : [String(uid)];
  const command = ["python3", "test/fixtures/hostile-names.py", address, ...more];
  await using child = start(command);
  using socket: SeqpacketSocket = await server.accept();
  const came = new Map<string, Credentials | undefined>();
  for await (const message of socket) {
    if (message.text() === "end") break;
    came.set(message.text(), message.credentials);
  }
  const peer = socket.peerCredentials();
  const said = new Map<string, string>();
  for (;;) {
    const [label = "", what = ""] = (await child.line())?.split(" ") ?? [];
    if (label === "ready") return { came, said, peer, pid: child.pid };
    said.set(label, what);
  }
}

describe("forged SCM_CREDENTIALS", () => {
  peerTest("of an ordinary user: the kernel refuses every lie", ["python3"], async () => {
    const root = process.getuid?.() === 0;
    const { came, said, peer, pid } = await claimed(root ? 65_534 : undefined);
    const truth = { pid, uid: peer.uid, gid: peer.gid };
    expect([peer, peer.uid !== 0]).toEqual([truth, true]);
    expect([...came]).toEqual([["itself", truth]]);
    for (const [label, what] of said) {
      if (label !== "itself") expect([label, what]).toEqual([label, expect.stringMatching(/^E/)]);
    }
  });

  peerTest(
    "of root: a claim may pass, what the kernel attests does not move",
    ["python3", "root"],
    async () => {
      const { came, said, peer, pid } = await claimed();
      expect(peer).toEqual({ pid, uid: 0, gid: 0 });
      expect(came.get("init")).toEqual({ pid: 1, uid: 0, gid: 0 });
      expect(came.get("receiver")).toEqual({ pid: process.pid, uid: 0, gid: 0 });
      expect(came.get("other")).toEqual({ pid, uid: 4711, gid: 4712 });
      expect([said.get("nobody"), said.get("negative")]).toEqual(["ESRCH", "ESRCH"]);
      expect([came.has("nobody"), came.has("negative")]).toEqual([false, false]);
    },
  );
});

describe("squatters", () => {
  for (const type of ["stream", "seqpacket", "datagram"] as const) {
    hostileTest(`a ${type} socket sits on the abstract name that we want`, () =>
      leakFree(async () => {
        const address = freshAddress("abstract");
        await using peer = attack({ mode: "squat", address, type });
        await peer.lineWith("ready");
        const error = await failure(() => {
          if (type === "datagram") openDatagram(address);
          else listen(address, { type });
        });
        expect(error.code).toBe("EADDRINUSE");
        if (type !== "datagram") expect(error).toBeInstanceOf(AddressInUseError);
        expect(probe(address).holders.map(({ pid }) => pid)).toEqual([peer.pid]);
        peer.kill("SIGKILL");
        await peer.exited;
        if (type === "datagram") openDatagram(address).close();
        else listen(address, { type }).close();
      }),
    );

    hostileTest(`a ${type} socket that does not listen where a server was`, () =>
      leakFree(async () => {
        const address = freshAddress("abstract");
        await using peer = attack({ mode: "squat", address, type });
        await peer.lineWith("ready");
        const code = await codeOf(() => connect(address, { type: "stream", timeoutMs: 2_000 }));
        expect(["ECONNREFUSED", "EPROTOTYPE"]).toContain(code);
      }),
    );
  }

  hostileTest("somebody else behind the name: a client sees who, before it says a word", () =>
    leakFree(async () => {
      const address = freshAddress("abstract");
      await using peer = attack({ mode: "mute", address });
      await peer.lineWith("ready");
      using socket = await connect(address);
      expect(socket.peerCredentials().pid).toBe(peer.pid);
      expect(probe(address)).toMatchObject({ state: "listening" });
    }),
  );

  test("an abstract name with bytes that look like another", () =>
    leakFree(async () => {
      const name = Buffer.from(freshAddress("abstract").slice(1));
      const names = [
        name,
        Buffer.concat([name, Buffer.of(0)]),
        Buffer.concat([name, Buffer.of(0, 0)]),
      ];
      const servers = names.map((abstract) => listen({ abstract }));
      for (const [i, abstract] of names.entries()) {
        using client = await connect({ abstract });
        using accepted = must(servers[i]!.tryAccept() as never) as unknown as Disposable;
        expect([client.closed, accepted === null]).toEqual([false, false]);
      }
      for (const server of servers) server.close();
    }));

  test("one name a hundred times: refused to the second, and free again after", () =>
    leakFree(async () => {
      const address = freshAddress("abstract");
      for (let i = 0; i < 100; i++) {
        using first = listen(address);
        expect(first.closed).toBe(false);
        expect(await thrown(() => listen(address))).toBeInstanceOf(AddressInUseError);
      }
    }));
});
