// One system call, made where it can do no harm to this process: see native/try-call.c.

import { nr } from "../../native/numbers.ts";
import source from "../../native/try-call.c" with { type: "text" };
import { errnoName } from "../base/errors.ts";
import { callees, compiled } from "./compiled.ts";
import { asPointer } from "./memory.ts";

const symbols = {
  attempt: { args: ["i32", "i32", "i32", "i32"], returns: "i32" },
  configure: { args: ["ptr", "ptr"], returns: "void" },
  configure_numbers: { args: ["i32", "i32", "i32", "i32"], returns: "void" },
} as const;

/** 0 or a negative errno; or what kept the call from having a result. */
export type TriedCall = number | { readonly endedBy: number } | { readonly unknown: string };

type Attempting = (number: number, a: number, b: number, c: number) => number;

let made: Attempting | string | undefined;

function prepared(): Attempting | string {
  const { SYS_clone, SYS_wait4, SYS_exit_group, SYS_prctl } = nr;
  const numbers = [SYS_clone, SYS_wait4, SYS_exit_group, SYS_prctl];
  if (numbers.includes(null)) return "only Linux has it";
  const pointers = callees(["syscall", "__errno_location"]);
  if (typeof pointers === "string") return pointers;
  const library = compiled(source, symbols);
  if (typeof library === "string") return library;
  const calls = library.symbols;
  const [call, location] = pointers.map(asPointer);
  calls.configure(call!, location!);
  calls.configure_numbers(SYS_clone!, SYS_wait4!, SYS_exit_group!, SYS_prctl!);
  return (...args) => calls.attempt(...args);
}

/** What the C says if there was no process to make the call. */
const NO_PROCESS = -1000;

/** Make the call in a process of its own, for whose end this waits: a few milliseconds. */
export function tryCall(number: number, a: number, b: number, c: number): TriedCall {
  made ??= prepared();
  if (typeof made === "string") return { unknown: made };
  const result = made(number | 0, a | 0, b | 0, c | 0); // facts: #compiled-takes-int32
  if (result <= NO_PROCESS) return { unknown: `clone: ${errnoName(NO_PROCESS - result)}` };
  return result < 0 ? { endedBy: -result } : -result;
}
