// How a process finds its place in the row: the first one, or the next.

import { errno } from "../../native/errno.ts";
import { socket as c, option } from "../../native/socket.ts";
import type { AddressInput } from "../address/address.ts";
import { UnixError } from "../base/errors.ts";
import type { Binding, FileOptions } from "../bind/binding.ts";
import { AddressInUseError } from "../bind/in-use.ts";
import type { Fd } from "../fd/fd.ts";
import { adoptListener, type Listener, listen } from "../listener/listener.ts";
import { type Allow, everybody } from "../peer/admission.ts";
import { toSettings } from "../socket/options.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import { familyOf, getOption } from "../syscalls/socket.ts";
import { channelOptions, handoverError } from "./channel.ts";
import { ask, type HandoverOffer, release } from "./successor.ts";

/** The socket that successors connect to. */
export type ControlListener = Listener<SeqpacketSocket>;

export interface OpenOptions extends FileOptions {
  readonly allow: Allow;
}

const CONTROL_MODE = 0o600;
/** A client is checked, and told why it is refused (src/handover/predecessor.ts). */
const control = { ...channelOptions, acceptFds: "refuse", allow: everybody } as const;

const noListener = new Set([errno.ENOENT, errno.ECONNREFUSED]);

/** The control socket, of the first; what the predecessor has sent; null: look again. */
export async function firstOrNext(
  address: AddressInput,
  { allow, mode = CONTROL_MODE, owner }: OpenOptions,
  signal: AbortSignal,
): Promise<ControlListener | HandoverOffer | null> {
  try {
    return checked(await ask(address, { allow, signal }));
  } catch (error) {
    const free = error instanceof UnixError && error.syscall === "connect";
    if (!free || !noListener.has(-error.errno)) throw error;
  }
  try {
    return listen(address, { ...control, mode, ...(owner === undefined ? {} : { owner }) });
  } catch (error) {
    if (error instanceof AddressInUseError && error.found.state === "listening") return null;
    throw error;
  }
}

/** The control entry's descriptor must be usable as the control socket. */
function checked(offer: HandoverOffer | null): HandoverOffer | null {
  if (offer === null) return null;
  const { fd } = offer.control.fd;
  const isControl =
    familyOf(fd) === c.AF_UNIX &&
    getOption(fd, option.SO_TYPE) === c.SOCK_SEQPACKET &&
    getOption(fd, option.SO_ACCEPTCONN) === 1;
  if (isControl) return offer;
  release(offer.channel, [offer.control, ...offer.others]);
  throw handoverError(errno.EPROTO, "what came as the control socket is none");
}

/** The control socket around a descriptor that came. */
export function controlOf(handle: Fd, binding: Binding | null): ControlListener {
  const settings = toSettings(control);
  return adoptListener(handle, {
    type: "seqpacket",
    settings,
    admission: control,
    binding,
  }) as ControlListener;
}

/** `body`, with a signal that also ends when the time is up: then with ETIMEDOUT. */
export async function within<T>(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  body: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = AbortSignal.timeout(timeoutMs);
  try {
    return await body(signal === undefined ? late : AbortSignal.any([signal, late]));
  } catch (error) {
    if (!late.aborted || error !== late.reason) throw error;
    throw handoverError(errno.ETIMEDOUT, `the predecessor has not answered in ${timeoutMs} ms`);
  }
}
