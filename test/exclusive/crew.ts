// Many processes that start on one address at the same moment.

import {
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  type AddressInput,
  connectSync,
  type DatagramSocket,
  type Listener,
  type ListenOptions,
  listen,
  openDatagram,
  type SocketType,
} from "../../src/index.ts";
import { type Child, root, run, start, startScript } from "../support/child.ts";
import type { TempDir } from "../support/tmp.ts";
import { Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";

const starter = "test/fixtures/exclusive-starter.ts";
/** So few can all spin until one moment. */
const FEW = 2;
const SPIN_US = 400;
const LIFE_MS = 175_000;

export const numberOf = { stream: SOCK_STREAM, seqpacket: SOCK_SEQPACKET, datagram: SOCK_DGRAM };

export interface Take {
  /** Default "take". */
  readonly do?: "take" | "leave";
  readonly delayUs?: number;
  readonly address: string;
  readonly type: SocketType;
  readonly options?: ListenOptions;
  readonly dieAt?: number;
}

export interface Answer {
  readonly won: boolean;
  /** When it began, in microseconds of the machine's clock. */
  readonly began: number;
  readonly code?: string;
  readonly message?: string;
  /** The holders that the error names. */
  readonly pids?: readonly number[];
}

/** One starter, and what it says; null where it died. */
export class Starter {
  readonly #child: Child;

  constructor(gate: string) {
    this.#child = startScript(starter, [gate], { timeoutMs: LIFE_MS });
  }

  get pid(): number {
    return this.#child.pid;
  }

  order(command: object): void {
    this.#child.write(JSON.stringify(command));
  }

  async answer<T>(): Promise<T | null> {
    const line = await this.#child.line();
    return line === null ? null : (JSON.parse(line) as T);
  }

  /** Close what it has; the number of clients it saw. */
  async close(dieAt?: number): Promise<number | null> {
    this.order({ do: "close", dieAt });
    return (await this.answer<{ visits: number }>())?.visits ?? null;
  }

  /** How it ended, if it said nothing because it was killed; throws where it failed otherwise. */
  async end(): Promise<void> {
    const { signal, stderr } = await this.#child.exited;
    if (signal !== "SIGKILL") throw new Error(`a starter ended by itself:\n${stderr}`);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

/** Starters behind a gate. */
export class Crew implements AsyncDisposable {
  readonly #path: string;
  readonly #gate: number;
  readonly #members: Starter[] = [];

  private constructor(path: string) {
    this.#path = path;
    this.#gate = openSync(path, constants.O_RDWR);
  }

  static async of(dir: TempDir, count: number): Promise<Crew> {
    const path = dir.file("gate");
    await run(["mkfifo", path]);
    const crew = new Crew(path);
    for (let i = 0; i < count; i++) crew.#members.push(new Starter(path));
    return crew;
  }

  get members(): readonly Starter[] {
    return this.#members;
  }

  /** Put a new one in the place of one that died. */
  async replace(dead: Starter): Promise<Starter> {
    await dead.end();
    const fresh = new Starter(this.#path);
    this.#members[this.#members.indexOf(dead)] = fresh;
    return fresh;
  }

  /** Let all of `who` take an address; call `begun` when the gate is open. */
  async race(
    takes: ReadonlyMap<Starter, Take>,
    begun: () => void = () => {},
  ): Promise<Map<Starter, Answer | null>> {
    const who = [...takes.keys()];
    for (const [one, take] of takes) one.order({ do: "take", ...take });
    const ready = await Promise.all(who.map((one) => one.answer()));
    const tokens = new Float64Array(ready.filter((one) => one !== null).length);
    const moment = (performance.timeOrigin + performance.now()) * 1_000;
    tokens.fill(tokens.length <= FEW ? moment + SPIN_US : 0);
    writeSync(this.#gate, tokens);
    begun();
    const answers = await Promise.all(who.map((one) => one.answer<Answer>()));
    return new Map(who.map((one, i) => [one, answers[i] ?? null]));
  }

  /** All with the same order. */
  raceAll(take: Take, begun?: () => void): Promise<Map<Starter, Answer | null>> {
    return this.race(new Map(this.#members.map((one) => [one, take])), begun);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map((one) => one[Symbol.asyncDispose]()));
    closeSync(this.#gate);
  }
}

/** Leave a socket's file whose socket is gone. */
export function leaveStale(path: string, type: SocketType = "stream"): void {
  using scope = new Scope();
  scope.bound(path, numberOf[type]);
}

/**
 * What may stand at a lock file's path and is none: the code of the error, and how it is made.
 * `precious` is a file beside it, which nobody may touch.
 */
export const noLockFiles = (
  path: string,
  precious: string,
): Readonly<Record<string, [code: string, make: () => unknown]>> => ({
  "a symbolic link": ["ELOOP", () => symlinkSync("precious", path)],
  "a link to nowhere": ["ELOOP", () => symlinkSync("nowhere", path)],
  "a second name": ["EINVAL", () => linkSync(precious, path)],
  "a FIFO": ["EINVAL", () => Bun.spawnSync(["mkfifo", path])],
  "a directory": ["EISDIR", () => mkdirSync(path)],
  "a socket": ["ENXIO", () => leaveStale(path)],
});

/** Visit a server by its address; the pid of the one who listened, null for datagrams. */
export function visit(address: string, type: SocketType): number | null {
  if (type === "datagram") {
    using socket = openDatagram();
    socket.sendSync("visit", { to: address });
    return null;
  }
  using socket = connectSync(address, { type });
  return socket.peerCredentials().pid;
}

/** The command of a process with one server; see test/fixtures/exclusive-server.ts. */
export function serverCommand(address: string, options: object = {}, how = "return"): string[] {
  const script = join(root, "test/fixtures/exclusive-server.ts");
  return [process.execPath, script, address, JSON.stringify(options), how];
}

/** Start one: it says "listening", or its error. */
export function startServer(address: string, options: object = {}, how?: string): Child {
  return start(serverCommand(address, options, how));
}

export const types: readonly SocketType[] = ["stream", "seqpacket", "datagram"];

/** A server of any type, in this process. */
export function open(
  address: AddressInput,
  type: SocketType,
  options?: ListenOptions,
): Listener | DatagramSocket {
  if (type === "datagram") return openDatagram(address, options);
  return listen(address, { ...options, type });
}
