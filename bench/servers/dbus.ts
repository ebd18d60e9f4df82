// dbus.ts BUS TRANSPORT COUNT AT_ONCE: a client of a bus by the package dbus-native: calls of
// GetId, so many at a time; prints how many a second. TRANSPORT: "own", the package's for Bun (a
// thread for each connection), "net", a net.Socket, which takes no descriptors, or "toDuplex".

import { createRequire } from "node:module";
import type { Duplex } from "node:stream";
import { connectSync } from "../../src/index.ts";

interface Options {
  readonly busAddress: string;
  readonly fdTransport?: boolean;
  readonly stream?: Duplex;
}

interface Package {
  createClient(options: Options): {
    invokeDbus(call: { member: string }, done: (error: unknown) => void): void;
  };
}

const [path = "", transport = "own", count = "1000", atOnce = "1"] = process.argv.slice(2);
const { createClient } = createRequire(import.meta.url)("dbus-native") as Package;
const bus = createClient({
  busAddress: `unix:path=${path}`,
  fdTransport: transport === "own",
  ...(transport === "toDuplex" && { stream: connectSync(path).toDuplex().connect(path) }),
});

const call = (): Promise<void> =>
  new Promise((resolve, reject) => {
    bus.invokeDbus({ member: "GetId" }, (error) => (error ? reject(error) : resolve()));
  });

async function run(calls: number): Promise<void> {
  let left = calls;
  const one = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, one));
}

await run(2 * Number(count)); // the compiler has its turn
const begin = performance.now();
await run(Number(count));
console.log((Number(count) * 1_000) / (performance.now() - begin));
process.exit();
