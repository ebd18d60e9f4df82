// What is closed when this JS thread is torn down from outside, as Worker.terminate() does it.

import { system } from "../../native/platform.ts";
import { EndSlots } from "../syscalls/thread-teardown.ts";

/** null in the main thread, which ends with the process. */
export const ending: EndSlots | null =
  Bun.isMainThread || system !== "linux" ? null : new EndSlots();
