// examples/syslog.ts: the daemons of busybox and of systemd find in its lines what was meant.

import { expect } from "bun:test";
import { join } from "node:path";
import { root, runScript, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { apart, journald, startJournald, startSyslogd, wakers } from "./daemons.ts";

const example = "examples/syslog.ts";
const needs = [...apart, journald, "journalctl"];
const messages = ["started", "the disk is nearly full: 97 %", "π is not 3"];

/** What was sent, taken apart. */
function sent(stdout: string) {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => {
      const parts = /^<(\d+)>(\w{3} [ \d]\d \d\d:\d\d:\d\d) (\S+)\[(\d+)\]: (.*)$/.exec(line);
      const [, priority, date, tag, pid, message] = parts ?? [];
      return { line, priority: Number(priority), date, tag, pid, message };
    });
}

peerTest("a receiver gets the lines as they are, one to a datagram", ["python3"], async () => {
  using dir = tempDir();
  const path = dir.file("log");
  await using receiver = start(["python3", join(root, "test/fixtures/log-peer.py"), "text", path]);
  await receiver.lineWith("ready");
  for (const waker of wakers) {
    const said = await runScript(example, [path, "waker"], { env: { BUNIX_WAKER: waker } });
    const lines = sent(succeeded(said));
    expect(lines.map(({ priority }) => priority)).toEqual([14, 28, 187]);
    expect(lines.map(({ tag, message }) => `${tag}: ${message}`)).toEqual(
      messages.map((message) => `waker: ${message}`),
    );
    for (const { line } of lines) expect(JSON.parse((await receiver.line()) ?? "")).toBe(line);
  }
});

peerTest("busybox's syslogd", ["busybox", ...apart], async () => {
  await using syslogd = await startSyslogd();
  const lines = sent(succeeded(await runScript(example, [syslogd.address])));
  const names = ["user.info", "daemon.warn", "local7.err"];
  for (const [i, { date, pid, message }] of lines.entries()) {
    const logged = (await syslogd.child.line()) ?? "";
    expect(logged).toStartWith(`${date} `); // it knows a date where it sees one
    expect(logged).toEndWith(` ${names[i]} bunix[${pid}]: ${message}`);
  }
});

peerTest("systemd-journald, which is /dev/log on many machines", needs, async () => {
  using dir = tempDir();
  await using journal = await startJournald(dir);
  const options = ["--directory", journal.files, "--output=json", "--lines=all", "--follow"];
  await using reader = start(["journalctl", ...options, "_TRANSPORT=syslog"]);
  const said = await runScript(example, [`${journal.address}/dev-log`]);
  for (const { priority, pid, message, date } of sent(succeeded(said))) {
    const entry = JSON.parse(await reader.lineWith("SYSLOG_IDENTIFIER"));
    expect(entry).toMatchObject({
      PRIORITY: String(priority % 8),
      SYSLOG_FACILITY: String(Math.floor(priority / 8)),
      SYSLOG_IDENTIFIER: "bunix",
      SYSLOG_PID: pid,
      SYSLOG_TIMESTAMP: `${date} `,
      MESSAGE: message,
      _PID: pid,
    });
  }
});
