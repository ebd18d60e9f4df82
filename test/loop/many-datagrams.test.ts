// So many datagrams under way that the sender's own buffer is full before any receiver's queue is.

import { expect, test } from "bun:test";
import { type DatagramSocket, openDatagram } from "../../src/index.ts";
import { freshAddress } from "../api/pairs.ts";
import { closeAll, leakFree, must } from "../api/tools.ts";

const COUNT = 1000;
const each = <T>(make: (i: number) => T): T[] => Array.from({ length: COUNT }, (_, i) => make(i));

test("1,000 datagram sockets that all wait, and one that calls each of them", () =>
  leakFree(async () => {
    const names = each(() => freshAddress("abstract"));
    const sockets: DatagramSocket[] = names.map((name) => openDatagram(name));
    using caller = openDatagram({ autobind: true });
    const answering = sockets.map(async (socket, i) => {
      const message = must(await socket.receive());
      expect(message.text()).toBe(`${i}`);
      await socket.send(`from ${i}`, { to: message.from! });
    });
    const answers: string[] = [];
    const hearing = (async () => {
      while (answers.length < COUNT) answers.push(must(await caller.receive()).text());
    })();
    await Promise.all(names.map((to, i) => caller.send(`${i}`, { to })));
    await Promise.all([...answering, hearing]);
    expect(answers.sort()).toEqual(each((i) => `from ${i}`).sort());
    closeAll(sockets);
  }));
