// The ratios as a picture: how many times as fast as the other, on a logarithmic scale.

import { compared, isRate, type Row } from "./harness.ts";

const ROW = 20;
const LABEL = 560;
const PLOT = 360;
const TOP = 44;
const BOTTOM = 16;
const RIGHT = 90;
const TICKS = [0.1, 0.25, 0.5, 1, 2, 4, 10, 100, 1000, 10000];
const colours = { good: "#2f855a", bad: "#c05621", plain: "#4a5568", line: "#a0aec0" } as const;

interface Bar {
  readonly label: string;
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly aim: number | null;
}

/** As speed, whatever was measured: above 1 ours is the faster. */
function barOf(row: Row): Bar {
  const { median, least, most } = compared(row);
  const label = `${row.work} (${row.ours} / ${row.against})`;
  if (isRate(row.unit)) return { label, median, least, most, aim: row.reach };
  const aim = row.reach === null ? null : 1 / row.reach;
  return { label, median: 1 / median, least: 1 / most, most: 1 / least, aim };
}

const escaped = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");

/** One row: the label, the bar from 1 to the median, the spread as a line, the aim as a tick. */
function drawn(bar: Bar, y: number, x: (value: number) => number): string {
  const [from, to] = [x(1), x(bar.median)].sort((a, b) => a - b) as [number, number];
  const middle = y + ROW / 2;
  const met = bar.aim === null ? "plain" : bar.median >= bar.aim ? "good" : "bad";
  const aim = bar.aim === null ? "" : `<path d="M${x(bar.aim)} ${y + 2}v16" class="aim"/>`;
  const rest = `<path d="M${x(bar.least)} ${middle}H${x(bar.most)}" class="spread"/>${aim}`;
  return [
    `<text x="${LABEL - 8}" y="${middle + 4}" text-anchor="end">${escaped(bar.label)}</text>`,
    `<rect x="${from}" y="${y + 4}" width="${Math.max(1, to - from)}" height="12" class="${met}"/>`,
    rest,
    `<text x="${LABEL + PLOT + 8}" y="${middle + 4}">${bar.median.toPrecision(3)} ×</text>`,
  ].join("");
}

const style = `text{font:12px sans-serif;fill:#1a202c}.good{fill:${colours.good}}\
.bad{fill:${colours.bad}}.plain{fill:${colours.plain}}.grid{stroke:${colours.line};stroke-width:.5}\
.spread{stroke:#1a202c}.aim{stroke:#2b6cb0;stroke-width:2}`;

/** An SVG of all ratios; differences have no place on its scale. */
export function chart(rows: readonly Row[]): string {
  const bars = rows.filter((row) => row.as === "ratio" && row.ours.startsWith("bunix")).map(barOf);
  const values = bars.flatMap(({ least, most, aim }) => [least, most, aim ?? 1]);
  const [low, high] = [Math.min(0.5, ...values), Math.max(2, ...values)].map(Math.log10);
  const scale = PLOT / ((high ?? 1) - (low ?? 0));
  const x = (value: number): number =>
    Math.round((LABEL + (Math.log10(value) - (low ?? 0)) * scale) * 10) / 10;
  const height = TOP + bars.length * ROW + BOTTOM;
  const ticks = TICKS.filter((tick) => x(tick) >= LABEL && x(tick) <= LABEL + PLOT).map(
    (tick) =>
      `<path d="M${x(tick)} ${TOP}V${height - BOTTOM}" class="grid"/>` +
      `<text x="${x(tick)}" y="${TOP - 6}" text-anchor="middle">${tick}</text>`,
  );
  const width = LABEL + PLOT + RIGHT;
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" ${size}><style>${style}</style>`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="${LABEL}" y="16">times as fast as the other; blue: the aim</text>`,
    ...ticks,
    ...bars.map((bar, i) => drawn(bar, TOP + i * ROW, x)),
    "</svg>",
  ].join("\n")}\n`;
}
