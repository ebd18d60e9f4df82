// Whole processes: a server on its processor, the client beside it, and what a server uses.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { output, type Placement, pinned, scratch } from "./harness.ts";
import { c, type Start } from "./peers.ts";

const BYTES_PER_KB = 1024;
const PAUSE_MS = 10;

/** A fresh address for each server. */
export const somewhere = (): string => join(scratch, `${crypto.randomUUID().slice(0, 8)}.sock`);

/** With as many descriptors as may be. */
const manyFds = ["sh", "-c", 'ulimit -n "$(ulimit -Hn)" && exec "$@"', "sh"];

export class Server implements AsyncDisposable {
  readonly path: string;
  readonly #process: Bun.Subprocess;

  constructor(start: Start, cpu: number, options: { path?: string; before?: string[] } = {}) {
    const { path = somewhere(), before = [] } = options;
    this.path = path;
    this.#process = Bun.spawn(pinned(cpu, [...manyFds, ...before, ...start(path)]), {
      stdio: ["ignore", "inherit", "inherit"],
    });
  }

  /** Resolves when its socket is there; the C client waits for itself. */
  async listening(): Promise<void> {
    while (!existsSync(this.path)) {
      if (this.#process.exitCode !== null) throw new Error("the server did not start");
      await Bun.sleep(PAUSE_MS);
    }
  }

  #read(file: string): string {
    return readFileSync(`/proc/${this.#process.pid}/${file}`, "utf8");
  }

  /** Resident memory. */
  get memoryBytes(): number {
    return Number(/^VmRSS:\s+(\d+)/m.exec(this.#read("status"))?.[1]) * BYTES_PER_KB;
  }

  get threads(): number {
    return Number(/^Threads:\s+(\d+)/m.exec(this.#read("status"))?.[1]);
  }

  /** Processor time of all its threads so far. */
  get cpuNs(): number {
    const tasks = readdirSync(`/proc/${this.#process.pid}/task`);
    const used = (task: string): number =>
      Number(this.#read(`task/${task}/schedstat`).split(" ")[0]);
    return tasks.reduce((sum, task) => sum + used(task), 0);
  }

  /** Processor time in user mode and in the kernel so far, in clock ticks. */
  get ticks(): { readonly user: number; readonly system: number } {
    const fields = this.#read("stat")
      .replace(/^.*\) /, "")
      .split(" ");
    const [user, system] = [fields[11], fields[12]];
    return { user: Number(user), system: Number(system) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL"); // bare.ts never looks at anything gentler
    await this.#process.exited;
  }
}

/** A program that takes steps: it says a line, waits for one, and so on. */
export class Stepper implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncIterator<string>;

  constructor(command: readonly string[], cpu: number) {
    this.#process = Bun.spawn(pinned(cpu, [...manyFds, ...command]), {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = linesOf(this.#process.stdout);
  }

  /** Let it go on. */
  go(): void {
    this.#process.stdin.write("\n");
    this.#process.stdin.flush();
  }

  /** What it says next. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the client ended early: ${await this.#process.exited}`);
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  return undefined;
}

/** Run client.c in one of its modes against a fresh server: the first number that it prints. */
export async function drive(
  start: Start,
  [serverCpu, clientCpu]: Placement,
  [mode, ...args]: readonly [mode: string, ...args: number[]],
): Promise<number> {
  await using server = new Server(start, serverCpu);
  const command = [...manyFds, c("client"), mode, server.path, ...args.map(String)];
  return Number.parseFloat(output(pinned(clientCpu, command)));
}
