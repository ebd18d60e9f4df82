// The layout of boxes: in columns, servers to the right of their clients; within a column in an
// order that keeps lines short.

import type { Box, Drawing, Line } from "./model.ts";

/** A box with its place, in pixels. */
export interface Placed {
  readonly box: Box;
  readonly rows: readonly string[];
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** All of them, and how large the picture is. */
export interface Layout {
  readonly boxes: ReadonlyMap<string, Placed>;
  readonly width: number;
  readonly height: number;
}

export const size = {
  /** Of a character of the monospace font, and of a line of it. */
  character: 7.3,
  row: 18,
  padding: 10,
  gap: 22,
  /** Between columns: the labels of lines stand there. */
  alley: 260,
  /** How far a line to a box in the same column goes out. */
  loop: 120,
  margin: 24,
} as const;

const SWEEPS = 8;
const MAX_CHARACTERS = 64;

/** The text in a box, line by line. */
function rowsOf({ title, about, listeners, own }: Box): string[] {
  const rows = [title, about, ...listeners.map((one) => `◉ ${one.address} (${one.about})`)];
  if (own > 0) rows.push(`⟲ ${own} with itself`);
  return rows.map(shortened);
}

/** Long paths keep their end. */
export const shortened = (text: string): string =>
  text.length <= MAX_CHARACTERS ? text : `…${text.slice(1 - MAX_CHARACTERS)}`;

/** The columns of boxes: further right than all that connects to it, but for circles. */
function columnsOf({ boxes, lines }: Drawing): Box[][] {
  const column = new Map(boxes.map(({ id }) => [id, 0]));
  const next = new Map<string, string[]>();
  for (const { from, to, kind } of lines) {
    if (kind !== "pair") next.set(from, [...(next.get(from) ?? []), to]);
  }
  const visit = (id: string, at: number, way: ReadonlySet<string>): void => {
    if (way.has(id) || (at > 0 && column.get(id)! >= at)) return;
    column.set(id, Math.max(column.get(id)!, at));
    for (const to of next.get(id) ?? []) visit(to, at + 1, new Set([...way, id]));
  };
  for (const { id } of boxes) visit(id, 0, new Set());
  const columns: Box[][] = [];
  for (const box of boxes) (columns[column.get(box.id)!] ??= []).push(box);
  return columns.filter((one) => one !== undefined);
}

/** Move each box to the average position of the boxes that it is connected to; several sweeps. */
function order(columns: Box[][], lines: readonly Line[]): void {
  const ties = new Map<string, string[]>();
  for (const { from, to } of lines) {
    ties.set(from, [...(ties.get(from) ?? []), to]);
    ties.set(to, [...(ties.get(to) ?? []), from]);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const at = new Map(columns.flatMap((one) => one.map(({ id }, i) => [id, i] as const)));
    const center = ({ id }: Box): number => {
      const places = (ties.get(id) ?? []).map((one) => at.get(one) ?? 0);
      if (places.length === 0) return Number.POSITIVE_INFINITY; // unconnected: below the others
      return places.reduce((sum, place) => sum + place, 0) / places.length;
    };
    for (const one of columns) one.sort((a, b) => difference(center(a), center(b)));
  }
}

const difference = (a: number, b: number): number => (a === b ? 0 : a - b);

/** Place all boxes. */
export function layOut(drawing: Drawing): Layout {
  const columns = columnsOf(drawing);
  order(columns, drawing.lines);
  const placed = columns.map((one) => one.map((box) => sized(box, portsOf(box, drawing.lines))));
  const heights = placed.map((one) =>
    one.reduce((sum, { height }) => sum + height + size.gap, -size.gap),
  );
  const height = Math.max(0, ...heights);
  const boxes = new Map<string, Placed>();
  let x: number = size.margin;
  for (const [i, column] of placed.entries()) {
    const width = Math.max(...column.map((one) => one.width));
    let y = size.margin + (height - heights[i]!) / 2;
    for (const one of column) {
      boxes.set(one.box.id, { ...one, x, y, width });
      y += one.height + size.gap;
    }
    x += width + size.alley;
  }
  const width = Math.max(x - size.alley + size.loop + size.margin, 2 * size.margin);
  return { boxes, width, height: height + 2 * size.margin };
}

/** How many lines need a place of their own at one of its sides: others end at a listener. */
const portsOf = ({ id }: Box, lines: readonly Line[]): number =>
  lines.filter(({ from, to, kind }) => from === id || (to === id && kind !== "client")).length;

function sized(box: Box, ports: number): Omit<Placed, "x" | "y"> {
  const rows = rowsOf(box);
  const most = Math.max(...rows.map((row) => row.length));
  return {
    ...{ box, rows, width: Math.ceil(most * size.character) + 2 * size.padding },
    height: Math.max(rows.length, ports) * size.row + 2 * size.padding,
  };
}
