// The error when another process has the address.

import { errno } from "../../native/errno.ts";
import { formatAddress } from "../address/address.ts";
import { UnixError } from "../base/errors.ts";
import type { SocketHolder } from "../inspect/holders.ts";
import type { Probe } from "../inspect/probe.ts";
import type { Address } from "../structs/sockaddr-un.ts";

const HIDDEN: PropertyDescriptor = { enumerable: false };

/** EADDRINUSE, with what is known of the process that has the address. */
export class AddressInUseError extends UnixError {
  /** What was found at the address. */
  readonly found: Probe;
  /** The processes that have it open, as far as this process may see. */
  readonly holders: readonly SocketHolder[];

  constructor(found: Probe, address: Address, hint: string) {
    super("bind", -errno.EADDRINUSE, { address: formatAddress(address), hint });
    this.found = found;
    this.holders = found.holders;
    // the message has them, escaped; printing the error would print these as they are
    for (const name of ["found", "holders"]) Object.defineProperty(this, name, HIDDEN);
  }
}
