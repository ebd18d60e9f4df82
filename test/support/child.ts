// Child processes with a time limit, and what they said.

import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { MAX_TIMER_MS } from "../../src/base/limits.ts";
import { type TempDir, tempDir } from "./tmp.ts";

/** This repository's root. */
export const root = resolve(import.meta.dir, "../..");

/** How many times longer everything takes where Bun is emulated (test/run.ts --slower). */
const emulation = Number(process.env["BUNIX_SLOWER"] ?? 1);

export const emulated = emulation > 1;

/** How many times more than usual is to be done (test/run.ts --work). */
export const work = Number(process.env["BUNIX_WORK"] ?? 1);

/** A limit is for what hangs: a busy machine may take this many times longer than a free one. */
const BUSY = 6;

/** What each time limit is multiplied by. */
export const slower = BUSY * emulation * Math.max(1, work);

/** So many rounds of something: more where more work is asked for, fewer where Bun is emulated. */
export const fewer = (count: number): number => Math.ceil((count * work) / emulation);

const DEFAULT_TIMEOUT_MS = 30_000;

export interface RunOptions {
  /** Default: the repository's root. */
  readonly cwd?: string;
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What the child reads from its standard input; default: nothing. */
  readonly input?: string | Uint8Array;
  /** SIGKILL after this long; default 30 s. */
  readonly timeoutMs?: number;
  /** Descriptors 3, 4, … of the child. */
  readonly fds?: readonly number[];
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit code; null where a signal ended it. */
  readonly code: number | null;
  /** The signal that ended it: "SIGKILL". */
  readonly signal: string | null;
  readonly timedOut: boolean;
}

/** A child that is still running. Disposing of it kills it. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Write to its standard input. */
  write(text: string): void;
  endInput(): void;
  /** The next line of its standard output; null at the end. */
  line(): Promise<string | null>;
  /** Read lines until one contains `text`; throws with what was said where none does. */
  lineWith(text: string): Promise<string>;
  kill(signal?: NodeJS.Signals): void;
  /** Its end. `stdout` has all of it, also what `line()` gave. */
  readonly exited: Promise<Outcome>;
}

/** Start `command`; `timeoutMs` is for its whole life. */
export function start(command: readonly string[], options: RunOptions = {}): Child {
  const { cwd = root, env, input, timeoutMs = DEFAULT_TIMEOUT_MS, fds = [] } = options;
  const child = Bun.spawn([...command], {
    cwd,
    env: merged(env),
    stdio: ["pipe", "pipe", "pipe", ...fds],
  });
  const stdin = child.stdin;
  if (input !== undefined) {
    stdin.write(input);
    stdin.end();
  }
  const limit = { passed: false };
  const timer = setTimeout(
    () => {
      limit.passed = true;
      child.kill("SIGKILL");
    },
    Math.min(timeoutMs * slower, MAX_TIMER_MS),
  );
  const out = new Lines(child.stdout);
  const stderr = new Response(child.stderr).text();
  const exited = (async (): Promise<Outcome> => {
    await child.exited;
    clearTimeout(timer);
    const signal = child.signalCode === null ? null : String(child.signalCode);
    const said = { stdout: await out.all(), stderr: await stderr };
    return { ...said, code: child.exitCode, signal, timedOut: limit.passed };
  })();
  return {
    pid: child.pid,
    write(text) {
      stdin.write(text);
      stdin.flush();
    },
    endInput: () => void stdin.end(),
    line: () => out.next(),
    lineWith: (text) => lineWith(out, text, stderr),
    kill: (signal = "SIGTERM") => child.kill(signal),
    exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Run `command` to its end. */
export function run(command: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return start(command, { input: "", ...options }).exited;
}

/** Run a TypeScript file with this Bun. A relative path starts at the repository's root. */
export function runScript(
  file: string | URL,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Outcome> {
  return run([process.execPath, scriptPath(file), ...args], options);
}

/** Start a TypeScript file with this Bun. */
export function startScript(
  file: string | URL,
  args: readonly string[] = [],
  options: RunOptions = {},
): Child {
  return start([process.execPath, scriptPath(file), ...args], options);
}

/**
 * Run TypeScript given as text. `@/` at the start of an import means the repository's root:
 * `import { Fd } from "@/src/fd.ts"`.
 */
export async function runSource(source: string, options: RunOptions = {}): Promise<Outcome> {
  using dir = tempDir();
  return await runScript(writeSource(dir, source), [], options);
}

/** Put a program into `dir` as runSource would; the result is its path. */
export function writeSource(dir: TempDir, source: string, name = "main.ts"): string {
  const file = dir.file(name);
  writeFileSync(file, source.replaceAll(/(["'])@\//g, `$1${root}/`));
  return file;
}

/** The output of a run that must succeed; throws with everything it said where it did not. */
export function succeeded(outcome: Outcome): string {
  if (outcome.code === 0) return outcome.stdout;
  const end = outcome.timedOut ? "timed out" : `ended with ${outcome.signal ?? outcome.code}`;
  throw new Error(`child ${end}\n--- stdout\n${outcome.stdout}\n--- stderr\n${outcome.stderr}`);
}

function scriptPath(file: string | URL): string {
  return typeof file === "string" ? resolve(root, file) : fileURLToPath(file);
}

function merged(env: RunOptions["env"]): Record<string, string> {
  const all: Record<string, string> = {};
  for (const [name, value] of Object.entries({ ...process.env, ...env })) {
    if (value !== undefined) all[name] = value;
  }
  return all;
}

async function lineWith(out: Lines, text: string, stderr: Promise<string>): Promise<string> {
  for (;;) {
    const line = await out.next();
    if (line?.includes(text)) return line;
    if (line !== null) continue;
    throw new Error(
      `no line with "${text}"; stdout:\n${await out.all()}\nstderr:\n${await stderr}`,
    );
  }
}

/** A stream as lines, and as a whole. */
class Lines {
  readonly #reader: { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> };
  readonly #decoder = new TextDecoder();
  #said = "";
  #at = 0;
  #ended = false;
  #reading: Promise<void> = Promise.resolve();

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** One read at a time, whoever asks. */
  #more(): Promise<void> {
    this.#reading = this.#reading.then(async () => {
      if (this.#ended) return;
      const { done, value } = await this.#reader.read();
      this.#ended = done;
      if (value !== undefined) this.#said += this.#decoder.decode(value, { stream: true });
    });
    return this.#reading;
  }

  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#said.indexOf("\n", this.#at);
      if (end >= 0 || this.#ended) return this.#take(end);
      await this.#more();
    }
  }

  #take(end: number): string | null {
    const stop = end < 0 ? this.#said.length : end;
    if (end < 0 && stop === this.#at) return null;
    const line = this.#said.slice(this.#at, stop);
    this.#at = end < 0 ? stop : stop + 1;
    return line;
  }

  async all(): Promise<string> {
    while (!this.#ended) await this.#more();
    return this.#said;
  }
}
