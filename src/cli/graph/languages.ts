// The graph in the languages of programs that draw: Graphviz and Mermaid.

import { type Drawing, type Line, labelOf } from "./model.ts";

const inDot = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", " ");

/** For `dot -Tsvg`. @see dot(1) */
export function asDot({ boxes, lines, stale }: Drawing): string {
  const out = ["digraph sockets {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];'];
  out.push('  edge [fontname="sans-serif", fontsize=10];');
  for (const { id, title, about, listeners } of boxes) {
    const texts = [title, about, ...listeners.map((one) => `${one.address} (${one.about})`)];
    out.push(`  ${id} [label="${texts.map(inDot).join("\\n")}"];`);
  }
  for (const line of lines) {
    const dir = line.kind === "pair" ? ", dir=both" : "";
    out.push(`  ${line.from} -> ${line.to} [label="${inDot(labelOf(line, "above"))}"${dir}];`);
  }
  for (const [i, path] of stale.entries()) {
    out.push(`  stale${i} [label="${inDot(path)}\\nstale", style=dashed];`);
  }
  return [...out, "}"].join("\n");
}

/** Mermaid has HTML entities, written with # instead of &. */
const inMermaid = (text: string): string =>
  text.replace(/[^\w /.,:@()×-]/gu, (one) => `#${one.codePointAt(0)};`);

const arrows: Readonly<Record<Line["kind"], string>> = {
  client: "-->",
  datagram: "-.->",
  pair: "<-->",
};

/** For Mermaid, which GitHub draws in Markdown. */
export function asMermaid({ boxes, lines, stale }: Drawing): string {
  const out = ["flowchart LR"];
  for (const { id, title, about, listeners } of boxes) {
    const texts = [title, about, ...listeners.map((one) => `${one.address} (${one.about})`)];
    out.push(`  ${id}["${texts.map(inMermaid).join("<br>")}"]`);
  }
  for (const line of lines) {
    out.push(
      `  ${line.from} ${arrows[line.kind]}|"${inMermaid(labelOf(line, "above"))}"| ${line.to}`,
    );
  }
  for (const [i, path] of stale.entries()) {
    out.push(`  stale${i}["${inMermaid(path)}<br>stale"]`, `  style stale${i} stroke-dasharray:4`);
  }
  return out.join("\n");
}
