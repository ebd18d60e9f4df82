// Signals through process.on, if our own handler cannot be installed: without sender and value.

import { signals } from "../../native/signal.ts";
import { UnsupportedError } from "../base/errors.ts";
import { MAX_TIMER_MS } from "../base/limits.ts";
import { clearInterval, now, setInterval } from "../base/timers.ts";
import type { SignalInfo } from "../structs/siginfo.ts";
import type { Deliver, Interest, SignalSource } from "./handler-source.ts";
import { signalName } from "./names.ts";

export class ProcessSource implements SignalSource {
  readonly kind = "process";
  readonly fd = null;
  readonly #reason: string;
  readonly #deliver: Deliver;
  readonly #listeners = new Map<number, () => void>();
  #alive: ReturnType<typeof setInterval> | null = null;

  constructor(reason: string, deliver: Deliver) {
    this.#reason = reason;
    this.#deliver = deliver;
  }

  /** @throws UnsupportedError for real-time signals, which process.on does not know */
  begin(number: number): void {
    const name = signalName(number);
    if (!(name in signals)) {
      throw new UnsupportedError("signalSenders", `${this.#reason}; process.on knows no ${name}`);
    }
    const listener = (): void => this.#deliver({ info: unknown(number), time: now() });
    process.on(name as NodeJS.Signals, listener);
    this.#listeners.set(number, listener);
  }

  end(number: number): void {
    const listener = this.#listeners.get(number);
    if (listener !== undefined) process.off(signalName(number) as NodeJS.Signals, listener);
    this.#listeners.delete(number);
  }

  lost(): number {
    return 0;
  }

  collect(): void {}

  await(interest: Interest): void {
    const alive = interest === "referenced";
    if (alive === (this.#alive !== null)) return;
    if (this.#alive !== null) clearInterval(this.#alive);
    this.#alive = alive ? setInterval(() => {}, MAX_TIMER_MS) : null;
  }
}

function unknown(number: number): SignalInfo {
  const none = undefined;
  const said = { pid: none, uid: none, value: none, pointer: none, status: none };
  return { number, origin: "unknown", siCode: none, ...said };
}
