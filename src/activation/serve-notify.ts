// The manager's side of sd_notify(3): children report their state, and the sender is checked.

import { type AddressInput, formatAddress, parseAddress } from "../address/address.ts";
import { integer } from "../base/checks.ts";
import { closedError } from "../base/errors.ts";
import type { DatagramSocket } from "../socket/datagram.ts";
import type { Message } from "../socket/message.ts";
import { openDatagram } from "../socket/open-datagram.ts";
import { type Address, fitsSockaddr } from "../structs/sockaddr-un.ts";
import { descendsFrom } from "./descent.ts";
import { NotifiedService, type ServiceOptions } from "./notified-service.ts";

/** Where notifications are received. */
export interface ServeNotifyOptions {
  /**
   * What children are told as NOTIFY_SOCKET: an absolute path, or an abstract name. Default: an
   * abstract name that the kernel chooses. Children in another network namespace need a path;
   * anybody may send to an abstract name, and its messages are dropped, but take room in the queue.
   */
  readonly address?: AddressInput | undefined;
  /** Permissions of the socket's file, e.g. 0o600, if it has one. */
  readonly mode?: number | undefined;
  /**
   * Told of what cannot be received. Default: a warning of the process, once.
   */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** What managers read of a message; longer ones are ignored. */
const MAX_BYTES = 4096;
const MICROSECONDS = 1000;

/**
 * Receives what children tell with sd_notify(3), made by {@link serveNotify}. Only processes that
 * were named with `service` are listened to: the kernel says who sent each message.
 */
export class NotifyServer implements Disposable {
  readonly #socket: DatagramSocket;
  readonly #services = new Set<NotifiedService>();
  readonly #onError: (error: unknown) => void;
  #refused = 0;

  /** @internal */
  constructor(socket: DatagramSocket, onError: (error: unknown) => void) {
    this.#socket = socket;
    this.#onError = onError;
    void this.#run();
  }

  /** What it is bound to. */
  get address(): Address {
    return this.#socket.localAddress;
  }

  /** The socket's descriptor, borrowed; −1 once it is closed. */
  get fd(): number {
    return this.#socket.fd;
  }

  /** True once it is closed. */
  get closed(): boolean {
    return this.#socket.closed;
  }

  /**
   * Messages that were not listened to: of unknown processes, longer than 4,096 bytes, with a NUL
   * in them, or without credentials.
   */
  get refused(): number {
    return this.#refused;
  }

  /**
   * What a child needs in its environment: NOTIFY_SOCKET, and with `watchdogMs` WATCHDOG_USEC.
   * `spawn(command, { env: { ...process.env, ...server.environment({ watchdogMs: 10_000 }) } })`.
   *
   * @throws TypeError, RangeError
   */
  environment(options: { readonly watchdogMs?: number | undefined } = {}): Record<string, string> {
    const { watchdogMs } = options;
    const variables: Record<string, string> = { NOTIFY_SOCKET: formatAddress(this.address) };
    if (watchdogMs !== undefined) {
      const ms = integer("watchdogMs", watchdogMs, { min: 1 });
      variables["WATCHDOG_USEC"] = String(ms * MICROSECONDS);
    }
    return variables;
  }

  /**
   * Listen to a process: call it right after spawn, before anything is awaited, and nothing that it
   * says is missed. Close what you get when the process has ended, or give `exited`: its pid may be
   * another's then.
   *
   * @throws TypeError, RangeError; UnixError ERR_CLOSED
   */
  service(pid: number, options: ServiceOptions = {}): NotifiedService {
    if (this.closed) throw closedError("serveNotify");
    const service = new NotifiedService(integer("pid", pid, { min: 1 }), options, () => {
      this.#services.delete(service);
    });
    this.#services.add(service);
    options.exited?.then(
      () => service.end(),
      () => service.end(),
    );
    return service;
  }

  async #run(): Promise<void> {
    try {
      await this.#socket.consume((message) => {
        using _message = message; // descriptors that no service took, a barrier's among them
        this.#received(message);
      });
    } catch (error) {
      if (!this.closed) this.#onError(error);
    }
  }

  #received(message: Message): void {
    const service = this.#senderOf(message);
    if (service === null) this.#refused += 1;
    else {
      try {
        service.received(message);
      } catch (error) {
        this.#onError(error); // of a callback
      }
    }
  }

  #senderOf(message: Message): NotifiedService | null {
    const pid = message.credentials?.pid ?? 0;
    if (message.truncated || pid <= 0 || message.data.includes(0)) return null;
    for (const service of this.#services) if (service.pid === pid) return service;
    for (const service of this.#services) {
      if (service.access === "all" && descendsFrom(pid, service.pid)) return service;
    }
    return null;
  }

  /** Keep the process alive while it is open. The default. */
  ref(): this {
    this.#socket.ref();
    return this;
  }

  /** Do not keep the process alive. */
  unref(): this {
    this.#socket.unref();
    return this;
  }

  /** Stop listening, to all services, whose `ready` fails with ERR_CLOSED. Never throws. */
  close(): void {
    this.#socket.close();
    for (const service of [...this.#services]) service.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

let warned = false;

function warn(error: unknown): void {
  if (warned) return;
  warned = true;
  const text = error instanceof Error ? error.message : String(error);
  process.emitWarning(`notifications: ${text}`, { type: "NotifyServerWarning" });
}

/**
 * Receive the notifications of children, as a service manager does: that they are ready, their
 * status, signs of life, and descriptors to keep. For programs that speak sd_notify(3), in any
 * language: `notify` and `watchdog` of this library, libsystemd, `systemd-notify`.
 *
 * ```
 * using manager = serveNotify();
 * const child = spawn(["bun", "server.ts"], { env: { ...process.env, ...manager.environment() } });
 * const service = manager.service(child.pid, { exited: child.exited });
 * await service.ready();
 * ```
 *
 * @throws TypeError, RangeError; UnixError as openDatagram
 * @see sd_notify(3)
 */
export function serveNotify(options: ServeNotifyOptions = {}): NotifyServer {
  const { address = { autobind: true }, mode, onError = warn } = options;
  if (typeof onError !== "function") throw new TypeError("onError must be a function");
  checkAddress(address);
  const socket = openDatagram(address, {
    ...{ passCredentials: true, maxMessageBytes: MAX_BYTES },
    ...(mode === undefined ? {} : { mode }),
  });
  return new NotifyServer(socket, onError);
}

/** Children, which are other programs, have it in their environment, and give it to the kernel. */
function checkAddress(input: AddressInput): void {
  const address = parseAddress(input);
  if (address.kind === "unnamed") return;
  const text = formatAddress(address);
  const name = address.kind === "abstract" ? `@${Buffer.from(address.name)}` : address.path;
  if (text !== name || !/^[/@]/.test(text)) {
    throw new TypeError("NOTIFY_SOCKET is an absolute path or an abstract name, in plain text");
  }
  if (!fitsSockaddr(address))
    throw new RangeError("NOTIFY_SOCKET is longer than a socket's address");
}
