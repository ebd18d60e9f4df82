// What a soak is made of: channels that go on and on, and count what went through them.

/** What one round moved, or all of them. */
export interface Moved {
  messages: number;
  fds: number;
}

/** One way to communicate, with its sockets open all the time. */
export interface Channel extends Disposable {
  readonly name: string;
  /** Move something, check that it came whole, close what it opened. */
  round(): Promise<Moved>;
}

export const moved = (messages: number, fds = 0): Moved => ({ messages, fds });

/** Fails with what was expected of whom. */
export function check(what: string, found: unknown, wanted: unknown): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)}, not ${String(wanted)}`);
}

/** A channel of `round`, which closes `all` at its end. */
export function channel(
  name: string,
  all: readonly { close(): void }[],
  round: () => Promise<Moved> | Moved,
): Channel {
  return {
    name,
    round: async () => round(),
    [Symbol.dispose]() {
      for (const one of all) one.close();
    },
  };
}
