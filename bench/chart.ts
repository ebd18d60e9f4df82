// The ratios as a picture: how many times as fast as the other, on a logarithmic scale.

import { compared, isRate, type Row, round } from "./harness.ts";

const ROW = 20;
const LABEL = 640;
const PLOT = 360;
const TOP = 44;
const BOTTOM = 16;
const RIGHT = 90;
/** Bars beyond these are cut off; their numbers are not. */
const [LOW, HIGH] = [0.2, 8];
const TICKS = [0.25, 0.5, 1, 2, 4];
const colours = { good: "#2f855a", bad: "#c05621", plain: "#4a5568", line: "#a0aec0" } as const;

interface Bar {
  readonly label: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly aim: number | null;
}

/** As speed, whatever was measured: above 1 ours is the faster. */
function barOf(row: Row): Bar {
  const { median, min, max } = compared(row);
  const label = `${row.work} (${row.ours} / ${row.against})`;
  if (isRate(row.unit)) return { label, median, min, max, aim: row.reach };
  const aim = row.reach === null ? null : 1 / row.reach;
  return { label, median: 1 / median, min: 1 / max, max: 1 / min, aim };
}

const escaped = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");

/** One row: the label, the bar from 1 to the median, the spread as a line, the aim as a tick. */
function drawn(bar: Bar, y: number): string {
  const [from, to] = [x(1), x(bar.median)].sort((a, b) => a - b) as [number, number];
  const middle = y + ROW / 2;
  const met = bar.aim === null ? "plain" : bar.median >= bar.aim ? "good" : "bad";
  const aim = bar.aim === null ? "" : `<path d="M${x(bar.aim)} ${y + 2}v16" class="aim"/>`;
  const rest = `<path d="M${x(bar.min)} ${middle}H${x(bar.max)}" class="spread"/>${aim}`;
  return [
    `<text x="${LABEL - 8}" y="${middle + 4}" text-anchor="end">${escaped(bar.label)}</text>`,
    `<rect x="${from}" y="${y + 4}" width="${Math.max(1, to - from)}" height="12" class="${met}"/>`,
    rest,
    `<text x="${LABEL + PLOT + 8}" y="${middle + 4}">${round(bar.median)} ×</text>`,
  ].join("");
}

const style = `text{font:12px sans-serif;fill:#1a202c}.good{fill:${colours.good}}\
.bad{fill:${colours.bad}}.plain{fill:${colours.plain}}.grid{stroke:${colours.line};stroke-width:.5}\
.spread{stroke:#1a202c}.aim{stroke:#2b6cb0;stroke-width:2}`;

/** Where a ratio stands from left to right. */
function x(value: number): number {
  const part = Math.log(Math.min(HIGH, Math.max(LOW, value)) / LOW) / Math.log(HIGH / LOW);
  return Math.round((LABEL + part * PLOT) * 10) / 10;
}

/** An SVG of all ratios; differences have no place on its scale. */
export function chart(rows: readonly Row[]): string {
  const bars = rows.filter((row) => row.as === "ratio" && row.ours.startsWith("bunix")).map(barOf);
  const height = TOP + bars.length * ROW + BOTTOM;
  const ticks = TICKS.map(
    (tick) =>
      `<path d="M${x(tick)} ${TOP}V${height - BOTTOM}" class="grid"/>` +
      `<text x="${x(tick)}" y="${TOP - 6}" text-anchor="middle">${tick}</text>`,
  );
  const width = LABEL + PLOT + RIGHT;
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" ${size}><title>bunix and others</title>`,
    `<style>${style}</style>`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="${LABEL}" y="16">times as fast as the other; blue: the aim</text>`,
    ...ticks,
    ...bars.map((bar, i) => drawn(bar, TOP + i * ROW)),
    "</svg>",
  ].join("\n")}\n`;
}
