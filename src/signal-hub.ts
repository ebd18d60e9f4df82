// Who watches which signal. A signal is caught once and handed to all who watch it.

import { UnsupportedError } from "./errors.ts";
import { ProcessSource } from "./signal-fallback.ts";
import {
  availableHandler,
  type Caught,
  HandlerSource,
  type Interest,
  type SignalSource,
} from "./signal-source.ts";

/** Somebody who watches signals. */
export interface Receiver {
  deliver(caught: Caught): void;
  /** Whether it waits for one now. */
  readonly interest: Interest;
}

const receivers = new Map<number, Set<Receiver>>();
let source: SignalSource | undefined;

/** Why signals cannot be watched in this thread; null where they can. */
export function whyNotHere(): string | null {
  if (Bun.isMainThread) return null;
  return "signals are the process's: watch them on the main thread, which can tell its Workers";
}

/** Why signals come without their sender; null where they come with it. */
export function whyNoSenders(): string | null {
  const elsewhere = whyNotHere();
  if (elsewhere !== null) return elsewhere;
  const handler = availableHandler();
  return typeof handler === "string" ? handler : null;
}

function deliver(caught: Caught): void {
  for (const receiver of receivers.get(caught.info.number) ?? []) receiver.deliver(caught);
}

/** The process's source, made when it is first needed. @throws UnsupportedError in a Worker */
export function signalSource(): SignalSource {
  if (source !== undefined) return source;
  const elsewhere = whyNotHere();
  if (elsewhere !== null) throw new UnsupportedError("signals", elsewhere);
  const found = HandlerSource.create(deliver);
  source = typeof found === "string" ? new ProcessSource(found, deliver) : found;
  return source;
}

/** From now on `receiver` gets these signals: all of them, or on an error none. */
export function attach(receiver: Receiver, numbers: Iterable<number>): void {
  const from = signalSource();
  from.collect(); // what was caught before is for those who watched before
  const done: number[] = [];
  try {
    for (const number of numbers) {
      const known = receivers.get(number);
      if (known === undefined) {
        from.begin(number);
        receivers.set(number, new Set([receiver]));
      } else known.add(receiver);
      done.push(number);
    }
  } catch (error) {
    detach(receiver, done);
    throw error;
  }
}

/** The last who goes has the signal's disposition restored. */
export function detach(receiver: Receiver, numbers: Iterable<number>): void {
  for (const number of numbers) {
    const all = receivers.get(number);
    if (all?.delete(receiver) !== true || all.size > 0) continue;
    receivers.delete(number);
    signalSource().end(number);
  }
  interestChanged();
}

/** Somebody waits who did not, or the other way round. */
export function interestChanged(): void {
  let most: Interest = "none";
  for (const all of receivers.values()) {
    for (const { interest } of all) {
      if (interest === "referenced") most = interest;
      else if (most === "none") most = interest;
    }
  }
  signalSource().await(most);
}
