// Waiting for any descriptor on Bun's event loop.

export {
  configureLoop,
  type LoopOptions,
  type Readiness,
  type WaitOptions,
  waitReadable,
  waitWritable,
  watchReadiness,
} from "./readiness/readiness.ts";
