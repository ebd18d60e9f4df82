// Zero downtime: one process hands its listeners, and other descriptors, to the next one.

import type { AddressInput } from "../address/address.ts";
import { textOf } from "../base/callbacks.ts";
import { integer } from "../base/checks.ts";
import { type Abortable, sleep, type TimeLimited } from "../base/deadline.ts";
import { closedError } from "../base/errors.ts";
import { Referenced } from "../base/referenced.ts";
import { queueMicrotask } from "../base/timers.ts";
import type { Binding, FileOptions } from "../bind/binding.ts";
import type { Fd, FdLike } from "../fd/fd.ts";
import type { Listener } from "../listener/listener.ts";
import { type Allow, checkAllow, sameUser } from "../peer/admission.ts";
import type { Credentials } from "../structs/credentials.ts";
import { CONTROL } from "../structs/handover-frame.ts";
import type { HandoverChannel } from "./channel.ts";
import { type ControlListener, controlOf, firstOrNext, within } from "./open.ts";
import { Predecessor } from "./predecessor.ts";
import { type HandoverOffer, takeOver } from "./successor.ts";
import { fileOf, HandoverTable, type NamedFd, renew, takeFile } from "./table.ts";

/** How to hand over, and to whom. The file options are those of the control socket's file. */
export interface HandoverOptions extends Omit<FileOptions, "unlinkOnClose">, TimeLimited {
  /**
   * Descriptors that this process was started with: `inheritedFds()`. They are taken; one whose
   * name the predecessor has too is closed, for the predecessor's is the same or newer.
   */
  readonly inherited?: Iterable<NamedFd> | undefined;
  /**
   * Which processes may take over from this one, and it from which: both sides have to agree. Only
   * `true` is yes. A promise, or what it throws, is a no: a successor's `open` fails with it, a
   * predecessor's `onFailed` is called. Default: the same user, and no other, not even root.
   */
  readonly allow?: ((peer: Credentials) => boolean) | undefined;
  /** How long a successor may take until it is ready, in milliseconds. Default 60,000. */
  readonly readyTimeoutMs?: number | undefined;
  /** How long to wait for a predecessor's answers, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Told of a successor that died, gave up, or took too long; this process goes on. */
  readonly onFailed?:
    | ((attempt: { readonly pid: number; readonly reason: string }) => void)
    | undefined;
}

interface Settings {
  readonly options: HandoverOptions;
  readonly allow: Allow;
  readonly readyTimeoutMs: number;
  readonly timeoutMs: number;
}

const READY_TIMEOUT_MS = 60_000;
const TIMEOUT_MS = 10_000;
const PAUSE_MS = 10;

/**
 * This process's part in a row of processes that follow each other at one control address. Who
 * comes first makes its descriptors; each later one gets them, and takes over when it is ready:
 *
 * ```ts
 * const handover = await Handover.open("/run/app/control");
 * const web = handover.descriptor("web", () => listenTcp({ port: 8080 }));
 * const start = (where: PlaceholderAddress) => Bun.serve({ ...where, fetch: drainable(fetch) });
 * const server = serveOn(web, start, { paused: true });
 * await handover.ready();
 * resumeServer(server);
 * await handover.replaced; // until a successor is ready
 * await drain(server);
 * handover.close();
 * ```
 *
 * A successor that dies, fails or takes too long before it is ready changes nothing. The protocol
 * is in docs/handover.md.
 *
 * @see unix(7), SCM_RIGHTS
 */
export class Handover extends Referenced {
  readonly #settings: Settings;
  readonly #table = new HandoverTable();
  readonly #replaced = Promise.withResolvers<{ readonly pid: number }>();
  #listener: ControlListener;
  /** Removes the control socket's file; null if that is none, or not ours. */
  #binding: Binding | null;
  #holder: Predecessor | null = null;
  #offer: HandoverOffer | null;
  /** To the predecessor, until it knows that this process has taken over. */
  #telling: HandoverChannel | null = null;
  #state: "starting" | "ready" | "replaced" | "closed" = "starting";
  #referenced = true;
  #becoming: Promise<void> | null = null;
  /** The process that the descriptors come from; null if this is the first. */
  readonly predecessor: { readonly pid: number } | null;

  private constructor(settings: Settings, from: ControlListener | HandoverOffer) {
    super();
    this.#settings = settings;
    this.#offer = "channel" in from ? from : null;
    const { handle, binding } =
      "channel" in from ? { handle: from.control.fd, binding: null } : from.surrender();
    this.#binding = binding;
    this.#listener = controlOf(handle, binding);
    this.predecessor = this.#offer === null ? null : { pid: this.#offer.channel.pid };
    for (const { fd, entry } of this.#offer?.others ?? []) {
      this.#table.put(entry.name, { fd, binding: null, file: entry.file, claimed: false });
    }
    this.#table.inherit(settings.options.inherited ?? []);
    if (this.#offer === null) this.#hold();
  }

  /**
   * Take part at `controlAddress`: get what the process there has, or be the first.
   *
   * @throws UnixError EBUSY (another process is starting or taking over at this moment), EACCES
   *   (not allowed), ETIMEDOUT, EPROTO; what `listen` and `connect` throw; the signal's reason
   * @throws UnsupportedError: not on macOS
   */
  static async open(
    controlAddress: AddressInput,
    options: HandoverOptions & Abortable = {},
  ): Promise<Handover> {
    const { readyTimeoutMs = READY_TIMEOUT_MS, timeoutMs = TIMEOUT_MS, onFailed } = options;
    if (onFailed !== undefined && typeof onFailed !== "function") {
      throw new TypeError("onFailed must be a function");
    }
    const settings: Settings = {
      options,
      allow: checkAllow(options.allow) ?? sameUser,
      readyTimeoutMs: integer("readyTimeoutMs", readyTimeoutMs, { min: 1 }),
      timeoutMs: integer("timeoutMs", timeoutMs, { min: 1 }),
    };
    return await within(timeoutMs, options.signal, async (signal) => {
      for (;;) {
        signal.throwIfAborted();
        const { allow } = settings;
        const found = await firstOrNext(controlAddress, { ...options, allow }, signal);
        if (found !== null) return new Handover(settings, found);
        await sleep(PAUSE_MS, signal);
      }
    });
  }

  /** True after `close`: no successor can ask any more. */
  get closed(): boolean {
    return this.#state === "closed";
  }

  /**
   * The descriptor of that name: the predecessor's, an inherited one, or else what `make` makes. Of
   * a `Listener` its file goes along, and is removed by the last process; a Listener and an Fd are
   * taken, of anything else a duplicate is kept. The result is borrowed: it stays open until
   * `close`. (Give `adoptSocket` a duplicate.)
   *
   * @throws TypeError for a name that is not 1 to 255 printable ASCII characters, or has ":" in it;
   *   what `make` throws
   */
  descriptor(name: string, make: () => FdLike | Listener): Fd {
    if (this.#state === "closed") throw closedError("descriptor");
    return this.#table.claim(name, make);
  }

  /** All named descriptors, in the form of `inheritedFds()`; borrowed. For systemd's FDSTORE. */
  entries(): NamedFd[] {
    return this.#table.entries();
  }

  /**
   * This process is able to serve: take over. When this returns the predecessor accepts no other
   * successor and is told to leave; what it had and was not asked for here is closed. Accept
   * connections only now: before, this process may still have to go without a trace.
   *
   * Asked again it answers the same.
   *
   * @throws UnixError if the predecessor goes on, for it found this too late, or has not answered;
   *   this process should close and leave
   */
  ready(options: Abortable = {}): Promise<void> {
    if (this.closed) return Promise.reject(closedError("ready"));
    this.#becoming ??= this.#become(options.signal);
    return this.#becoming;
  }

  /** Once: a second message would confuse the predecessor. */
  async #become(given: AbortSignal | undefined): Promise<void> {
    const offer = this.#offer;
    if (offer === null) {
      this.#state = "ready";
      return;
    }
    const { channel } = offer;
    try {
      await within(this.#settings.timeoutMs, given, (signal) => takeOver(channel, signal));
      if (this.closed) throw closedError("ready");
    } catch (error) {
      channel.say({ kind: "failed", reason: textOf(error) });
      channel.close(); // its message would come too late
      throw error;
    }
    this.#takeOver(offer);
    await channel.send({ kind: "taken" }).catch(() => {}); // closed meanwhile
    channel.close();
  }

  /** All at once, so that no successor finds it half done. */
  #takeOver(offer: HandoverOffer): void {
    const { file } = offer.control.entry;
    this.#binding = file === null ? null : takeFile(file);
    this.#listener = controlOf(this.#listener.surrender().handle, this.#binding);
    renew(this.#listener.fd);
    this.#table.takeOwnership();
    this.#telling = offer.channel;
    this.#offer = null;
    this.#state = "ready";
    this.#hold();
  }

  #hold(): void {
    const { allow, readyTimeoutMs, options } = this.#settings;
    if (!this.#referenced) this.#listener.unref();
    this.#holder = new Predecessor(this.#listener, {
      allow,
      readyTimeoutMs,
      isReady: () => this.#state === "ready",
      list: () => [this.#control(), ...this.#table.list()],
      lend: () => this.#lend(true),
      takeBack: () => this.#lend(false),
      left: (peer) => this.#leave(peer),
      failed: (attempt) => queueMicrotask(() => options.onFailed?.(attempt)),
    });
  }

  #control() {
    return { entry: { name: CONTROL, file: fileOf(this.#binding) }, fd: this.#listener };
  }

  #lend(on: boolean): void {
    if (on) this.#binding?.suspendCleanup();
    else this.#binding?.resumeCleanup();
    this.#table.lend(on);
  }

  #leave(peer: { readonly pid: number }): void {
    this.#table.leave();
    this.#listener.release().close();
    this.#state = "replaced";
    this.#replaced.resolve(peer);
  }

  /**
   * Resolves when a successor has taken over: stop accepting, serve what was accepted, and leave.
   * Stays as it is if there never is one.
   */
  get replaced(): Promise<{ readonly pid: number }> {
    return this.#replaced.promise;
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#referenced = on;
    if (on) this.#listener.ref();
    else this.#listener.unref();
  }

  /**
   * Close all descriptors. If this process was the last the sockets' files go too; if it has not
   * taken over the predecessor is told why, and goes on. Never throws.
   */
  close(reason = "closed"): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#offer?.channel.say({ kind: "failed", reason });
    this.#offer?.channel.close();
    this.#telling?.close();
    const lent = this.#holder?.lent === true; // a successor has them, and may stay
    this.#holder?.end();
    if (lent) this.#binding?.release();
    if (lent) this.#table.leave();
    this.#listener.close();
    this.#table.close();
  }
}
