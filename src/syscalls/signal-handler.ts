// Compiles native/signal-handler.c in this process's memory.

import type { cc } from "bun:ffi";
import source from "../../native/signal-handler.c" with { type: "text" };
import { callees, compiled } from "./compiled.ts";
import { asPointer } from "./memory.ts";

const symbols = {
  aim: { args: ["i32"], returns: "void" },
  at_work: { args: [], returns: "i32" },
  configure: { args: ["ptr", "ptr", "ptr"], returns: "void" },
  configure_counters: { args: ["ptr", "ptr", "ptr"], returns: "void" },
  handler: { args: [], returns: "ptr" },
  lost: { args: ["i32"], returns: "i32" },
  milliseconds: { args: [], returns: "f64" },
} as const;

/** The compiled handler. It is never freed: a signal may be on its way to it at any time. */
export interface SignalHandler {
  /** Holds the function's memory. */
  readonly library: unknown;
  /** Where the function is. */
  readonly address: number;
  /** Where its records go from now on; −1: nowhere. */
  aim(fd: number): void;
  /** How many signals of this number found no room so far. */
  lost(number: number): number;
  /** Whether some thread may still be about to write to where it was aimed. */
  busy(): boolean;
  /** The clock of its records, in milliseconds. */
  now(): number;
}

let made: SignalHandler | string | undefined;

/** The handler, compiled once; or the reason why there is none here. */
export function signalHandler(): SignalHandler | string {
  made ??= compile();
  return made;
}

const needed = [
  "write",
  "__errno_location",
  "clock_gettime",
  "sem_init",
  "sem_post",
  "sem_getvalue",
];

function compile(): SignalHandler | string {
  const pointers = callees(needed);
  if (typeof pointers === "string") return pointers;
  const library = compiled(source, symbols);
  return typeof library === "string" ? library : configured(library, pointers);
}

type Library = ReturnType<typeof cc<typeof symbols>>;

function configured(library: Library, pointers: readonly number[]): SignalHandler {
  const calls = library.symbols;
  const [write, location, clock, init, post, get] = pointers.map(asPointer);
  calls.configure(write!, location!, clock!);
  calls.configure_counters(init!, post!, get!);
  return {
    library,
    address: Number(calls.handler()),
    aim: (fd) => void calls.aim(fd | 0), // facts: #compiled-takes-int32
    lost: (number) => calls.lost(number | 0),
    busy: () => calls.at_work() > 0,
    now: () => calls.milliseconds(),
  };
}
