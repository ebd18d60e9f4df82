// The graph as a tree of text: each process with what it listens at and whom it is connected to.

import { type Box, type Drawing, type Line, labelOf } from "./model.ts";

/** One block of lines for each process. */
export function asText({ boxes, lines, stale }: Drawing): string {
  const titles = new Map(boxes.map(({ id, title }) => [id, title]));
  const blocks = [...boxes].sort(byListening).map((box) => block(box, lines, titles));
  if (stale.length > 0)
    blocks.push(
      tree(
        "stale socket files",
        stale.map((one) => [one]),
      ),
    );
  return blocks.length === 0 ? "no Unix sockets" : blocks.join("\n");
}

/** Servers first. */
const byListening = (a: Box, b: Box): number =>
  Number(b.listeners.length > 0) - Number(a.listeners.length > 0);

/** A line of the tree, and what hangs from it. */
type Branch = readonly [text: string, ...leaves: string[]];

function block(box: Box, lines: readonly Line[], titles: ReadonlyMap<string, string>): string {
  const name = (id: string): string => titles.get(id) ?? id;
  const addresses = new Set(box.listeners.map(({ address }) => address));
  const isClient = ({ to, kind, address }: Line): boolean =>
    to === box.id && kind !== "pair" && addresses.has(address);
  const clientsOf = (address: string): string[] =>
    lines
      .filter((line) => isClient(line) && line.address === address)
      .map((line) => `← ${name(line.from)}  ${labelOf(line, "to", false)}`);
  const branches: Branch[] = box.listeners.map(({ address, about }) => [
    `${address}  ${about}`,
    ...clientsOf(address),
  ]);
  for (const line of lines.filter((one) => !isClient(one))) {
    const both = line.kind === "pair";
    if (line.from === box.id) {
      branches.push([`${both ? "⇄" : "→"} ${name(line.to)}  ${labelOf(line, "from")}`]);
    } else if (line.to === box.id) {
      branches.push([`${both ? "⇄" : "←"} ${name(line.from)}  ${labelOf(line, "to")}`]);
    }
  }
  if (box.own > 0) branches.push([`⟲ ${box.own} with itself`]);
  return tree(`${box.title}  ${box.about}`, branches);
}

function tree(root: string, branches: readonly Branch[]): string {
  const lines = [root];
  for (const [i, [text, ...leaves]] of branches.entries()) {
    const last = i === branches.length - 1;
    lines.push(`${last ? "└─" : "├─"} ${text}`);
    for (const [j, leaf] of leaves.entries()) {
      lines.push(`${last ? "  " : "│ "}  ${j === leaves.length - 1 ? "└─" : "├─"} ${leaf}`);
    }
  }
  return lines.join("\n");
}
