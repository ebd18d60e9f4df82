// Puts other functions in the place of libc's, in this process, until disposed of: for answers that
// a kernel gives too seldom to wait for. src/syscalls calls through one mutable object, `libc`.

import { timespec } from "../../native/time.ts";
import { type Libc, lastError, libc } from "../../src/syscalls/libc.ts";
import { cells } from "../../src/syscalls/memory.ts";

type Name = keyof Libc;

/** What one call does: fail with an errno, or answer (the arguments are the call's). */
export type Step = { readonly errno: number } | ((...args: number[]) => number);

export interface Fake extends Disposable {
  /** The arguments of each call so far. */
  readonly calls: readonly (readonly number[])[];
}

const mutable = libc as { -readonly [K in Name]: (...args: number[]) => number };

/**
 * Replace `name`: each call takes the next of `steps`; when they are used up the real function
 * answers. A step that fails also says what errno is read after it.
 */
export function fake(name: Name, steps: Iterable<Step>): Fake {
  const real = mutable[name];
  const realError = lastError.read;
  const calls: number[][] = [];
  const next = steps[Symbol.iterator]();
  mutable[name] = (...args) => {
    calls.push(args);
    const { done, value: step } = next.next();
    lastError.read = realError;
    if (done === true) return real(...args);
    if (typeof step === "function") return step(...args);
    lastError.read = () => step.errno;
    return -1;
  };
  return {
    calls,
    [Symbol.dispose]() {
      mutable[name] = real;
      lastError.read = realError;
    },
  };
}

/** Let `read` say what errno is. */
export function fakeErrno(read: () => number): Disposable {
  const real = lastError.read;
  lastError.read = read;
  return { [Symbol.dispose]: () => void (lastError.read = real) };
}

/** Let CLOCK_MONOTONIC say `next` of the milliseconds that it would say. */
export function fakeClock(next: (realMs: number) => number): Disposable {
  const real = mutable.clock_gettime;
  const { tv_sec, tv_nsec } = timespec.at;
  mutable.clock_gettime = (...args) => {
    const result = real(...args);
    const { words } = cells;
    const ms = next(words[tv_sec >> 2]! * 1e3 + words[tv_nsec >> 2]! / 1e6);
    words[tv_sec >> 2] = Math.floor(ms / 1e3);
    words[tv_nsec >> 2] = (ms % 1e3) * 1e6;
    return result;
  };
  return { [Symbol.dispose]: () => void (mutable.clock_gettime = real) };
}

/** `count` failures in a row. */
export const failures = (errno: number, count: number): Step[] => new Array(count).fill({ errno });

/** Failures without end; throws after very many, so that a test fails and does not hang. */
export function* forever(errno: number): Generator<Step> {
  for (let i = 0; i < 100_000; i++) yield { errno };
  throw new Error("called 100,000 times: the loop does not end");
}
