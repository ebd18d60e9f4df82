// mq_notify: a signal when a message comes into an empty queue.

import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import { UnixError } from "../base/errors.ts";
import { INT_MIN } from "../base/limits.ts";
import { handledSignalNumber, type SignalName, signalName } from "../signals/names.ts";
import { mqNotify } from "../syscalls/message-queue.ts";
import { Disposition } from "../syscalls/signal.ts";

/** Which signal tells of a message. */
export interface QueueNotification {
  /** It must be watched already. A real-time one queues up with others, a standard one merges. */
  readonly signal: SignalName | number;
  /** A signed 32-bit integer that comes with it: the event's `value`. Default 0. */
  readonly value?: number | undefined;
}

const hints = new Map<number, string>([
  [errno.EBUSY, "a process has asked already, perhaps this one: only one at a time may ask"],
]);

/** @internal Register, or with null take the registration back. @throws as MessageQueue.notify */
export function notifyBySignal(fd: number, asked: QueueNotification | null): void {
  const done = mqNotify(fd, asked === null ? null : requestOf(asked));
  if (done < 0) throw new UnixError("mq_notify", done, { hint: hints.get(-done) });
}

function requestOf({ signal, value = 0 }: QueueNotification): { number: number; value: number } {
  const number = handledSignalNumber(signal);
  integer("value", value, { min: INT_MIN });
  const now = Disposition.of(number);
  if (typeof now === "number") throw new UnixError("sigaction", now);
  if (!now.calls(Disposition.byDefault())) return { number, value };
  const hint = `nothing here handles ${signalName(number)}, which might end this process: watch it`;
  throw new UnixError("mq_notify", -errno.EINVAL, { code: "ERR_SIGNAL_UNHANDLED", hint });
}
