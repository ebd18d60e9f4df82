// struct sigevent: how a process wants to be told of something.

import { notification, sigevent } from "../../native/signal.ts";

/** A signal, and the sival_int that comes with it. */
export interface SignalRequest {
  readonly number: number;
  readonly value: number;
}

/** Bytes of a struct sigevent. */
export const sigeventBytes: number = sigevent.size;

/** Tell by a signal. */
export function encodeSigevent(view: DataView, { number, value }: SignalRequest): void {
  for (let at = 0; at < sigevent.size; at += 4) view.setInt32(at, 0, true);
  view.setInt32(sigevent.at.sigev_value, value, true);
  view.setInt32(sigevent.at.sigev_signo, number, true);
  view.setInt32(sigevent.at.sigev_notify, notification.SIGEV_SIGNAL, true);
}
