// The process that has the descriptors: it waits for a successor, and hands them over.

import { errno } from "../../native/errno.ts";
import { textOf } from "../base/callbacks.ts";
import { sleep } from "../base/deadline.ts";
import type { FdLike } from "../fd/fd.ts";
import type { Listener } from "../listener/listener.ts";
import { type Allow, admits } from "../peer/admission.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import { FRAME_ENTRIES, HANDOVER_VERSION, type HandoverEntry } from "../structs/handover-frame.ts";
import { type Arrived, HandoverChannel, handoverError } from "./channel.ts";

/** What a predecessor knows of its process. */
export interface PredecessorOptions {
  readonly allow: Allow;
  readonly readyTimeoutMs: number;
  /** Whether there is something to hand over yet. */
  readonly isReady: () => boolean;
  /** All of it, with the control socket's own entry first. */
  readonly list: () => { readonly entry: HandoverEntry; readonly fd: FdLike }[];
  /** A successor may have all of it from now on; or has not taken it. */
  readonly lend: () => void;
  readonly takeBack: () => void;
  /** The peer has taken over. */
  readonly left: (peer: { readonly pid: number }) => void;
  /** The successor gave up, or died. */
  readonly failed: (attempt: { readonly pid: number; readonly reason: string }) => void;
}

/** Who connects says so within this time. */
const HELLO_TIMEOUT_MS = 5_000;
const PAUSE_AFTER_ERROR_MS = 100;

/** Serves the control socket until a successor owns the descriptors. */
export class Predecessor {
  readonly #listener: Listener<SeqpacketSocket>;
  readonly #options: PredecessorOptions;
  readonly #channels = new Set<HandoverChannel>();
  #stop = new AbortController();
  /** The successor that is taking over at the moment. */
  #candidate: HandoverChannel | null = null;
  #ended = false;

  constructor(listener: Listener<SeqpacketSocket>, options: PredecessorOptions) {
    this.#listener = listener;
    this.#options = options;
    void this.#accept(this.#stop.signal);
  }

  /** A successor has the descriptors, and may take over. */
  get lent(): boolean {
    return this.#candidate !== null;
  }

  /** Serve no more successors. The listener stays open. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stop.abort();
    for (const channel of this.#channels) channel.close();
  }

  async #accept(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const channel = HandoverChannel.to(await this.#listener.accept({ signal }));
        if (this.#ended) channel.close();
        else void this.#serve(channel);
      } catch {
        if (signal.aborted || this.#listener.closed) return;
        await sleep(PAUSE_AFTER_ERROR_MS, signal).catch(() => {}); // one that went at once
      }
    }
  }

  async #serve(channel: HandoverChannel): Promise<void> {
    this.#channels.add(channel);
    try {
      if (!this.#allowed(channel)) {
        const who = channel.peer?.uid ?? "unknown";
        const reason = `uid ${who} may not take over from uid ${process.geteuid?.()}`;
        return channel.say({ kind: "refused", reason });
      }
      const hello = await channel.receive(AbortSignal.timeout(HELLO_TIMEOUT_MS));
      if (hello?.frame.kind !== "hello") return this.#misunderstood(channel);
      if (this.#candidate !== null || !this.#options.isReady()) {
        return channel.say({ kind: "busy", pid: this.#candidate?.pid ?? process.pid });
      }
      await this.#handOver(channel);
    } catch {
      this.#misunderstood(channel);
    } finally {
      this.#channels.delete(channel);
      channel.close();
    }
  }

  /** An `allow` that throws admits no process. */
  #allowed({ peer, pid }: HandoverChannel): boolean {
    try {
      return peer !== null && admits(this.#options.allow, peer);
    } catch (error) {
      this.#options.failed({ pid, reason: `allow: ${textOf(error)}` });
      return false;
    }
  }

  #misunderstood(channel: HandoverChannel): void {
    const reason = `this process speaks version ${HANDOVER_VERSION} of the protocol`;
    channel.say({ kind: "refused", reason });
  }

  async #handOver(channel: HandoverChannel): Promise<void> {
    const { left, failed, lend, takeBack } = this.#options;
    this.#candidate = channel;
    lend();
    try {
      await this.#offer(channel);
    } catch (error) {
      const reason = error instanceof Error ? error.message : textOf(error);
      channel.say({ kind: "failed", reason });
      if (this.#ended) return;
      this.#candidate = null;
      takeBack();
      this.#goOn();
      return failed({ pid: channel.pid, reason });
    }
    this.end();
    left({ pid: channel.pid });
  }

  /** Returns when the peer has taken over. */
  async #offer(channel: HandoverChannel): Promise<void> {
    const late = AbortSignal.timeout(this.#options.readyTimeoutMs);
    const tooLate = (): never => {
      const hint = `not ready after ${this.#options.readyTimeoutMs} ms`;
      throw handoverError(errno.ETIMEDOUT, hint);
    };
    try {
      await this.#sendTable(channel, late);
      expect(await channel.receive(late), "ready");
    } catch (error) {
      if (error === late.reason) tooLate();
      throw error;
    }
    // accept no more: later successors ask the process that owns the descriptors in the end
    this.#stop.abort();
    await channel.send({ kind: "yours" }, { signal: late });
    expect(await channel.receive(), "taken"); // without a limit: it may have taken over already
  }

  async #sendTable(channel: HandoverChannel, signal: AbortSignal): Promise<void> {
    const all = this.#options.list();
    for (let from = 0; from < all.length; from += FRAME_ENTRIES) {
      const part = all.slice(from, from + FRAME_ENTRIES);
      const entries = part.map(({ entry }) => entry);
      const last = from + FRAME_ENTRIES >= all.length;
      await channel.send(
        { kind: "table", last, entries },
        { fds: part.map(({ fd }) => fd), signal },
      );
    }
  }

  #goOn(): void {
    if (!this.#stop.signal.aborted) return;
    this.#stop = new AbortController();
    void this.#accept(this.#stop.signal);
  }
}

/** @throws UnixError if something else came, or nothing more will */
function expect(arrived: Arrived | null, kind: "ready" | "taken"): void {
  if (arrived === null) throw handoverError(errno.ECONNRESET, "it ended before it was ready");
  const { frame } = arrived;
  if (frame.kind === "failed") throw handoverError(errno.ECANCELED, `it gave up: ${frame.reason}`);
  if (frame.kind === kind) return;
  throw handoverError(errno.EPROTO, `"${frame.kind}" came instead of "${kind}"`);
}
