// bunix ls: every Unix socket, in columns.

import { formatAddress } from "../address/address.ts";
import { printable, toJson } from "../base/printable.ts";
import { listSockets, type UnixSocketInfo } from "../inspect/list.ts";
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

/** What finds the sockets that were asked for. @throws UsageError */
function finder(parsed: Parsed): () => Found[] {
  const type = typeOption(parsed);
  const [text = ""] = parsed.rest;
  return () =>
    listSockets({ holders: !parsed.flags.has("no-holders") })
      .filter((one) => type === undefined || one.type === type)
      .filter((one) => !parsed.flags.has("listening") || one.state === "listening")
      .map((socket) => ({ socket, row: rowOf(socket) }))
      .filter(({ row }) => row.join(" ").includes(text))
      .sort((a, b) => byPlace(a.socket, b.socket));
}

const LOOK_MS = 500;

/** Print what is there, then what comes and goes, until told to end. */
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

/** What makes it another line; queues come and go all the time. */
function identity({ socket }: Found): string {
  const { inode, state, peer, shutdown, holders } = socket;
  const who = holders.map(({ pid, fd }) => `${pid}:${fd}`).join(" ");
  return [inode, state, peer?.inode, shutdown, who].join(" ");
}

const head = ["TYPE", "STATE", "RECV-Q", "SEND-Q", "INODE", "ADDRESS", "PEER", "UID", "PROCESSES"];
const numbers = new Set(["RECV-Q", "SEND-Q", "INODE", "UID"]);

function rowOf(socket: UnixSocketInfo): string[] {
  const { type, state, receiveQueue, sendQueue, inode, address, peer, uid, holders } = socket;
  const [received, sent, user] = [receiveQueue, sendQueue, uid].map((n) => String(n ?? "-"));
  const name = address === null ? "-" : formatAddress(address);
  const other = peer?.address ? formatAddress(peer.address) : "-";
  const end = peer === null ? "-" : `${other} ${peer.inode}`.replace(/^- /, "");
  const who = holders.map(({ pid, command, fd }) => `${printable(command)}[${pid}]:${fd}`);
  return [type, state, received!, sent!, String(inode), name, end, user!, who.join(" ") || "-"];
}

/** Columns as wide as what is in them; numbers to the right, the last column as it comes. */
function table(rows: readonly string[][]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => all.reduce((width, row) => Math.max(width, row[i]!.length), 0));
  const cell = (text: string, i: number): string => {
    if (i === head.length - 1) return text;
    return numbers.has(head[i]!) ? text.padStart(widths[i]!) : text.padEnd(widths[i]!);
  };
  return all.map((row) => row.map(cell).join("  ")).join("\n");
}

const states: readonly UnixSocketInfo["state"][] = ["listening", "unconnected", "connected"];

/** Servers first, by their address; those without one last. */
function byPlace(a: UnixSocketInfo, b: UnixSocketInfo): number {
  return (
    states.indexOf(a.state) - states.indexOf(b.state) ||
    Number(a.address === null) - Number(b.address === null) ||
    compare(textOf(a), textOf(b)) ||
    a.inode - b.inode
  );
}

const textOf = ({ address }: UnixSocketInfo): string =>
  address === null ? "" : formatAddress(address);
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Addresses as text. */
function plain(socket: UnixSocketInfo): unknown {
  const { address, peer } = socket;
  const text = (one: UnixSocketInfo["address"]): string | null =>
    one === null ? null : formatAddress(one);
  const other = peer === null ? null : { ...peer, address: text(peer.address) };
  return { ...socket, address: text(address), peer: other };
}
