// `maxConnections` × every way in which connections are accepted: the kernel says how many wait.
// time limit: 180 s

import { describe, expect } from "bun:test";
import net from "node:net";
import tls from "node:tls";
import { listSockets } from "../../src/index.ts";
import { missing } from "../support/peers.ts";
import { noSockDiag, testUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { eventually, leakFree } from "./tools.ts";
import { everyWay, type Way } from "./ways.ts";

const MOST = 2;
const rules = {
  maxConnections: MOST,
  allow: () => true,
  source: `{ maxConnections: ${MOST}, allow: () => true }`,
};

/** Connections that wait to be accepted at `path`. */
function waiting(path: string): number {
  const all = listSockets({ holders: false });
  const one = all.find(
    ({ address, state }) =>
      state === "listening" && address?.kind === "path" && address.path === path,
  );
  return one?.receiveQueue ?? Number.NaN;
}

/** A client that says nothing and stays. */
function staying(path: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path });
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** What one gets that asks on this connection. */
function asking(socket: net.Socket, { tls: secret = false }: Way): Promise<string> {
  const stream = secret ? tls.connect({ socket, rejectUnauthorized: false }) : socket;
  stream.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return new Promise((resolve, reject) => {
    let came = "";
    stream.on("data", (data) => {
      came += data;
    });
    stream.once("error", reject);
    stream.once("close", () => resolve(came));
  });
}

const cannot = noSockDiag() ?? missing(["openssl"]);

describe.each(everyWay.filter((way) => !way.speaksFirst).map((way) => [way.name, way] as const))(
  "%s",
  (_, way) => {
    testUnless(cannot, "so many at a time; the others wait until one ends", () =>
      leakFree(async () => {
        const path = freshPath();
        await using _serving = await way.open(path, rules);
        const clients: net.Socket[] = [];
        for (let i = 0; i < MOST + 3; i++) clients.push(await staying(path));
        await eventually(() => waiting(path) <= 3, "as many as may come in are accepted");
        const [first, second, third, ...others] = clients as [net.Socket, net.Socket, net.Socket];
        const came = asking(third, way);
        await Bun.sleep(30); // for whoever would accept another
        expect(waiting(path)).toBe(3);
        first.destroy();
        expect(await came).toContain("served");
        await eventually(() => waiting(path) <= 1, "the fourth has the place of the third");
        await Bun.sleep(10);
        expect(waiting(path)).toBe(1);
        for (const one of [second, ...others]) one.destroy();
      }),
    );
  },
);
