// Which watchers watch which signal. A signal is caught once and handed to all its watchers, also
// those of other copies of this library in the process (two versions of a package, a module loaded
// anew): a signal has one handler, so the first copy that watches it has the handler, and the
// others register there.

import { UnsupportedError } from "../base/errors.ts";
import {
  availableHandler,
  type Caught,
  HandlerSource,
  type Interest,
  type SignalSource,
} from "./handler-source.ts";
import { ProcessSource } from "./process-source.ts";

/** A watcher of signals. */
export interface Receiver {
  deliver(caught: Caught): void;
  /** Whether it waits for one now. */
  readonly interest: Interest;
}

const receivers = new Map<number, Set<Receiver>>();
let source: SignalSource | undefined;

/** Why signals cannot be watched in this thread; null if they can. */
export function whyNotHere(): string | null {
  if (Bun.isMainThread) return null;
  return "signals are the process's: watch them on the main thread, which can tell its Workers";
}

/** Why signals come without their sender; null if they come with it. */
export function whyNoSenders(): string | null {
  const elsewhere = whyNotHere();
  if (elsewhere !== null) return elsewhere;
  const handler = availableHandler();
  return typeof handler === "string" ? handler : null;
}

function deliver(caught: Caught): void {
  for (const receiver of receivers.get(caught.info.number) ?? []) receiver.deliver(caught);
}

/** This copy's source, made when it is first needed. @throws UnsupportedError in a Worker */
function ownSource(): SignalSource {
  if (source !== undefined) return source;
  const elsewhere = whyNotHere();
  if (elsewhere !== null) throw new UnsupportedError("signals", elsewhere);
  const found = HandlerSource.create(deliver);
  source = typeof found === "string" ? new ProcessSource(found, deliver) : found;
  return source;
}

function ownAttach(receiver: Receiver, numbers: Iterable<number>): void {
  const from = ownSource();
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
    ownDetach(receiver, done);
    throw error;
  }
}

function ownDetach(receiver: Receiver, numbers: Iterable<number>): void {
  for (const number of numbers) {
    const all = receivers.get(number);
    if (all?.delete(receiver) !== true || all.size > 0) continue;
    receivers.delete(number);
    ownSource().end(number);
  }
  ownInterestChanged();
}

function ownInterestChanged(): void {
  let strongest: Interest = "none";
  for (const all of receivers.values()) {
    for (const { interest } of all) {
      if (interest === "referenced") strongest = interest;
      else if (strongest === "none") strongest = interest;
    }
  }
  ownSource().await(strongest);
}

/** What the copies have in common; another shape of it gets another number. */
interface Hub {
  readonly protocol: number;
  signalSource(): SignalSource;
  attach(receiver: Receiver, numbers: Iterable<number>): void;
  detach(receiver: Receiver, numbers: Iterable<number>): void;
  interestChanged(): void;
}

const own: Hub = {
  protocol: 1,
  signalSource: ownSource,
  attach: ownAttach,
  detach: ownDetach,
  interestChanged: ownInterestChanged,
};

const KEY = Symbol.for("bunix.signals");
const shared = globalThis as { [KEY]?: Hub };

/** The first copy's that watches a signal. @throws UnsupportedError for one that cannot be asked */
function hub(): Hub {
  const first = (shared[KEY] ??= own);
  if (first.protocol === own.protocol) return first;
  const why = "another version of bunix in this process watches signals already: load only one";
  throw new UnsupportedError("signals", why);
}

/** The process's source, made when it is first needed. @throws UnsupportedError in a Worker */
export const signalSource = (): SignalSource => hub().signalSource();

/** From now on `receiver` gets these signals: all of them, or on an error none. */
export const attach: Hub["attach"] = (receiver, numbers) => hub().attach(receiver, numbers);

/** When the last watcher leaves, the signal's disposition is restored. */
export const detach: Hub["detach"] = (receiver, numbers) => hub().detach(receiver, numbers);

/** The number of waiters went from none to some, or back. */
export const interestChanged = (): void => hub().interestChanged();
