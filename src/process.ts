// Processes as descriptors: a pidfd stays that process, even if another gets its pid.

export { type ExitStatus, ProcessHandle, type ProcessInfo } from "./process/handle.ts";
export { type SendSignalOptions, sendSignal } from "./process/send-signal.ts";
export type { SignalName } from "./signals/names.ts";
