// Fuzzing: text from users, the environment, /proc and other programs.

import { expect } from "bun:test";
import { inheritedFds } from "../../src/activation/inherited-fds.ts";
import { checkFdName, encodeState } from "../../src/activation/state.ts";
import { watchdog } from "../../src/activation/watchdog.ts";
import { formatAddress, parseAddress } from "../../src/address/address.ts";
import { UnixError } from "../../src/base/errors.ts";
import { printable } from "../../src/base/printable.ts";
import { parse, typeOption, UsageError } from "../../src/cli/options.ts";
import { LineBuffer } from "../../src/fifo/lines.ts";
import { type SignalName, signalName, signalNumber } from "../../src/signals/names.ts";
import { decodeEpollInfo } from "../../src/structs/epoll-info.ts";
import { isHandoverName } from "../../src/structs/handover-frame.ts";
import { decodeStart, decodeStatus } from "../../src/structs/process-status.ts";
import type { Target } from "./engine.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** What `call` gives; undefined where it throws one of `allowed`. */
function unless<T>(
  allowed: readonly (new (...args: never[]) => Error)[],
  call: () => T,
): T | undefined {
  try {
    return call();
  } catch (error) {
    if (allowed.some((one) => error instanceof one)) return undefined;
    throw error;
  }
}

const addresses: Target = {
  name: "address",
  seeds: ["/run/x", "@name", "\0a\0b", "./@x", "\\x41\\x00", "@\\xff\\xfe", "a\\\\x41"].map(utf8),
  run(bytes) {
    const inputs = [textOf(bytes), { path: bytes }, { abstract: bytes }];
    for (const input of inputs) {
      const address = unless([TypeError, RangeError], () => parseAddress(input));
      if (address === undefined) continue;
      const text = formatAddress(address);
      expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      const again = parseAddress(text);
      expect(again.kind).toBe(address.kind);
      expect(formatAddress(again)).toBe(text);
      if (!text.startsWith("./@")) expect(again).toEqual(address);
    }
  },
};

const STATUS = [
  "Name:\tbun",
  "Uid:\t0\t0\t0\t0",
  "Gid:\t0\t0\t0\t0",
  "NSpid:\t9\t7",
  "SigIgn:\t0000000000000001",
  "SigCgt:\t8000000000000000",
  "CapPrm:\t000001ffffffffff",
  "CapEff:\t0000000000080000",
].join("\n");

const proc: Target = {
  name: "proc",
  seeds: [
    STATUS,
    `12 (a) b) S ${"1 ".repeat(30)}`,
    "tfd: 9 events: 19 data: 9 pos:0 ino:c05 sdev:8",
  ].map(utf8),
  run(bytes) {
    const text = textOf(bytes);
    const status = decodeStatus(text);
    if (status !== null) {
      const numbers = [...status.pids, ...status.uids, ...status.gids];
      expect(numbers.every((number) => Number.isSafeInteger(number) && number >= 0)).toBe(true);
    }
    expect(decodeStart(text) ?? "0").toMatch(/^\d+$/);
    for (const { fd, events, inode } of decodeEpollInfo(text)) {
      expect([fd, events, inode].every((number) => number >= 0)).toBe(true);
    }
  },
};

const signalNames: Target = {
  name: "signal-names",
  seeds: ["SIGUSR1", "SIGRTMIN", "SIGRTMIN+3", "SIGRTMAX-1", "10", "SIGCLD", "constructor"].map(
    utf8,
  ),
  run(bytes) {
    for (const input of [textOf(bytes), Number(textOf(bytes))]) {
      const number = unless([TypeError, RangeError], () => signalNumber(input as SignalName));
      if (number === undefined) continue;
      expect(number >= 1 && number <= 64).toBe(true);
      const name = signalName(number);
      if (!/^SIG\d/.test(name)) expect(signalNumber(name as SignalName)).toBe(number);
    }
  },
};

/** Set variables, call, and put the environment back. */
function within<T>(variables: Readonly<Record<string, string>>, call: () => T): T {
  Object.assign(process.env, variables);
  try {
    return call();
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}

/** More than any list of names that the fuzzer makes has: so nothing is ever taken over. */
const MANY = "1000000";

/** How many names, by a walk of its own; null: it ends in a lone backslash. */
function namesIn(text: string): number | null {
  if (text === "") return 0;
  let count = 1;
  const characters = Array.from(text);
  for (let i = 0; i < characters.length; i++) {
    if (characters[i] === ":") count++;
    else if (characters[i] === "\\" && ++i === characters.length) return null;
  }
  return count;
}

const listenNames: Target = {
  name: "listen-fdnames",
  seeds: ["a:b", "a\\:b:c\\\\", ":::", "\\", "späť:\u{1f600}"].map(utf8),
  run(bytes) {
    const names = textOf(bytes).replaceAll("\0", "");
    const LISTEN_PID = String(process.pid);
    const error = within({ LISTEN_PID, LISTEN_FDS: MANY, LISTEN_FDNAMES: names }, () => {
      try {
        return inheritedFds();
      } catch (error) {
        return error;
      }
    });
    if (!(error instanceof UnixError)) throw error;
    const count = namesIn(names);
    const said = count === null ? "lone backslash" : `LISTEN_FDNAMES has ${count}:`;
    expect([error.code, error.message]).toEqual(["EINVAL", expect.stringContaining(said)]);
  },
};

const environment: Target = {
  name: "environment",
  seeds: ["30000000", "0", "18446744073709551615", "-1", "1e3", " 5", "0x10", "１"].map(utf8),
  run(bytes) {
    const value = textOf(bytes).replaceAll("\0", "");
    const found = within({ WATCHDOG_USEC: value }, () => unless([UnixError], () => watchdog()));
    if (found) expect(found.timeoutMs > 0 && found.intervalMs >= 1).toBe(true);
    found?.close();
    const decimal = /^[0-9]+$/.test(value);
    if (!decimal) expect(found).toBeUndefined();
    const own = { LISTEN_PID: value, LISTEN_FDS: MANY, LISTEN_FDNAMES: "x" };
    const taken = within(own, () => unless([UnixError], inheritedFds));
    if (taken !== undefined) expect([decimal, taken]).toEqual([true, []]);
    const foreign = { LISTEN_PID: String(process.pid), LISTEN_FDS: MANY, LISTEN_PIDFDID: value };
    const others = within({ ...foreign, LISTEN_FDNAMES: "x" }, () =>
      unless([UnixError], inheritedFds),
    );
    if (others !== undefined) expect([decimal, others]).toEqual([true, []]);
  },
};

const states: Target = {
  name: "notify-state",
  seeds: ["all is well", "two\nREADY=1", "a\rb", "x=y", "X_NAME", "späť"].map(utf8),
  run(bytes) {
    const text = textOf(bytes);
    const expected = [TypeError, RangeError];
    const status = unless(expected, () => encodeState({ status: text }));
    if (status !== undefined) expect(status).toBe(`STATUS=${text}`);
    expect(status === undefined).toBe(/[\n\r\0]/.test(text) || bytes.length > 4_000);
    const named = unless(expected, () => encodeState({ ready: true, variables: { [text]: text } }));
    if (named !== undefined) expect(named).toBe(`READY=1\n${text}=${text}`);
    const fdName = unless(expected, () => checkFdName(text));
    if (fdName !== undefined) expect(isHandoverName(fdName)).toBe(true);
  },
};

const commandLines: Target = {
  name: "command-line",
  seeds: [
    "--json\n@x",
    "--type\nstream\n/run/x",
    "--type=datagram",
    "--\n--json",
    "-h",
    "--no-json",
  ].map(utf8),
  run(bytes) {
    const args = textOf(bytes).split("\n");
    const wanted = { flags: ["listening", "no-holders"], values: ["type"], max: 1 };
    const parsed = unless([UsageError], () => parse(args, wanted));
    if (parsed !== undefined) {
      expect(parsed.rest.length <= 1).toBe(true);
      const type = unless([UsageError], () => typeOption(parsed));
      expect([undefined, "stream", "seqpacket", "datagram"]).toContain(type);
    }
    expect(printable(textOf(bytes))).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  },
};

const MAX_LINE = 4_096;

/** Where to cut is taken from the bytes themselves. */
const lines: Target = {
  name: "lines",
  seeds: ["one\ntwo\nthree", "\n\n", "no end", "späť\n\u{1f600}\r\n"].map(utf8),
  run(bytes) {
    const buffer = new LineBuffer();
    const found: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      const step = 1 + (bytes[at]! % 7);
      buffer.push(bytes.slice(at, at + step));
      at += step;
      for (let line = buffer.line(MAX_LINE); line !== undefined; line = buffer.line(MAX_LINE)) {
        found.push(line);
      }
    }
    found.push(buffer.lastLine());
    const whole = new TextDecoder("utf-8", { ignoreBOM: true });
    const latin = Buffer.from(bytes).toString("latin1").split("\n");
    expect(found).toEqual(latin.map((line) => whole.decode(Buffer.from(line, "latin1"))));
  },
};

/** All of them. */
export const texts: readonly Target[] = [
  addresses,
  proc,
  signalNames,
  listenNames,
  environment,
  states,
  commandLines,
  lines,
];
