// A descriptor handed to a process by its pid, announced with a real-time signal: nothing is set up
// between the two but the receiver's handler. What they write to each other: docs/send-fd.md.

export {
  FdReceiver,
  type ReceivedFd,
  type ReceiveFdsOptions,
  receiveFds,
} from "./send-fd/receiver.ts";
export type { RealtimeSignal } from "./send-fd/receiver-process.ts";
export { type SendFdOptions, sendFd } from "./send-fd/send.ts";
