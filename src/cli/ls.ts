// bunix ls: every Unix socket, in columns.

import { formatAddress } from "../address/address.ts";
import { printable, toJson } from "../base/printable.ts";
import { listSockets, type UnixSocketInfo } from "../inspect/list.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { wanted } from "./commands.ts";
import { json, type Parsed, parse, typeOption } from "./options.ts";
import { Output, print, Stop } from "./terminal.ts";

/** List the sockets; the result is the exit code. */
export async function ls(args: readonly string[]): Promise<number> {
  const parsed = parse(args, wanted("ls"));
  const find = finder(parsed);
  if (parsed.flags.has("watch")) return await watch(find, parsed.json);
  const found = find();
  if (parsed.json) print(json(found.map(({ socket }) => plain(socket))));
  else print(table(found.map(({ row }) => row)));
  return 0;
}

interface Found {
  readonly socket: UnixSocketInfo;
  readonly row: string[];
}

/** A function that finds the sockets of the command line. @throws UsageError */
function finder(parsed: Parsed): () => Found[] {
  const type = typeOption(parsed);
  const [text = ""] = parsed.rest;
  const [holders, listening] = [!parsed.flags.has("no-holders"), parsed.flags.has("listening")];
  return () => {
    const groups = new Map<string, Found[]>();
    const rowOf = rowMaker();
    for (const socket of listSockets({ holders })) {
      if (type !== undefined && socket.type !== type) continue;
      if (listening && socket.state !== "listening") continue;
      const row = rowOf(socket);
      if (text !== "" && !row.join(" ").includes(text)) continue;
      const place = `${ranks[socket.state]}${socket.address === null ? "1" : `0${row[ADDRESS]}`}`;
      const group = groups.get(place);
      if (group === undefined) groups.set(place, [{ socket, row }]);
      else group.push({ socket, row });
    }
    return inOrder(groups);
  };
}

/** Servers first, by address; sockets without one last. Of one address, by inode. */
function inOrder(groups: ReadonlyMap<string, readonly Found[]>): Found[] {
  const all: Found[] = [];
  for (const place of [...groups.keys()].sort()) {
    const byInode = new Map<number, Found>();
    for (const found of groups.get(place)!) byInode.set(found.socket.inode, found);
    // numbers by themselves are put in order without a call for each two of them
    for (const inode of Float64Array.from(byInode.keys()).sort()) all.push(byInode.get(inode)!);
  }
  return all;
}

const ranks = { listening: 0, unconnected: 1, connected: 2 } as const;

const LOOK_MS = 500;

/** Print all sockets, then those that appear and disappear, until a signal ends the command. */
async function watch(find: () => Found[], asJson: boolean): Promise<number> {
  using stop = new Stop();
  using output = new Output();
  let ended = false;
  const end = Promise.race([stop.next(), output.gone]).then(() => {
    ended = true;
  });
  const say = async (event: string, { socket, row }: Found): Promise<void> => {
    const line = asJson ? toJson({ event, socket: plain(socket) }) : `${event} ${row.join("  ")}`;
    await output.line(line);
  };
  const [came, went] = asJson ? ["here", "gone"] : ["+", "-"];
  if (!asJson) await output.line(`  ${head.join("  ")}`);
  for (let before = new Map<string, Found>(); !ended; ) {
    const now = new Map(find().map((one) => [identity(one), one]));
    for (const [key, one] of before) if (!now.has(key)) await say(went!, one);
    for (const [key, one] of now) if (!before.has(key)) await say(came!, one);
    before = now;
    await Promise.race([Bun.sleep(LOOK_MS), end]);
  }
  await end;
  return 0;
}

/** A change of this is a new line; a change of the queues' lengths is not. */
function identity({ socket }: Found): string {
  const { inode, state, peer, shutdown, holders } = socket;
  const who = holders.map(({ pid, fd }) => `${pid}:${fd}`).join(" ");
  return [inode, state, peer?.inode, shutdown, who].join(" ");
}

const head = ["TYPE", "STATE", "RECV-Q", "SEND-Q", "INODE", "ADDRESS", "PEER", "UID", "PROCESSES"];
const ADDRESS = head.indexOf("ADDRESS");
const numbers = new Set(["RECV-Q", "SEND-Q", "INODE", "UID"]);

/** What makes a row of a socket. What many sockets share is formatted once. */
function rowMaker(): (socket: UnixSocketInfo) => string[] {
  const names = new Map<Address, string>();
  const nameOf = (address: Address): string => {
    let name = names.get(address);
    if (name === undefined) {
      name = formatAddress(address);
      names.set(address, name);
    }
    return name;
  };
  let [process, begin] = [-1, ""];
  return ({ type, state, receiveQueue, sendQueue, inode, address, peer, uid, holders }) => {
    const name = address === null ? "-" : nameOf(address);
    let end = "-";
    if (peer !== null) {
      end = peer.address === null ? `${peer.inode}` : `${nameOf(peer.address)} ${peer.inode}`;
    }
    let who = "";
    for (const { pid, command, fd } of holders) {
      if (pid !== process) [process, begin] = [pid, `${printable(command)}[${pid}]:`];
      who += `${who === "" ? "" : " "}${begin}${fd}`;
    }
    const received = receiveQueue === null ? "-" : `${receiveQueue}`;
    const sent = sendQueue === null ? "-" : `${sendQueue}`;
    const user = uid === null ? "-" : `${uid}`;
    return [type, state, received, sent, `${inode}`, name, end, user, who || "-"];
  };
}

/** Columns as wide as their widest cell, numbers aligned right; the last column is not padded. */
function table(rows: readonly string[][]): string {
  const last = head.length - 1;
  const widths = head.map(({ length }) => length);
  for (const row of rows) {
    for (let i = 0; i < last; i++) if (row[i]!.length > widths[i]!) widths[i] = row[i]!.length;
  }
  const right = head.map((name) => numbers.has(name));
  const blanks = Array.from({ length: Math.max(...widths) + 1 }, (_, count) => " ".repeat(count));
  let text = "";
  for (const row of [head, ...rows]) {
    if (text !== "") text += "\n";
    for (let i = 0; i < last; i++) {
      const cell = row[i]!;
      const blank = blanks[widths[i]! - cell.length]!;
      text += right[i] ? `${blank}${cell}  ` : `${cell}${blank}  `;
    }
    text += row[last];
  }
  return text;
}

/** Addresses as text. */
function plain(socket: UnixSocketInfo): unknown {
  const { address, peer } = socket;
  const text = (one: UnixSocketInfo["address"]): string | null =>
    one === null ? null : formatAddress(one);
  const other = peer === null ? null : { ...peer, address: text(peer.address) };
  return { ...socket, address: text(address), peer: other };
}
