// bunix probe ADDRESS.

import { formatAddress } from "../address/address.ts";
import { printable } from "../base/printable.ts";
import { type Probe, probe } from "../inspect/probe.ts";
import { wanted } from "./commands.ts";
import { json, parse, typeOption, UsageError } from "./options.ts";
import { print } from "./terminal.ts";

const codes: Readonly<Record<Probe["state"], number>> = {
  listening: 0,
  bound: 0,
  stale: 1,
  free: 2,
  "not-a-socket": 3,
  "wrong-type": 3,
  forbidden: 3,
};

const meanings: Readonly<Record<Probe["state"], string>> = {
  listening: "a process listens here",
  bound: "a live socket has it, and takes nothing",
  stale: "the socket's process is gone, its file is left",
  free: "nothing is there",
  "not-a-socket": "something else is there",
  "wrong-type": "a live socket of another type has it",
  forbidden: "this process may not look, or not connect",
};

const sources: Readonly<Record<Probe["source"], string>> = {
  sock_diag: "the kernel (sock_diag)",
  proc: "the kernel (/proc/net/unix)",
  connect: "trying to connect",
  lstat: "the file",
  libproc: "libproc, for connecting is refused",
};

/** Say what is at an address; the result is the exit code. */
export function probeCommand(args: readonly string[]): number {
  const parsed = parse(args, wanted("probe"));
  const [address] = parsed.rest;
  if (address === undefined) throw new UsageError("probe what? A path, or @name");
  const found = probe(address, { type: typeOption(parsed) });
  print(parsed.json ? asJson(found) : asText(found));
  return codes[found.state];
}

function asJson(found: Probe): string {
  return json({ ...found, address: formatAddress(found.address) });
}

function asText(found: Probe): string {
  const { state, type, inode, holders, owner, mode, since, source } = found;
  const lines = [`${formatAddress(found.address)}: ${state} (${meanings[state]})`];
  const add = (name: string, text: string): void => {
    lines.push(`  ${name.padEnd(9)} ${text}`);
  };
  for (const { pid, command, fd } of holders) {
    add("held by", `${pid} ${printable(command)}${fd === null ? "" : `, descriptor ${fd}`}`);
  }
  if (type !== undefined) add("type", type);
  if (inode !== undefined) add("inode", String(inode));
  if (found.found !== undefined) add("file", found.found);
  if (owner !== undefined) add("owner", `uid ${owner ?? "unknown"}`);
  if (mode !== undefined) add("mode", mode.toString(8).padStart(4, "0"));
  if (since !== undefined) add("since", since.toISOString());
  add("known by", sources[source]);
  return lines.join("\n");
}
