// Functions of the user's that we call: what they throw is an uncaught exception of the process, as
// from a listener of net.Socket, never an unhandled rejection; and everything goes on. (`allow`,
// `consume` and `serve` tell whoever accepts, consumes or asks: admission, consume, channel.)

import { expect } from "bun:test";
import { runSource, succeeded } from "../support/child.ts";
import { lacking, testUnless } from "../support/unless.ts";

const watched = `
process.env.WATCHDOG_USEC = "20000";
process.env.NOTIFY_SOCKET = import.meta.dir + "/notify";
using manager = openDatagram(process.env.NOTIFY_SOCKET);
let asked = 0;
const sick = (what) => () => {
  if (++asked > 2) return true;
  throw what;
};
const heard = async () => {
  using message = await manager.receive();
  console.log(message.text());
};
`;

const programs: readonly {
  readonly what: string;
  readonly source: string;
  readonly said: readonly string[];
  readonly takes?: "seqpacket";
}[] = [
  {
    what: "onError of a watchdog",
    source: `${watched}
using dog = watchdog({ healthy: sick("sick"), onError: (what) => fail(what) }).start();
await heard();`,
    said: ["uncaught sick", "uncaught sick", "WATCHDOG=1"],
  },
  {
    what: "healthy, with what is no text by itself",
    source: `${watched}
process.on("warning", ({ message }) => console.log(message));
using dog = watchdog({ healthy: sick(Object.create(null)) }).start();
await heard();`,
    said: ["no sign of life was sent: object", "WATCHDOG=1"],
  },
  {
    what: "onFailed of a handover, and an allow that throws what is no text by itself",
    source: `
const address = import.meta.dir + "/control";
let answer = () => { throw Object.create(null); };
const onFailed = ({ reason }) => fail(reason);
const old = await Handover.open(address, { onFailed, allow: () => answer() });
await old.ready();
console.log(await Handover.open(address).catch(({ code }) => code));
answer = () => true;
const next = await Handover.open(address);
await next.ready();
await old.replaced;
console.log("replaced");
old.close();
next.close();`,
    said: ["uncaught allow: object", "EACCES", "replaced"],
    takes: "seqpacket",
  },
  {
    what: "onRest of a send",
    source: `
const [a, b] = socketPair("stream");
const stop = new AbortController();
const bytes = new Uint8Array(2 ** 20);
const sent = a.send(bytes, { signal: stop.signal, onRest: () => fail("rest") });
stop.abort(new Error("enough"));
console.log(await sent.catch(({ message }) => message));
let got = 0;
while (got < bytes.length) got += (await b.receive()).data.length;
console.log(got);
a.close();
b.close();`,
    said: ["uncaught rest", "enough", "1048576"],
  },
  {
    what: "onClose of a socket",
    source: `
const [a, b] = socketPair("stream");
a.onClose(() => fail("closed"));
a.close();
console.log(await b.receive());
b.close();`,
    said: ["uncaught closed", "null"],
  },
  {
    what: "an abort listener of a request that the peer cancels",
    source: `
const [a, b] = socketPair("stream").map((socket) => openChannel(socket));
let asked = 0;
void b.serve((_, { signal }) => {
  if (++asked === 2) return "served";
  signal.addEventListener("abort", () => fail("aborted"));
  stop.abort();
  return new Promise(() => {});
});
const stop = new AbortController();
await a.request("x", { signal: stop.signal }).catch(({ name }) => console.log(name));
console.log((await a.request("y")).value);
a.close();
b.close();`,
    said: ["AbortError", "uncaught aborted", "served"],
  },
];

for (const { what, source, said, takes } of programs) {
  testUnless(takes === undefined ? null : lacking(takes), what, () => runs(source, said));
}

async function runs(source: string, said: readonly string[]): Promise<void> {
  const program = `
import { Handover, openChannel, openDatagram, socketPair, watchdog } from "@/src/index.ts";
process.on("uncaughtException", ({ message }) => console.log("uncaught " + message));
process.on("unhandledRejection", (what) => console.log("unhandled", what));
const fail = (what) => { throw new Error(what); };
${source}`;
  const lines = succeeded(await runSource(program))
    .trim()
    .split("\n");
  expect(lines).toEqual([...said]);
}
