// examples/journald.ts: what a receiver makes of it that is as strict as journald, and what the
// real systemd-journald has in its journal afterwards.

import { expect } from "bun:test";
import { join } from "node:path";
import { root, runScript, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { apart, journald, startJournald, wakers } from "./daemons.ts";

const example = "examples/journald.ts";
const dump = "0123456789".repeat(50_000);
const large = ["a datagram", "a datagram", "a memfd, sealed: shrink grow write seal"];

const told = (stdout: string): string[] =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/^\d+ bytes in /, ""));

peerTest("a strict receiver", ["python3"], async () => {
  using dir = tempDir();
  const path = dir.file("journal");
  const fixture = join(root, "test/fixtures/log-peer.py");
  await using receiver = start(["python3", fixture, "journal", path]);
  await receiver.lineWith("ready");
  for (const waker of wakers) {
    const said = await runScript(example, [path], { env: { BUNIX_WAKER: waker } });
    expect(told(succeeded(said))).toEqual(large);
    const entries: unknown[] = [];
    while (entries.length < 3) entries.push(JSON.parse(await receiver.lineWith("{")));
    const common = { PRIORITY: "6", SYSLOG_IDENTIFIER: "bunix" };
    expect(entries).toEqual([
      { via: "datagram", fields: { MESSAGE: "started", ...common, ANSWER: "42" } },
      { via: "datagram", fields: { MESSAGE: "two\nlines", ...common, RAW: "\0\n\xff" } },
      { via: "memfd", fields: { MESSAGE: "large", ...common, DUMP: dump } },
    ]);
  }
});

const needs = [...apart, journald, "journalctl"];

peerTest("systemd-journald: all three entries are in the journal", needs, async () => {
  using dir = tempDir();
  await using journal = await startJournald(dir);
  const options = ["--directory", journal.files, "--output=json", "--all", "--lines=all"];
  await using reader = start(["journalctl", ...options, "--follow", "_TRANSPORT=journal"]);
  const said = await runScript(example, [`${journal.address}/socket`]);
  expect(told(succeeded(said))).toEqual(large);
  const read = async (): Promise<Record<string, unknown>> =>
    JSON.parse(await reader.lineWith("SYSLOG_IDENTIFIER"));
  const [first, second, third] = [await read(), await read(), await read()];
  const common = { PRIORITY: "6", SYSLOG_IDENTIFIER: "bunix", _TRANSPORT: "journal" };
  expect(first).toMatchObject({ ...common, MESSAGE: "started", ANSWER: "42" });
  expect(second).toMatchObject({ ...common, MESSAGE: "two\nlines", RAW: [0, 10, 255] });
  expect(third).toMatchObject({ ...common, MESSAGE: "large", DUMP: dump });
  expect(new Set([first, second, third].map((entry) => entry["_PID"])).size).toBe(1);
});
