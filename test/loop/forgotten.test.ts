// Whatever closes a number ends its watch: the next file with that number is waited for anew.

import { expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { socketPair, waitReadable } from "../../src/index.ts";
import { closeAll, codeOf, isOpen, must, pairWith, thrown, turns } from "../api/tools.ts";
import { runSource, succeeded } from "../support/child.ts";

test("sockets that were forgotten after a wait do not keep later ones from waking", async () => {
  const outcome = await runSource(
    `import { socketPair } from "@/src/index.ts";
     import { fstatSync } from "node:fs";
     process.on("warning", () => {});
     const isOpen = (fd) => { try { fstatSync(fd); return true; } catch { return false; } };
     async function forget() {
       const numbers = [];
       for (let i = 0; i < 20; i++) {
         const [near, far] = socketPair("stream");
         const gone = new AbortController();
         const waiting = near.receive({ signal: gone.signal }).catch(() => {});
         await new Promise(setImmediate);
         gone.abort();
         await waiting;
         numbers.push(near.fd);
         far.close();
       }
       return numbers;
     }
     const numbers = await forget();
     // the last ones may still be on the stack
     while (numbers.filter(isOpen).length > 3) {
       Bun.gc(true);
       await Bun.sleep(5);
     }
     let woken = 0;
     const pairs = Array.from({ length: 20 }, () => socketPair("stream"));
     const again = pairs.flat().filter((one) => numbers.includes(one.fd)).length;
     const waits = pairs.map(([near, far]) => [near.receive(), far.receive()]).flat();
     await new Promise(setImmediate);
     for (const [near, far] of pairs) { near.trySend("a"); far.trySend("b"); }
     for (const wait of waits) woken += (await wait) === null ? 0 : 1;
     console.log(JSON.stringify({ woken, enough: again >= 15 }));
     process.exit(0);`,
    { timeoutMs: 20_000 },
  );
  expect(JSON.parse(succeeded(outcome))).toEqual({ woken: 40, enough: true });
}, 60_000);

test("a socket whose number was closed behind its back: the next owner is woken", async () => {
  for (let i = 0; i < 20; i++) {
    const [near, far] = socketPair("stream");
    const number = near.fd;
    const stop = new AbortController();
    const idle = i % 2 === 0;
    const old = thrown(() => near.receive({ signal: stop.signal }));
    await turns();
    if (idle) stop.abort();
    if (idle) await old;
    closeSync(number);
    const [reused, other] = pairWith(number);
    const receiving = reused.receive();
    await turns();
    await other.send("for the owner");
    expect(must(await receiving).text()).toBe("for the owner");
    if (!idle) expect(await old).toHaveProperty("code", "ERR_CLOSED");
    expect(await codeOf(() => near.receive())).toBe("ERR_CLOSED");
    near.release().release(); // its number is the other's
    expect(isOpen(reused.fd)).toBe(true);
    closeAll([reused, other, far]);
  }
});

test("waiting by number, where an owner's file was closed behind its back", async () => {
  for (let i = 0; i < 20; i++) {
    const [near, far] = socketPair("stream");
    const number = near.fd;
    const stop = new AbortController();
    const old = thrown(() => near.receive({ signal: stop.signal }));
    await turns();
    stop.abort();
    await old;
    closeSync(number);
    const [reused, other] = pairWith(number);
    const ready = waitReadable(number);
    await turns();
    other.trySend("x");
    expect((await ready).readable).toBe(true);
    near.release().release();
    closeAll([reused, other, far]);
  }
});
