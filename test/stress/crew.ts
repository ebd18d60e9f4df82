// Workers that talk to each other, each with an event loop of its own.

import { Worker } from "node:worker_threads";

export const file = new URL("../fixtures/stress-worker.ts", import.meta.url);

interface Size {
  readonly workers: number;
  readonly rounds: number;
}

interface Member {
  readonly worker: Worker;
  /** What it says next. */
  readonly next: () => Promise<string>;
}

/** Start the crew; each says "ready" before it begins. */
function crew(name: string, { workers, rounds }: Size): Member[] {
  return Array.from({ length: workers }, (_, index) => {
    const worker = new Worker(file, { workerData: { name, index, workers, rounds } });
    const said: string[] = [];
    const waiting: PromiseWithResolvers<string>[] = [];
    worker.on("message", (text: string) => {
      const first = waiting.shift();
      if (first === undefined) said.push(text);
      else first.resolve(text);
    });
    worker.on("error", (error) => {
      for (const one of waiting.splice(0)) one.reject(error);
    });
    const next = (): Promise<string> => {
      const known = said.shift();
      if (known !== undefined) return Promise.resolve(known);
      const later = Promise.withResolvers<string>();
      waiting.push(later);
      return later.promise;
    };
    return { worker, next };
  });
}

/** Have them do their rounds: what all said at the start, at the end, closed; their exit codes. */
export async function talk(name: string, size: Size): Promise<unknown[]> {
  const workers = crew(name, size);
  const all = (): Promise<string[]> => Promise.all(workers.map(({ next }) => next()));
  const tell = (): void => {
    for (const { worker } of workers) worker.postMessage("go on");
  };
  const ended = workers.map(({ worker }) => new Promise((resolve) => worker.once("exit", resolve)));
  const ready = await all();
  tell();
  const done = await all();
  tell();
  return [ready, done, await all(), await Promise.all(ended)];
}
