// The graph as a picture that needs nothing else: SVG with its own style, for both colour schemes.

import { layOut, type Placed, shortened, size } from "./layout.ts";
import { type Drawing, type Line, labelOf } from "./model.ts";

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};
const inXml = (text: string): string => text.replace(/[&<>"]/g, (one) => entities[one]!);

const STYLE = `
  svg { background: #fff; color: #1b1f24; font: 12px ui-monospace, "DejaVu Sans Mono", monospace }
  rect { fill: #f3f6fa; stroke: #57606a } .title { font-weight: bold } .about { fill: #57606a }
  text { fill: currentColor } path { fill: none; stroke: #0969da; stroke-width: 1.4 }
  .pair { stroke: #8250df } .datagram { stroke: #1a7f37; stroke-dasharray: 5 4 }
  .label { font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 4px }
  marker path { fill: context-stroke; stroke: none } .stale { fill: #a40e26 }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; color: #e6edf3 } rect { fill: #161b22; stroke: #8b949e }
    .about { fill: #9da7b3 } path { stroke: #58a6ff } .pair { stroke: #bc8cff }
    .datagram { stroke: #3fb950 } .label { stroke: #0d1117 } .stale { fill: #ff7b72 }
  }`;

/** One document. */
export function asSvg(drawing: Drawing): string {
  const { boxes, width, height } = layOut(drawing);
  const stale = drawing.stale.map((path) => shortened(`stale: ${path}`));
  const below = stale.length === 0 ? 0 : (stale.length + 1) * size.row;
  const total = { width: Math.max(width, widthOf(stale)), height: height + below };
  const seen = new Map<string, number>();
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${total.width}" height="${total.height}" ` +
      `viewBox="0 0 ${total.width} ${total.height}" role="img">`,
    "<title>Unix sockets: who talks to whom</title>",
    `<style>${STYLE}\n</style>`,
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" ' +
      'markerHeight="7" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z"/></marker></defs>',
    ...[...boxes.values()].map(boxSvg),
    ...drawing.lines.map((line) => {
      const [from, to] = [boxes.get(line.from), boxes.get(line.to)];
      return from === undefined || to === undefined ? "" : lineSvg(line, { from, to, seen });
    }),
    ...stale.map((text, i) => {
      const y = height + (i + 1) * size.row;
      return `<text class="stale" x="${size.margin}" y="${y}">${inXml(text)}</text>`;
    }),
  ];
  return [...out, "</svg>"].join("\n");
}

const widthOf = (rows: readonly string[]): number =>
  Math.ceil(Math.max(0, ...rows.map((row) => row.length)) * size.character) + 2 * size.margin;

function boxSvg({ rows, x, y, width, height }: Placed): string {
  const lines = rows.map((row, i) => {
    const at = `x="${x + size.padding}" y="${y + size.padding + (i + 0.75) * size.row}"`;
    const named = i === 0 ? ' class="title"' : i === 1 ? ' class="about"' : "";
    return `<text${named} ${at}>${inXml(row)}</text>`;
  });
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6"/>${lines.join("")}`;
}

interface Ends {
  readonly from: Placed;
  readonly to: Placed;
  /** How many lines each side of a box has already. */
  readonly seen: Map<string, number>;
}

/** The height at which the next line meets a side of a box. */
function port({ box, y, height }: Placed, side: string, seen: Map<string, number>): number {
  const key = `${box.id} ${side}`;
  const before = seen.get(key) ?? 0;
  seen.set(key, before + 1);
  return y + size.padding + ((before * size.row + size.row / 2) % (height - 2 * size.padding));
}

/** The height of a listener's address in its box. */
function listenerPort(placed: Placed, address: string): number | null {
  const at = placed.box.listeners.findIndex((one) => one.address === address);
  return at < 0 ? null : placed.y + size.padding + (at + 2.5) * size.row;
}

/** Of a pair the left one is its start. */
function leftFirst(line: Line, { from, to, seen }: Ends): [Line, Ends] {
  if (line.kind !== "pair" || from.x <= to.x) return [line, { from, to, seen }];
  const queues = [line.queues[1], line.queues[0]] as const;
  return [
    { ...line, queues },
    { from: to, to: from, seen },
  ];
}

function lineSvg(given: Line, ends: Ends): string {
  const [line, { from, to, seen }] = leftFirst(given, ends);
  const near = to.x <= from.x; // in the same column, or back: out at the right, and in there
  const [x1, x2] = [from.x + from.width, near ? to.x + to.width : to.x];
  const y1 = port(from, "right", seen);
  const listens = listenerPort(to, line.address);
  const y2 = listens ?? port(to, near ? "right" : "left", seen);
  const bend = near ? Math.min(size.loop, 50 + Math.abs(y2 - y1) / 4) : (x2 - x1) / 2;
  const [c1, c2] = [x1 + bend, near ? x2 + bend : x2 - bend];
  const start = line.kind === "pair" ? ' marker-start="url(#arrow)"' : "";
  const path = `M${x1} ${y1}C${c1} ${y1} ${c2} ${y2} ${x2} ${y2}`;
  const text = shortened(labelOf(line, "above", listens === null));
  return (
    `<path class="${line.kind}" d="${path}" marker-end="url(#arrow)"${start}/>` +
    `<text class="label" x="${x1 + size.padding}" y="${y1 - 4}">${inXml(text)}</text>`
  );
}
