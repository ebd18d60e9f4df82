// bunix graph: who is connected to whom, as text, as a picture, or as JSON.

import { formatAddress } from "../../address/address.ts";
import { type SocketGraph, socketGraph } from "../../inspect/graph.ts";
import type { Address } from "../../structs/sockaddr-un.ts";
import { wanted } from "../commands.ts";
import { json, parse, UsageError } from "../options.ts";
import { print } from "../terminal.ts";
import { asDot, asMermaid } from "./languages.ts";
import { type Drawing, draw } from "./model.ts";
import { asSvg } from "./svg.ts";
import { asText } from "./text.ts";

const formats = new Map<string, (drawing: Drawing) => string>([
  ["dot", asDot],
  ["mermaid", asMermaid],
  ["svg", asSvg],
]);

/** Print the graph; the result is the exit code. */
export function graph(args: readonly string[]): number {
  const parsed = parse(args, wanted("graph"));
  const asked = [...formats.keys()].filter((name) => parsed.flags.has(name));
  if (asked.length + Number(parsed.json) > 1) {
    throw new UsageError("one of --dot, --mermaid, --svg and --json");
  }
  const found = socketGraph(parsed.flags.has("no-stale") ? { directories: [] } : {});
  if (parsed.json) print(json(plain(found)));
  else print((formats.get(asked[0] ?? "") ?? asText)(draw(found, parsed.rest[0])));
  return 0;
}

/** Addresses as text. */
function plain({ listeners, connections, ...rest }: SocketGraph): unknown {
  const text = (one: Address | null): string | null => (one === null ? null : formatAddress(one));
  return {
    processes: rest.processes,
    listeners: listeners.map((one) => ({ ...one, address: text(one.address) })),
    connections: connections.map((one) => ({ ...one, address: text(one.address) })),
    stale: rest.stale,
  };
}
