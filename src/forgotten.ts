// Closing what users forget to close, without making those pay who do not forget.

import { system } from "../native/platform.ts";
import { closeAll } from "./syscalls/fd.ts";
import { EndSlots } from "./syscalls/thread.ts";

/** Somebody who owns descriptors. */
export interface Owner {
  /** The descriptors that it would close, none once it has. */
  readonly owned: readonly number[];
  /** Where they come from, for the warning. */
  readonly place: string;
  /** Set once the registry knows it. */
  registered: boolean;
}

interface Held {
  readonly fds: readonly number[];
  readonly place: string;
}

const warned = new Set<string>();

/** A Worker can be terminated without a word to its JavaScript; the main thread cannot. */
const ending = Bun.isMainThread || system !== "linux" ? null : new EndSlots();

const registry = new FinalizationRegistry<Held>(({ fds, place }) => {
  for (const fd of fds) ending?.remove(fd);
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
  if (ending !== null) for (const fd of owner.owned) ending.add(fd);
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
    const fds = owner.owned;
    if (fds.length === 0) continue;
    registry.register(owner, { fds, place: owner.place }, owner);
    owner.registered = true;
  }
  fresh.length = 0;
}

/** `owner` no longer owns `fds`: it is closing them, or gives them away. */
export function noLonger(owner: Owner, fds: readonly number[]): void {
  if (ending !== null) for (const fd of fds) ending.remove(fd);
  handedOver(owner);
}

/** What `owner` owned is owned by others, who are watched over already. */
export function handedOver(owner: Owner): void {
  if (owner.registered) registry.unregister(owner);
}
