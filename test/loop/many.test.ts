// Many sockets at once in one thread.

import { expect, test } from "bun:test";
import { connect, listen, socketPair } from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { closeAll, codeOf, leakFree, must } from "../api/tools.ts";

const COUNT = 1000;
const each = <T>(make: (i: number) => T): T[] => Array.from({ length: COUNT }, (_, i) => make(i));

for (const type of ["stream", "seqpacket"] as const) {
  test(`1,000 ${type} connections, each with its own conversation`, () =>
    leakFree(async () => {
      const path = freshPath();
      using server = listen(path, { type });
      const serving = (async () => {
        for await (const socket of server) {
          void (async () => {
            for await (const message of socket) await socket.send(message.data);
            socket.close();
          })();
        }
      })();
      const clients = await Promise.all(each(() => connect(path, { type })));
      for (let round = 0; round < 3; round++) {
        const answers = clients.map(async (client, i) => {
          await client.send(`${round}:${i}`);
          return must(await client.receive()).text();
        });
        expect(await Promise.all(answers)).toEqual(each((i) => `${round}:${i}`));
      }
      closeAll(clients);
      server.close();
      await serving;
    }));
}

test("1,000 waiting sockets that are closed at once all end with ERR_CLOSED", () =>
  leakFree(async () => {
    const pairs = each(() => socketPair("stream"));
    const codes = pairs.map(([near]) => codeOf(() => near.receive()));
    await new Promise((resolve) => setImmediate(resolve));
    for (const pair of pairs) closeAll(pair);
    expect(new Set(await Promise.all(codes))).toEqual(new Set(["ERR_CLOSED"]));
  }));

test("1,000 ends that come at once are all seen", () =>
  leakFree(async () => {
    const pairs = each(() => socketPair("seqpacket"));
    const ends = pairs.map(([near]) => near.receive());
    await new Promise((resolve) => setImmediate(resolve));
    for (const [, far] of pairs) far.close();
    expect(new Set(await Promise.all(ends))).toEqual(new Set([null]));
    for (const [near] of pairs) near.close();
  }));
