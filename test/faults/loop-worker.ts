// Started as a Worker, or as a process: either has a loop of its own. Starts it with one call
// failing, and says what came of it.

import { parentPort, workerData } from "node:worker_threads";
import { capabilities, socketPair, UnixError } from "../../src/index.ts";
import { turns } from "../api/tools.ts";
import { Injector, type Point } from "./injector.ts";

const { point, background } = (workerData ?? JSON.parse(process.argv[2]!)) as {
  point: Point | null;
  background: boolean;
};

async function receiveOne(): Promise<string> {
  const [a, b] = socketPair("stream");
  using _a = a;
  using _b = b;
  if (background) b.unref();
  const coming = b.receive();
  coming.catch(() => {});
  await turns();
  // the thread for those who do not keep the process alive starts a little later
  if (background) await Bun.sleep(20);
  await a.send("x");
  const message = await coming;
  return message?.text() ?? "the end";
}

const attempt = async (): Promise<string> => {
  try {
    return await receiveOne();
  } catch (error) {
    return error instanceof UnixError ? `${error.syscall} ${error.code}` : String(error);
  }
};

const alive = setInterval(() => {}, 1_000); // what waits here does not keep it so
const injector = new Injector();
injector.start(point);
const first = await attempt();
injector.stop();
const { reached } = injector;
const second = await attempt();
const { complaints } = injector;
injector[Symbol.dispose]();
const said = { first, second, reached, kind: capabilities().waker?.kind, complaints };
if (parentPort === null) console.log(JSON.stringify(said));
else parentPort.postMessage(said);
clearInterval(alive);
