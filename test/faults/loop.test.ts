// The start of a thread's event loop, under every fault: each in a Worker, whose loop is new; in a
// process, where Bun keeps descriptors of Workers that have ended.

import { describe, expect, test } from "bun:test";
import { Worker } from "node:worker_threads";
import { leakFree } from "../api/tools.ts";
import { runScript, succeeded } from "../support/child.ts";
import { keptOfWorkers } from "../support/unless.ts";
import type { Point } from "./injector.ts";

interface Said {
  /** With the fault, and after it: what was received, or which error came. */
  readonly first: string;
  readonly second: string;
  readonly reached: boolean;
  readonly kind: "aio" | "thread";
  readonly complaints: readonly string[];
}

async function inWorker(point: Point | null, background: boolean): Promise<Said> {
  const worker = new Worker(new URL("./loop-worker.ts", import.meta.url), {
    workerData: { point, background },
  });
  try {
    return await new Promise<Said>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once("exit", () => reject(new Error("it ended without a word")));
    });
  } finally {
    await worker.terminate();
  }
}

async function inProcess(point: Point | null, background: boolean): Promise<Said> {
  const what = JSON.stringify({ point, background });
  return JSON.parse(succeeded(await runScript("test/faults/loop-worker.ts", [what])));
}

const kept = await keptOfWorkers();
if (kept !== null) console.log(`note: in processes, not in Workers: ${kept}`);
const inNewLoop = kept === null ? inWorker : inProcess;

const aio = process.env["BUNIX_WAKER"] !== "thread";
const forced = process.env["BUNIX_WAKER"] !== undefined;

/** What is told of it; null: it works all the same. */
type Row = readonly [call: string, index: number, faults: string, told: boolean];
const rows: readonly Row[] = [
  ["epoll_create1", 0, "EMFILE ENFILE ENOMEM", true],
  ["epoll_ctl", 0, "ENOMEM ENOSPC", true],
  ["epoll_wait", 0, "EINTR", false],
  ...(aio ? ([["SYS_io_submit", 0, "EAGAIN", false]] as const) : []),
  ...(aio ? [] : ([["eventfd", 0, "EMFILE ENFILE ENOMEM", true]] as const)),
];

describe.each([false, true])("unreferenced: %p", (background) => {
  test("nothing fails", () =>
    leakFree(async () => {
      const { first, second, complaints } = await inNewLoop(null, background);
      expect([first, second, complaints]).toEqual(["x", "x", []]);
    }));

  for (const [call, index, faults, told] of rows) {
    for (const fault of faults.split(" ")) {
      test(`${call} #${index} ${fault}`, () =>
        leakFree(async () => {
          const said = await inNewLoop({ call, index, fault }, background);
          const one = `${call} ${fault}`;
          expect(said).toMatchObject({
            first: told ? one : "x",
            second: "x",
            reached: !background || call !== "SYS_io_submit",
          });
          expect(said.complaints).toEqual([]);
        }));
    }
  }
});

/** Out of descriptors when the thread for unreferenced waiters is to start: it starts later. */
if (aio) {
  for (const fault of ["EMFILE", "ENFILE"]) {
    test(`unreferenced: eventfd #1 ${fault}`, () =>
      leakFree(async () => {
        const said = await inNewLoop({ call: "eventfd", index: 1, fault }, true);
        expect(said).toMatchObject({ first: "x", second: "x", reached: true, complaints: [] });
      }));
  }
}

/** Without a waker forced the other one takes over. */
if (!forced) {
  test("eventfd #0 EMFILE: the thread takes over", () =>
    leakFree(async () => {
      const said = await inNewLoop({ call: "eventfd", index: 0, fault: "EMFILE" }, false);
      expect(said).toMatchObject({ first: "x", kind: "thread" });
    }));
}
