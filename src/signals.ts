// Signals with who sent them and what they carry, as a stream of events.

export { type SendSignalOptions, sendSignal } from "./process/send-signal.ts";
export { type SignalName, signalName, signalNumber } from "./signals/names.ts";
export {
  type SignalEvent,
  SignalWatcher,
  type WatchSignalsOptions,
  watchSignals,
} from "./signals/watcher.ts";
export type { SignalOrigin } from "./structs/siginfo.ts";
