// What bunix listen and bunix send share: the kind of socket, and messages as text.

import type { AddressInput } from "../address/address.ts";
import { formatAddress } from "../address/address.ts";
import { UnixError } from "../base/errors.ts";
import { printable, toJson } from "../base/printable.ts";
import type { SocketType } from "../base/socket-type.ts";
import type { FdDescription } from "../fd/description.ts";
import type { Fd, FdLike } from "../fd/fd.ts";
import { type VerifiedPeer, verifyPeer } from "../peer/verify.ts";
import type { Message } from "../socket/message.ts";
import type { Credentials } from "../structs/credentials.ts";
import { escaped, type Parsed, UsageError } from "./options.ts";
import type { Output } from "./terminal.ts";

/** --seqpacket, --datagram, or neither. @throws UsageError for both */
export function typeOf({ flags }: Parsed): SocketType {
  if (flags.has("seqpacket") && flags.has("datagram")) {
    throw new UsageError("--seqpacket or --datagram, not both");
  }
  return flags.has("seqpacket") ? "seqpacket" : flags.has("datagram") ? "datagram" : "stream";
}

/** The address, abstract if --abstract says so. */
export function addressOf({ flags }: Parsed, text: string): AddressInput {
  return flags.has("abstract") ? { abstract: text.replace(/^@/, "") } : text;
}

/** The peer, as far as the kernel tells. */
export interface Peer {
  readonly pid: number | null;
  readonly uid: number | null;
  readonly gid: number | null;
  readonly executable: string | null;
  /** Where `executable` is from: see VerifiedPeer.source. */
  readonly source: VerifiedPeer["source"] | null;
}

/** null if the kernel recorded no process. */
export function peerOf(socket: FdLike): Peer | null {
  try {
    using found = verifyPeer(socket);
    const { pid, uid, gid, executable, source } = found;
    return { pid, uid, gid, executable, source };
  } catch (error) {
    if (error instanceof UnixError) return null;
    throw error;
  }
}

/** How far each is to be trusted, in a few words. */
const trust: Readonly<Record<NonNullable<Peer["source"]>, string>> = {
  peerpidfd: "what that process ran while it was alive; decide by uid",
  peertoken: "what the process that last used the socket runs; decide by uid",
  peercred: "read by the pid, which may have been used again; decide by uid",
};

/** "pid=1 uid=0 gid=0 executable=/bin/x (how far to trust it)". */
export function peerText(peer: Peer | Credentials | null): string {
  if (peer === null) return "a process that the kernel does not name";
  const { pid, uid, gid } = peer;
  const text = `pid=${pid ?? "?"} uid=${uid ?? "?"} gid=${gid ?? "?"}`;
  if (!("source" in peer) || peer.source === null) return text;
  if (peer.executable === null) return `${text} executable=? (ended, or this process may not look)`;
  return `${text} executable=${printable(peer.executable)} (${trust[peer.source]})`;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function asText(data: Uint8Array): string | null {
  try {
    return utf8.decode(data);
  } catch {
    return null;
  }
}

const LAST_ASCII = 127;

/** The data on one line; if it is no UTF-8, byte by byte. "\" is doubled, a line's end is "\n". */
export function dataText(data: Uint8Array): string {
  const text = asText(data);
  const shown = (part: string): string =>
    part.split("\n").map(escaped).join("\\n").replaceAll("\\x0d", "\\r");
  if (text !== null) return shown(text);
  return Array.from(data, (byte) =>
    byte > LAST_ASCII ? `\\x${byte.toString(16)}` : shown(String.fromCharCode(byte)),
  ).join("");
}

/** "socket (unix stream, listening), read-write", and its name in /proc. */
export function fdText({ kind, socket, access, target }: FdDescription): string {
  const parts = socket === undefined ? [] : [`${socket.family} ${socket.type}`];
  if (socket?.listening === true) parts.push("listening");
  const about = parts.length > 0 ? ` (${parts.join(", ")})` : "";
  return `${kind}${about}, ${access}${target === undefined ? "" : `: ${printable(target)}`}`;
}

/** An event, as text and as JSON. */
export interface Report {
  readonly text: string;
  readonly json: Readonly<Record<string, unknown>>;
}

/** Prints events and messages to standard output: as text, as JSON, or --raw: only data. */
export class Reporter {
  readonly #output: Output;
  readonly #mode: "text" | "json" | "raw";

  /** @throws UsageError for --raw with --json */
  constructor(output: Output, { json, flags }: Parsed) {
    if (json && flags.has("raw")) throw new UsageError("--raw or --json, not both");
    this.#output = output;
    this.#mode = json ? "json" : flags.has("raw") ? "raw" : "text";
  }

  /** With --raw to standard error. A promise if the reader has to catch up first. */
  say({ text, json }: Report): Promise<void> | undefined {
    if (this.#mode === "json") return this.#output.line(toJson(json));
    if (this.#mode === "text") return this.#output.line(text);
    console.error(`bunix: ${text}`);
    return undefined;
  }

  /** A message and its descriptors, which are closed. `from` is put before each line. */
  async message(message: Message, from: string, about: Report["json"] = {}): Promise<void> {
    using held = message;
    const fds = held.fds.map((fd: Fd) => fd.describe());
    for (const fd of fds) {
      if (this.#mode !== "json") await this.say({ text: `${from}: with ${fdText(fd)}`, json: {} });
    }
    if (held.fdsTruncated) console.error("bunix: more descriptors came than there was room for");
    if (this.#mode === "raw") return await this.#output.bytes(held.data.slice());
    const text = asText(held.data);
    const data = text === null ? { base64: Buffer.from(held.data).toString("base64") } : { text };
    const sender = held.from === undefined ? {} : { address: formatAddress(held.from) };
    await this.say({
      text: `${from}: ${dataText(held.data)}${held.truncated ? " (cut off)" : ""}`,
      json: { event: "message", ...about, ...sender, ...data, fds, truncated: held.truncated },
    });
  }
}
