// Curves as a small SVG: what was measured over time, each scaled to its own highest value.

/** One state of the process, between two slices of work. */
export interface Sample {
  readonly seconds: number;
  readonly rssMebibytes: number;
  readonly heapMebibytes: number;
  readonly fds: number;
  /** Moved so far. */
  readonly messages: number;
  readonly fdsMoved: number;
}

const WIDTH = 800;
const HEIGHT = 300;
const MARGIN = 50;

interface Curve {
  readonly name: string;
  readonly colour: string;
  readonly of: (sample: Sample) => number;
}

const curves: readonly Curve[] = [
  { name: "resident memory, MiB", colour: "#c33", of: ({ rssMebibytes }) => rssMebibytes },
  { name: "heap, MiB", colour: "#36c", of: ({ heapMebibytes }) => heapMebibytes },
  { name: "descriptors", colour: "#393", of: ({ fds }) => fds },
];

/** The curves of `samples`, from 0 up. */
export function drawCurves(samples: readonly Sample[], title: string): string {
  const last = samples.at(-1)?.seconds || 1;
  const lines = curves.map((curve, i) => drawCurve(curve, { samples, last, row: i }));
  const frame = `M ${MARGIN} ${MARGIN} V ${HEIGHT - MARGIN} H ${WIDTH - MARGIN}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT + 60}"`,
    ` font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>`,
    `<text x="${MARGIN}" y="24">${title}</text><path d="${frame}" fill="none" stroke="#888"/>`,
    `<text x="${WIDTH - MARGIN - 40}" y="${HEIGHT - MARGIN + 18}">${Math.round(last)} s</text>`,
    ...lines,
    "</svg>\n",
  ].join("\n");
}

function drawCurve(
  { name, colour, of }: Curve,
  { samples, last, row }: { samples: readonly Sample[]; last: number; row: number },
): string {
  const values = samples.map(of);
  const max = Math.max(...values, 1);
  const points = samples.map(({ seconds }, i) => {
    const x = MARGIN + (seconds / last) * (WIDTH - 2 * MARGIN);
    const y = HEIGHT - MARGIN - (values[i]! / max) * (HEIGHT - 2.5 * MARGIN);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const first = values[0] ?? 0;
  const legend = `${name}: ${first.toFixed(1)} … ${(values.at(-1) ?? 0).toFixed(1)}`;
  const y = HEIGHT + 10 + 16 * row;
  return (
    `<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>` +
    `<text x="${MARGIN}" y="${y}" fill="${colour}">${legend} (most ${max.toFixed(1)})</text>`
  );
}

/** The slope of a straight line through `values`, per sample. */
export function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let [above, below] = [0, 0];
  for (const [i, value] of values.entries()) {
    above += (i - middle) * (value - mean);
    below += (i - middle) ** 2;
  }
  return below === 0 ? 0 : above / below;
}
