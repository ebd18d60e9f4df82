// A client that was admitted and that Bun does not have yet: its connection, and the stand-in that
// Bun accepts in its place.

import { socket as c } from "../../native/socket.ts";
import { UnixError } from "../base/errors.ts";
import { now } from "../base/timers.ts";
import { closeOne } from "../fd/closing.ts";
import { Fd } from "../fd/fd.ts";
import { sendMessage } from "../listener/adopt.ts";
import { addStandIn, nameAtOtherEnd, removeStandIn } from "../peer/stand-ins.ts";
import { duplicate, read } from "../syscalls/fd.ts";
import { Memory } from "../syscalls/memory.ts";
import { AGAIN } from "../syscalls/result.ts";
import { bind, connect, socket } from "../syscalls/socket.ts";
import type { Registration } from "./epoll-entry.ts";

/** How far the client has what the server sent on the stand-in. */
export type Forwarded = "all sent" | "all sent, and ended" | "more than the client takes now";

const text = new TextEncoder();
const buffer = new Memory(65_536);

export class StandIn {
  /** The abstract name of our end, which cannot be guessed: the peer of Bun's end has it. */
  readonly name: string;
  /** The number that `freeNumber` frees: Bun most likely gets it for its end. */
  readonly expectedFd: number;
  readonly #end: Fd;
  #spare: Fd | null;
  #client: Fd | null = null;
  /** Bun's registration of its end; undefined: not found yet. */
  entry: Registration | undefined;
  /** How often Bun's end was looked for. */
  lookups = 0;
  /** When the client was admitted, on the clock of `performance.now()`. */
  since = 0;
  #unsent: Uint8Array[] = [];
  #ended = false;
  #clientGone = false;

  private constructor(name: string, end: Fd, spare: Fd) {
    this.name = name;
    this.#end = end;
    this.#spare = spare;
    this.expectedFd = spare.fd;
  }

  /**
   * Open all descriptors that a client needs beside its own, before it is accepted.
   * @throws UnixError of "accept": EMFILE, …: the client goes on waiting in the backlog
   */
  static prepare(): StandIn {
    const end = Fd.of(need(socket(c.SOCK_STREAM)), "serveOn", "ours");
    try {
      const name = `bunix-${crypto.randomUUID()}`;
      need(bind(end.fd, { kind: "abstract", name: text.encode(name) }));
      return new StandIn(name, end, Fd.of(need(duplicate(end.fd)), "serveOn", "ours"));
    } catch (error) {
      end.close();
      throw error;
    }
  }

  /** A client was admitted: connect in its place. 0, or a negative errno. */
  connect(client: number, path: string): number {
    this.#client = Fd.of(client, "serveOn", "socket");
    this.since = now();
    addStandIn(this.name, client);
    return connect(this.#end.fd, { kind: "path", path });
  }

  get client(): Fd {
    return this.#client!;
  }

  get done(): boolean {
    return this.#end.closed;
  }

  /** Free the descriptor number that was kept for Bun's end. */
  freeNumber(): void {
    this.#spare?.close();
    this.#spare = null;
  }

  /** Whether that number is Bun's end. */
  isAt(fd: number): boolean {
    return nameAtOtherEnd(fd) === this.name;
  }

  /** Send the client what the server has sent so far on the stand-in. */
  forward(): Forwarded {
    for (;;) {
      if (!this.#send()) return "more than the client takes now";
      if (this.#ended) return "all sent, and ended";
      const bytes = this.#read();
      if (bytes === undefined) return "all sent";
      if (bytes === null) this.#ended = true;
      else if (!this.#clientGone) this.#unsent.push(bytes);
    }
  }

  /** null: the end: the server has closed its end, or half-closed it. */
  #read(): Uint8Array | null | undefined {
    const got = read(this.#end.fd, buffer.address, buffer.bytes.length);
    if (got === AGAIN) return undefined;
    return got > 0 ? buffer.bytes.slice(0, got) : null;
  }

  /** Whether the client has all of it, or has closed its connection. */
  #send(): boolean {
    for (let part = this.#unsent[0]; part !== undefined; part = this.#unsent[0]) {
      try {
        const sent = sendMessage(this.client, part);
        if (sent === null) return false;
        if (sent === part.length) this.#unsent.shift();
        else this.#unsent[0] = part.subarray(sent);
      } catch {
        this.#clientGone = true;
        this.#unsent = [];
      }
    }
    return true;
  }

  /** Bun has the connection: ours is a second descriptor of it. */
  replaced(): void {
    if (this.#client !== null) closeOne(this.#client.release(), "ours"); // Bun's stays open
    this.close();
  }

  /** Close everything of ours. */
  close(): void {
    removeStandIn(this.name);
    this.freeNumber();
    this.#client?.close();
    this.#end.close();
  }
}

function need(result: number): number {
  if (result < 0) throw new UnixError("accept", result);
  return result;
}
