// What is drawn: a box for each process, its listeners in it, and lines between boxes. Connections
// of the same two processes by the same address are one line.

import { formatAddress } from "../../address/address.ts";
import { printable } from "../../base/printable.ts";
import type {
  GraphConnection,
  GraphEnd,
  GraphListener,
  GraphProcess,
  SocketGraph,
} from "../../inspect/graph.ts";

/** A process; or, as "unseen", all that this user may not see. */
export interface Box {
  readonly id: string;
  readonly title: string;
  /** Its user, and its container. */
  readonly about: string;
  readonly listeners: readonly Listening[];
  /** How many connections it has with itself. */
  readonly own: number;
}

/** A listener of a box. */
export interface Listening {
  readonly inode: number;
  readonly address: string;
  /** "stream, 2 of 128 wait". */
  readonly about: string;
}

/** Connections from one box to another. */
export interface Line {
  readonly from: string;
  readonly to: string;
  readonly kind: GraphConnection["kind"];
  readonly type: GraphConnection["type"];
  /** "" for a pair. */
  readonly address: string;
  readonly count: number;
  /** Bytes that wait to be received by `from`, and by `to`. */
  readonly queues: readonly [from: number, to: number];
}

/** Everything, ready to be drawn; all texts print. */
export interface Drawing {
  readonly boxes: readonly Box[];
  readonly lines: readonly Line[];
  readonly stale: readonly string[];
}

const UNSEEN = "unseen";
const unseen: Box = {
  id: UNSEEN,
  title: "not to be seen",
  about: "other users' processes, or elsewhere",
  listeners: [],
  own: 0,
};

/** A socket that was inherited belongs to all of them: it is drawn at the youngest. */
const boxOf = ({ pids }: Pick<GraphEnd, "pids">): string =>
  pids.length === 0 ? UNSEEN : `p${pids.at(-1)}`;

/** @param text only what has it in a process's title, or in an address, and what that is tied to */
export function draw(graph: SocketGraph, text = ""): Drawing {
  const lines = linesOf(graph.connections);
  const own = new Map<string, number>();
  for (const one of lines.filter(({ from, to }) => from === to)) {
    own.set(one.from, (own.get(one.from) ?? 0) + one.count);
  }
  const boxes = [...graph.processes.map((one) => processBox(one, graph.listeners)), unseen].map(
    (box) => ({ ...box, own: own.get(box.id) ?? 0 }),
  );
  const hidden = graph.listeners.filter(({ pids }) => pids.length === 0).map(toListening);
  const all = boxes.map((box) => (box.id === UNSEEN ? { ...box, listeners: hidden } : box));
  const between = lines.filter(({ from, to }) => from !== to);
  return select({ boxes: all, lines: between, stale: graph.stale.map(printable) }, text);
}

function select({ boxes, lines, stale }: Drawing, text: string): Drawing {
  const titles = new Map(boxes.map((box) => [box.id, box.title]));
  const has = (...texts: readonly (string | undefined)[]): boolean =>
    texts.some((one) => one?.includes(text));
  const kept = lines.filter(({ from, to, address }) =>
    has(titles.get(from), titles.get(to), address),
  );
  const tied = new Set(kept.flatMap(({ from, to }) => [from, to]));
  const matches = ({ title, listeners }: Box): boolean =>
    has(title, ...listeners.map(({ address }) => address));
  return {
    boxes: boxes.filter(
      (box) => tied.has(box.id) || (matches(box) && box.listeners.length + box.own > 0),
    ),
    lines: kept,
    stale: stale.filter((one) => one.includes(text)),
  };
}

function processBox(process: GraphProcess, listeners: readonly GraphListener[]): Box {
  const { pid, command, uid, user, container } = process;
  const about = [user ?? (uid === null ? "unknown user" : `uid ${uid}`)];
  if (container !== null) about.push(`${container.runtime} ${container.id}`);
  return {
    id: `p${pid}`,
    title: printable(`${command}[${pid}]`),
    about: printable(about.join(", ")),
    listeners: listeners.filter(({ pids }) => pids.includes(pid)).map(toListening),
    own: 0,
  };
}

function toListening({ inode, type, address, waiting, backlog }: GraphListener): Listening {
  const wait = type === "datagram" ? `${waiting ?? "?"} B wait` : `${waiting ?? "?"} wait`;
  const most = backlog === null ? "" : ` of ${backlog}`;
  return {
    inode,
    address: formatAddress(address),
    about: `${type}, ${wait.replace(" wait", `${most} wait`)}`,
  };
}

function linesOf(connections: readonly GraphConnection[]): Line[] {
  const found = new Map<string, Line>();
  for (const { kind, type, address, ...given } of connections) {
    const [from, to] = inOrder(given, kind);
    const text = address === null ? "" : formatAddress(address);
    const ends = { from: boxOf(from), to: boxOf(to) };
    const key = [ends.from, ends.to, kind, type, text].join("\0");
    const before = found.get(key);
    const [a, b] = before?.queues ?? [0, 0];
    found.set(key, {
      ...{ ...ends, kind, type, address: text, count: (before?.count ?? 0) + 1 },
      queues: [a + (from.queue ?? 0), b + (to.queue ?? 0)],
    });
  }
  return [...found.values()];
}

/** The ends of a pair are alike. */
function inOrder(
  { from, to }: Pick<GraphConnection, "from" | "to">,
  kind: Line["kind"],
): [GraphEnd, GraphEnd] {
  return kind === "pair" && boxOf(to) < boxOf(from) ? [to, from] : [from, to];
}

/** The viewpoint of a label: one of the line's two boxes, or above both. */
export type View = "from" | "to" | "above";

const places: Readonly<Record<View, readonly [from: string, to: string]>> = {
  from: ["here", "there"],
  to: ["there", "here"],
  above: ["at its start", "at its end"],
};

/** The label of a line: "stream ×3 /run/x, 12 B wait there". */
export function labelOf(line: Line, view: View, withAddress = true): string {
  const { kind, type, address, count, queues } = line;
  const words: string[] = [kind === "pair" ? `${type} pair` : type];
  if (count > 1) words.push(`×${count}`);
  if (withAddress && address !== "") words.push(address);
  const texts = [words.join(" ")];
  for (const [i, bytes] of queues.entries()) {
    if (bytes > 0) texts.push(`${bytes} B wait ${places[view][i]}`);
  }
  return texts.join(", ");
}
