// Closing descriptors that users forget to close, at little cost for those who close them.

import { setTimeout } from "../base/timers.ts";
import { closeMany } from "./closing.ts";
import { ending } from "./thread-end.ts";

/** An object that owns descriptors. */
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
type Packed = number | { readonly fds: readonly number[]; readonly place: string };

const places: string[] = [];
/** Users may name places of their own, any number of them. */
const MAX_PLACES = 64;
const MAX_FDS = 2 ** 31;

function pack(owned: Owned, place: string): Packed {
  if (typeof owned !== "number") return { fds: owned, place };
  let at = places.indexOf(place);
  if (at < 0 && places.length === MAX_PLACES) return { fds: [owned], place };
  if (at < 0) at = places.push(place) - 1;
  return at * MAX_FDS + owned;
}

function unpack(held: Packed): Exclude<Packed, number> {
  if (typeof held !== "number") return held;
  return { fds: [held % MAX_FDS], place: places[Math.floor(held / MAX_FDS)] ?? "" };
}

const list = (owned: Owned): readonly number[] =>
  typeof owned !== "number" ? owned : owned < 0 ? [] : [owned];

const warned = new Set<string>();

const registry = new FinalizationRegistry<Packed>((held) => {
  const { fds, place } = unpack(held);
  for (const fd of fds) ending?.remove(fd);
  closeMany(fds);
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
 * owner is first held here for a moment; only one that is still open then is registered.
 */
const pending: Owner[] = [];
const MAX_PENDING = 512;
const MOMENT_MS = 50;
let scheduled = false;

/** Track `owner` from now on. */
export function track(owner: Owner): void {
  if (ending !== null) for (const fd of list(owner.owned)) ending.add(fd);
  pending.push(owner);
  if (pending.length >= MAX_PENDING) registerPending();
  else if (!scheduled) {
    scheduled = true;
    setTimeout(() => {
      scheduled = false;
      registerPending();
    }, MOMENT_MS).unref();
  }
}

function registerPending(): void {
  for (const owner of pending) {
    const { owned, place } = owner;
    if (typeof owned === "number" ? owned < 0 : owned.length === 0) continue;
    registry.register(owner, pack(owned, place), owner);
    owner.registered = true;
  }
  pending.length = 0;
}

/** `owner` no longer owns `fds`: it is closing or transferring them. */
export function untrack(owner: Owner, owned: Owned): void {
  if (ending !== null) for (const fd of list(owned)) ending.remove(fd);
  ownershipMoved(owner);
}

/** The descriptors moved to other owners, which are tracked themselves. */
export function ownershipMoved(owner: Owner): void {
  if (owner.registered) registry.unregister(owner);
  else if (pending[pending.length - 1] === owner) pending.pop(); // most go as they came
}
