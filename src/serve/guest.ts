// One client on its way to a server of Bun: its connection, and the one that stands in for it.

import { socket as c } from "../../native/socket.ts";
import { UnixError } from "../base/errors.ts";
import { closeOne } from "../fd/closing.ts";
import { Fd } from "../fd/fd.ts";
import { sendMessage } from "../listener/adopt.ts";
import { nameAtOtherEnd, standIn, standInNoLonger } from "../peer/stand-ins.ts";
import { duplicate, read } from "../syscalls/fd.ts";
import { Memory } from "../syscalls/memory.ts";
import { AGAIN } from "../syscalls/result.ts";
import { bind, connect, socket } from "../syscalls/socket.ts";
import type { Registration } from "./epoll-entry.ts";

/** What a server has said on the stand-in before the client took its place. */
export type Said = "all sent" | "all sent, and ended" | "more than the client takes now";

const text = new TextEncoder();
const heard = new Memory(65_536);

export class Guest {
  /** Of our end of the stand-in: nobody can guess it, so what has it as its peer is ours. */
  readonly name: string;
  /** The number that is free once `makeRoom` was called: Bun will most likely use it. */
  readonly room: number;
  readonly #end: Fd;
  #spare: Fd | null;
  #client: Fd | null = null;
  /** Where Bun has the stand-in; undefined: not known yet. */
  seat: Registration | undefined;
  /** How often it was looked for. */
  turns = 0;
  /** When the client was admitted, on the clock of `performance.now()`. */
  since = 0;
  #early: Uint8Array[] = [];
  #ended = false;
  #deaf = false;

  private constructor(name: string, end: Fd, spare: Fd) {
    this.name = name;
    this.#end = end;
    this.#spare = spare;
    this.room = spare.fd;
  }

  /**
   * All the descriptors that a client takes beside its own, before it is accepted.
   * @throws UnixError of "accept": EMFILE, …: it goes on waiting
   */
  static prepare(): Guest {
    const end = Fd.of(must(socket(c.SOCK_STREAM)), "serveOn", "ours");
    try {
      const name = `bunix-${crypto.randomUUID()}`;
      must(bind(end.fd, { kind: "abstract", name: text.encode(name) }));
      return new Guest(name, end, Fd.of(must(duplicate(end.fd)), "serveOn", "ours"));
    } catch (error) {
      end.close();
      throw error;
    }
  }

  /** A client was admitted: connect in its place. The result is 0, or a negative errno. */
  come(client: number, way: string): number {
    this.#client = Fd.of(client, "serveOn", "socket");
    this.since = performance.now();
    standIn(this.name, client);
    return connect(this.#end.fd, { kind: "path", path: way });
  }

  get client(): Fd {
    return this.#client!;
  }

  get done(): boolean {
    return this.#end.closed;
  }

  /** Let Bun have the descriptor that was kept for it. */
  makeRoom(): void {
    this.#spare?.close();
    this.#spare = null;
  }

  isAt(fd: number): boolean {
    return nameAtOtherEnd(fd) === this.name;
  }

  /** Send the client what the server has said so far: a greeting, perhaps a farewell. */
  forward(): Said {
    for (;;) {
      if (!this.#send()) return "more than the client takes now";
      if (this.#ended) return "all sent, and ended";
      const heard = this.#hear();
      if (heard === undefined) return "all sent";
      if (heard === null) this.#ended = true;
      else if (!this.#deaf) this.#early.push(heard);
    }
  }

  /** null: the end; the server has closed it, or will send no more. */
  #hear(): Uint8Array | null | undefined {
    const got = read(this.#end.fd, heard.address, heard.bytes.length);
    if (got === AGAIN) return undefined;
    return got > 0 ? heard.bytes.slice(0, got) : null;
  }

  /** Whether the client has all of it; one that has gone needs nothing more. */
  #send(): boolean {
    for (let part = this.#early[0]; part !== undefined; part = this.#early[0]) {
      try {
        const sent = sendMessage(this.client, part);
        if (sent === null) return false;
        if (sent === part.length) this.#early.shift();
        else this.#early[0] = part.subarray(sent);
      } catch {
        this.#deaf = true;
        this.#early = [];
      }
    }
    return true;
  }

  /** The server has the connection: what is here is one more descriptor of it. */
  seated(): void {
    if (this.#client !== null) closeOne(this.#client.release(), "ours"); // not the last of it
    this.close();
  }

  /** Close what this process still has of it. */
  close(): void {
    standInNoLonger(this.name);
    this.makeRoom();
    this.#client?.close();
    this.#end.close();
  }
}

function must(result: number): number {
  if (result < 0) throw new UnixError("accept", result);
  return result;
}
