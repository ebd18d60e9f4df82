// What is closed when this JS thread is torn down from outside, as Worker.terminate() does it.

import { EndSlots, whyNoTeardown } from "../syscalls/thread-teardown.ts";

/** null in the main thread, which ends with the process, and on systems without such a hook. */
export const ending: EndSlots | null =
  Bun.isMainThread || whyNoTeardown() !== null ? null : new EndSlots();
