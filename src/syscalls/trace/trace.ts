// BUNIX_DEBUG: each system call with its arguments and result on standard error, as strace has it.
// The functions are wrapped once, when libc is opened. Without the variable nothing is wrapped.

import { toArrayBuffer } from "bun:ffi";
import { errno } from "../../../native/errno.ts";
import { pollfd } from "../../../native/file.ts";
import { nr } from "../../../native/numbers.ts";
import { poll } from "../../../native/poll.ts";
import { now } from "../../base/timers.ts";
import { asPointer, Memory } from "../memory.ts";
import { type Direct, directCall, type Group, groups, type Traced, tracedCalls } from "./calls.ts";
import { decimal, hex, int, resultText, type Value } from "./values.ts";

type Call = (...args: Value[]) => number;
/** libc's functions, by name. */
export type Calls = Record<string, Call>;

/** What `BUNIX_DEBUG` asks for: groups of calls; null if it asks for nothing. */
export function wantedGroups(variable: string | undefined): ReadonlySet<Group> | null {
  if (variable === undefined || variable === "" || variable === "0") return null;
  const words = variable.split(",").map((word) => word.trim());
  const some = groups.filter((group) => words.includes(group));
  return new Set(some.length > 0 ? some : groups);
}

/**
 * Put calls that say what they do in the place of those in `calls`. The thread's errno, which is at
 * `location`, is left as the call itself set it.
 */
export function trace(calls: object, location: number, wanted: ReadonlySet<Group>): void {
  const all = calls as Calls;
  const tracer = new Tracer({ ...all }, location);
  for (const [name, traced] of Object.entries(tracedCalls())) {
    const real = all[name];
    if (real !== undefined && wanted.has(traced.group)) all[name] = tracer.wrap(name, real, traced);
  }
  const { syscall } = all;
  if (syscall !== undefined) all["syscall"] = tracer.wrapDirect(syscall, wanted);
}

const STDERR = 2;
const MS = 1000;

interface Outcome {
  readonly args: readonly Value[];
  readonly result: number;
  readonly error: number;
}

const plain = ({ result }: { result: number }): string => String(result);

const unknownCall = (number: number): Direct => ({
  name: `syscall_${number}`,
  group: "process",
  args: [hex, hex, hex, hex, hex, hex],
});

class Tracer {
  readonly #real: Calls;
  /** Where libc keeps this thread's errno. */
  readonly #errno: Int32Array;
  readonly #thread: string;
  readonly #room = new Memory(pollfd.size);

  constructor(real: Calls, location: number) {
    this.#real = real;
    this.#errno = new Int32Array(toArrayBuffer(asPointer(location), 0, 4));
    const thread = Bun.isMainThread ? 0 : this.#threadId();
    this.#thread = thread > 0 ? ` thread ${thread}` : "";
  }

  #threadId(): number {
    return this.#real["syscall"]?.(nr.SYS_gettid ?? -1, 0, 0, 0, 0, 0, 0) ?? -1;
  }

  wrap(name: string, real: Call, traced: Traced): Call {
    return (...args) => {
      const result = real(...args);
      const error = this.#errno[0]!;
      this.#say(name, traced, { args, result, error });
      this.#errno[0] = error;
      return result;
    };
  }

  /** `syscall(number, …)` under the name of the call that it makes. */
  wrapDirect(real: Call, wanted: ReadonlySet<Group>): Call {
    return (number, ...args) => {
      const result = real(number ?? null, ...args);
      const error = this.#errno[0]!;
      const { name, ...traced } = directCall(int(number)) ?? unknownCall(int(number));
      if (wanted.has(traced.group)) this.#say(name, traced, { args, result, error });
      this.#errno[0] = error;
      return result;
    };
  }

  #say(name: string, traced: Traced, made: Outcome): void {
    const { args, result, error } = made;
    const failed = result < 0;
    const bad = failed && error === errno.EFAULT; // then nothing may be looked at
    const shown = traced.args.map((show, i) =>
      (bad && show !== decimal ? hex : show)(args[i] ?? null, { args, result }),
    );
    const back = failed ? resultText(result, error) : (traced.result ?? plain)({ args, result });
    this.#write(`${this.#stamp()} ${name}(${shown.join(", ")}) = ${back}\n`);
  }

  /** Seconds since this thread began. */
  #stamp(): string {
    return `[bunix ${(now() / MS).toFixed(6)}${this.#thread}]`;
  }

  /** A line in one write. Waits if standard error is full, and gives up if it is closed. */
  #write(line: string): void {
    const bytes = new TextEncoder().encode(line);
    const { write, poll: wait } = this.#real;
    for (;;) {
      if (write!(STDERR, bytes, bytes.length) >= 0) return;
      const error = this.#errno[0]!;
      if (error !== errno.EAGAIN && error !== errno.EINTR) return;
      this.#room.view.setInt32(pollfd.at.fd, STDERR, true);
      this.#room.view.setInt16(pollfd.at.events, poll.POLLOUT, true);
      wait!(this.#room.address, 1, -1);
    }
  }
}
