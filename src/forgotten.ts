// Closing what users forget to close, without making those pay who do not forget.

import { system } from "../native/platform.ts";
import { closedError } from "./errors.ts";
import { stopWaiting } from "./loop/poller.ts";
import { closeAll } from "./syscalls/fd.ts";
import { EndSlots } from "./syscalls/thread.ts";

/** Somebody who owns descriptors. */
export interface Owner {
  /** The descriptor or descriptors that it would close; negative or none once it has. */
  readonly owned: Owned;
  /** Where they come from, for the warning. */
  readonly place: string;
  /** Set once the registry knows it. */
  registered: boolean;
}

type Owned = number | readonly number[];

/** Of one descriptor: its number and its place's, in one number, for there are many of these. */
type Held = number | { readonly fds: readonly number[]; readonly place: string };

const places: string[] = [];
/** Users may name places of their own, any number of them. */
const MOST_PLACES = 64;
const MOST_FDS = 2 ** 31;

function hold(owned: Owned, place: string): Held {
  if (typeof owned !== "number") return { fds: owned, place };
  let at = places.indexOf(place);
  if (at < 0 && places.length === MOST_PLACES) return { fds: [owned], place };
  if (at < 0) at = places.push(place) - 1;
  return at * MOST_FDS + owned;
}

function unpack(held: Held): Exclude<Held, number> {
  if (typeof held !== "number") return held;
  return { fds: [held % MOST_FDS], place: places[Math.floor(held / MOST_FDS)] ?? "" };
}

const list = (owned: Owned): readonly number[] =>
  typeof owned !== "number" ? owned : owned < 0 ? [] : [owned];

const warned = new Set<string>();

/** A Worker can be terminated without a word to its JavaScript; the main thread cannot. */
const ending = Bun.isMainThread || system !== "linux" ? null : new EndSlots();

const registry = new FinalizationRegistry<Held>((held) => {
  const { fds, place } = unpack(held);
  for (const fd of fds) {
    ending?.remove(fd);
    stopWaiting(fd, () => closedError("close")); // the next file with its number is another
  }
  closeAll(fds);
  if (warned.has(place)) return;
  warned.add(place);
  const which = fds.length === 1 ? `descriptor ${fds[0]}` : `${fds.length} descriptors`;
  process.emitWarning(
    `${which} from ${place} closed because nothing refers to it any more. ` +
      "Close it with close() or `using`: garbage collection may come too late.",
    { type: "ForgottenDescriptorWarning", code: "BUNIX_FORGOTTEN_FD" },
  );
});

/**
 * Most descriptors are closed soon after they came, and registering costs more than closing. So an
 * owner is first held here for a moment; only who is still open then is registered.
 */
const fresh: Owner[] = [];
const MOST_FRESH = 512;
const MOMENT_MS = 50;
let scheduled = false;

/** Watch over `owner` from now on. */
export function watchOver(owner: Owner): void {
  if (ending !== null) for (const fd of list(owner.owned)) ending.add(fd);
  fresh.push(owner);
  if (fresh.length >= MOST_FRESH) registerFresh();
  else if (!scheduled) {
    scheduled = true;
    setTimeout(() => {
      scheduled = false;
      registerFresh();
    }, MOMENT_MS).unref();
  }
}

function registerFresh(): void {
  for (const owner of fresh) {
    const { owned, place } = owner;
    if (typeof owned === "number" ? owned < 0 : owned.length === 0) continue;
    registry.register(owner, hold(owned, place), owner);
    owner.registered = true;
  }
  fresh.length = 0;
}

/** `owner` no longer owns `fds`: it is closing them, or gives them away. */
export function noLonger(owner: Owner, owned: Owned): void {
  if (ending !== null) for (const fd of list(owned)) ending.remove(fd);
  handedOver(owner);
}

/** What `owner` owned is owned by others, who are watched over already. */
export function handedOver(owner: Owner): void {
  if (owner.registered) registry.unregister(owner);
}
