// Opening and binding datagram sockets.

import { socket as c } from "../../native/socket.ts";
import { type AddressInput, parseAddress } from "../address/address.ts";
import { check } from "../base/errors.ts";
import { type Binding, checkFileOptions } from "../bind/binding.ts";
import { type BindOptions, bindExclusive, checkBindOptions } from "../bind/exclusive.ts";
import { Fd } from "../fd/fd.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { socket } from "../syscalls/socket.ts";
import { DatagramSocket } from "./datagram.ts";
import { applySettings, type SocketOptions, toSettings } from "./options.ts";

/** How to open a datagram socket. */
export interface DatagramOptions extends SocketOptions, BindOptions {
  /** Send to and receive from this address only. */
  readonly connect?: AddressInput | undefined;
}

const bindTo = (fd: number, address: Address, options: BindOptions): Binding =>
  bindExclusive({ fd, type: "datagram", address, options, ready: () => {} });

/**
 * A datagram socket, bound to `address` if there is one: without an address no peer can answer it;
 * `{ autobind: true }` lets the kernel choose a free abstract name.
 *
 * @throws UnixError EADDRINUSE, EACCES, ENOENT; for `connect` also ECONNREFUSED, EPERM
 * @see unix(7)
 */
export function openDatagram(
  address?: AddressInput,
  options: DatagramOptions = {},
): DatagramSocket {
  const name = address === undefined ? null : parseAddress(address);
  if (options.connect !== undefined) parseAddress(options.connect);
  const settings = toSettings(options);
  checkFileOptions(options);
  checkBindOptions(options);
  const handle = Fd.of(check(socket(c.SOCK_DGRAM), "socket"), "openDatagram", "socket");
  let binding: Binding | null = null;
  try {
    applySettings(handle.fd, settings);
    if (name !== null) binding = bindTo(handle.fd, name, options);
    const opened = new DatagramSocket(handle, settings, binding);
    if (options.connect !== undefined) opened.connect(options.connect);
    return opened;
  } catch (error) {
    binding?.remove();
    handle.close();
    throw error;
  }
}

/**
 * Bind a datagram socket that has no address yet, under the rules of `openDatagram`: peers can
 * answer it from then on. `{ autobind: true }` lets the kernel choose a name.
 *
 * @throws UnixError EINVAL: it is bound already; EADDRINUSE, EACCES, ENOENT; ERR_CLOSED
 * @see bind(2)
 */
export function bindDatagram(
  socket: DatagramSocket,
  address: AddressInput,
  options: BindOptions = {},
): void {
  const name = parseAddress(address);
  checkFileOptions(options);
  checkBindOptions(options);
  socket.bindBy(name, (fd) => bindTo(fd, name, options));
}
