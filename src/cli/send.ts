// bunix send ADDRESS [TEXT...]: send by hand, with descriptors, and print the answer.

import { openSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { fileCall, UnixError } from "../base/errors.ts";
import type { SocketType } from "../base/socket-type.ts";
import { clearTimeout, setTimeout } from "../base/timers.ts";
import { Fd } from "../fd/fd.ts";
import type { RealtimeSignal } from "../send-fd/receiver-process.ts";
import { sendFd } from "../send-fd/send.ts";
import { connect } from "../socket/connect.ts";
import type { Message } from "../socket/message.ts";
import { openDatagram } from "../socket/open-datagram.ts";
import type { SocketKinds } from "../socket/types.ts";
import { wanted } from "./commands.ts";
import { type Parsed, parse, UsageError } from "./options.ts";
import { addressOf, peerOf, peerText, Reporter, typeOf } from "./talk.ts";
import { Input, Output, Stop } from "./terminal.ts";

const MS = 1000;

/** Send, and wait for an answer if that is asked for; the result is the exit code. */
export async function send(args: readonly string[]): Promise<number> {
  const parsed = parse(args, wanted("send"));
  const timeoutMs = timeoutOf(parsed);
  using stop = new Stop();
  using output = new Output();
  using input = new Input();
  using files = new Files(parsed.lists.get("fd") ?? []);
  const report = new Reporter(output, parsed);
  using interrupt = new Interrupt(parsed.values.has("pid") ? undefined : timeoutMs);
  const parts = { report, files, input, timeoutMs, interrupt: interrupt.signal };
  const todo = (parsed.values.has("pid") ? toProcess : toAddress)(parsed, parts);
  const ended = Promise.race([stop.next(), output.gone]).then(() => INTERRUPTED);
  return await Promise.race([todo, ended]);
}

/** The exit code of a shell for a command that SIGINT ended: 128 + 2. */
const INTERRUPTED = 130;

/** Ends all waits: at the time limit, or when the command ends. */
class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timeoutMs: number | undefined) {
    if (timeoutMs === undefined) return;
    const late = new UnixError("send", -errno.ETIMEDOUT, { hint: "--timeout" });
    this.#timer = setTimeout(() => this.#controller.abort(late), timeoutMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}

interface Parts {
  readonly report: Reporter;
  readonly files: Files;
  readonly input: Input;
  readonly timeoutMs: number | undefined;
  readonly interrupt: AbortSignal;
}

function timeoutOf({ values }: Parsed): number | undefined {
  const text = values.get("timeout");
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && Number.isFinite(seconds)) return Math.ceil(seconds * MS);
  throw new UsageError(`--timeout is a number of seconds, not ${text}`);
}

/** The descriptors of --fd: numbers are lent, files are opened and closed here. */
class Files implements Disposable {
  readonly fds: number[] = [];
  readonly #opened: Fd[] = [];

  constructor(names: readonly string[]) {
    try {
      for (const name of names) this.fds.push(/^\d+$/.test(name) ? Number(name) : this.#open(name));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #open(path: string): number {
    const opened = fileCall(() => openSync(path, "r"), { address: path });
    this.#opened.push(Fd.adopt(opened, "--fd"));
    return opened;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#opened.splice(0)) fd.close();
  }
}

/** `--pid`: one descriptor to a process, announced with a signal. */
async function toProcess(
  parsed: Parsed,
  { report, files, timeoutMs, interrupt }: Parts,
): Promise<number> {
  const pid = Number(parsed.values.get("pid"));
  const signal = parsed.values.get("signal");
  const [fd, ...more] = files.fds;
  if (!Number.isInteger(pid) || pid <= 0) throw new UsageError("--pid is the number of a process");
  if (signal === undefined) throw new UsageError("which --signal? SIGRTMIN+1, for example");
  if (fd === undefined || more.length > 0) throw new UsageError("--pid takes one --fd");
  if (parsed.rest.length > 0) throw new UsageError("--pid takes no address, and no text");
  const realtimeSignal = signal as RealtimeSignal;
  await sendFd(pid, fd, { realtimeSignal, timeoutMs, signal: interrupt });
  await report.say({ text: `process ${pid} has taken it`, json: { event: "taken", pid } });
  return 0;
}

type Socket = SocketKinds[SocketType];

async function toAddress(parsed: Parsed, parts: Parts): Promise<number> {
  const [text, ...words] = parsed.rest;
  if (text === undefined) throw new UsageError("send where? A path, or @name");
  if (parsed.values.has("signal")) throw new UsageError("--signal goes with --pid");
  const type = typeOf(parsed);
  const { report, input, interrupt: signal } = parts;
  const address = addressOf(parsed, text);
  using socket: Socket =
    type === "datagram"
      ? openDatagram(parsed.flags.has("wait") ? { autobind: true } : undefined, {
          connect: address,
        })
      : await connect<"stream" | "seqpacket">(address, { type, signal });
  if (type !== "datagram") {
    const peer = peerOf(socket);
    await report.say({ text: `to ${peerText(peer)}`, json: { event: "connected", peer } });
  }
  const sending = new Sending(socket, { parsed, fds: parts.files.fds, signal });
  if (words.length > 0) await sending.text(words.join(" "));
  else await sending.input(input);
  if (!parsed.flags.has("wait")) return 0;
  return (await answered(socket, report, signal)) ? 0 : 1;
}

/** Sends data, the descriptors with the first message. */
class Sending {
  readonly #socket: Socket;
  readonly #raw: boolean;
  readonly #signal: AbortSignal;
  #fds: readonly number[];

  constructor(
    socket: Socket,
    { parsed, fds, signal }: { parsed: Parsed; fds: number[]; signal: AbortSignal },
  ) {
    this.#socket = socket;
    this.#raw = parsed.flags.has("raw");
    this.#signal = signal;
    this.#fds = fds;
  }

  async text(text: string): Promise<void> {
    await this.#send(this.#socket.type === "stream" && !this.#raw ? `${text}\n` : text);
    this.#end();
  }

  async input(input: Input): Promise<void> {
    const { type } = this.#socket;
    if (type === "stream") {
      for (let data = await input.next(); data !== null; data = await input.next()) {
        await this.#send(data);
      }
    } else if (this.#raw) await this.#send(await input.all());
    else for await (const line of input.lines()) await this.#send(line);
    if (this.#fds.length > 0) await this.#send(type === "stream" ? "\n" : "");
    this.#end();
  }

  async #send(data: string | Uint8Array): Promise<void> {
    const fds = this.#fds;
    this.#fds = [];
    await this.#socket.send(data, { fds, signal: this.#signal });
  }

  #end(): void {
    if (this.#socket.type === "stream") this.#socket.end();
  }
}

/** Print the answer; false if the peer closed, or the time limit passed, without one. */
async function answered(socket: Socket, report: Reporter, signal: AbortSignal): Promise<boolean> {
  let came = false;
  for (;;) {
    const message = await next(socket, signal);
    if (message === null) return came;
    came = true;
    await report.message(message, "answer");
    if (socket.type !== "stream") return true;
  }
}

async function next(socket: Socket, signal: AbortSignal): Promise<Message | null> {
  try {
    return await socket.receive({ signal });
  } catch (error) {
    if (error instanceof UnixError) console.error(`bunix: ${error.message}`);
    else if (!signal.aborted) throw error;
    return null;
  }
}
