// The names and answers of send-fd, and what /proc says of a process.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  decodeAnswer,
  decodeOffer,
  encodeAnswer,
  encodeOffer,
} from "../../src/structs/fd-offer.ts";
import { decodeStart, decodeStatus } from "../../src/structs/process-status.ts";
import { maxNameBytes } from "../../src/structs/sockaddr-un.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("a name says who and for whom, and fits the longest there can be", () => {
  const longest = { pid: 2 ** 22, start: "18446744073709551615" };
  for (const offered of [
    { from: { pid: 1, start: "0" }, to: { pid: 4711, start: "123456" } },
    { from: longest, to: longest },
  ]) {
    const name = encodeOffer(offered, "0123456789abcdef");
    expect(name.length).toBeLessThanOrEqual(maxNameBytes);
    expect(decodeOffer(name)).toEqual(offered);
  }
  const name = encodeOffer({ from: { pid: 1, start: "2" }, to: { pid: 3, start: "4" } }, "5a");
  expect(Buffer.from(name).toString()).toBe("bunix/send-fd/1 1 2 3 4 5a");
});

test("what is no name", () => {
  for (const text of [
    "",
    "bunix/send-fd/1",
    "bunix/send-fd/1 1 2 3 4",
    "bunix/send-fd/1 1 2 3 4 xyz",
    "bunix/send-fd/1 1 2 3 4 5 6",
    "bunix/send-fd/1 1 2 3 -4 5",
    "bunix/send-fd/2 1 2 3 4 5",
    " bunix/send-fd/1 1 2 3 4 5",
    "bunix/send-fd/1 1 2 3 4 5\n",
    "bunix/send-fd/1 1 2 3 4 5\0",
  ]) {
    expect(decodeOffer(bytes(text)), JSON.stringify(text)).toBeNull();
  }
  expect(decodeOffer(new Uint8Array([0xff, 0xfe]))).toBeNull();
});

test("answers", () => {
  for (const errno of [0, 13, 111]) expect(decodeAnswer(encodeAnswer(errno))).toBe(errno);
  expect([...encodeAnswer(13)]).toEqual([13, 0, 0, 0]);
  for (const wrong of [[], [0], [0, 0, 0], [0, 0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff]]) {
    expect(decodeAnswer(new Uint8Array(wrong))).toBeNull();
  }
  expect(decodeAnswer(new Uint8Array([9, 13, 0, 0, 0]).subarray(1))).toBe(13);
});

test("the status of a process", () => {
  const status = decodeStatus(readFileSync("/proc/self/status", "utf8"));
  expect(status?.pids.at(-1)).toBe(process.pid);
  const [uid, gid] = [process.getuid?.() ?? -1, process.getgid?.() ?? -1];
  expect(status).toMatchObject({ uids: [uid, uid, uid], gids: [gid, gid, gid] });
  const text = [
    "Name:\tSigCgt:\t5",
    "Uid:\t1\t2\t3\t4",
    "Gid:\t5\t6\t7\t8",
    "NSpid:\t900\t7",
    "SigIgn:\t0000000000000001",
    "SigCgt:\t8000000000000000",
    "CapPrm:\t000001ffffffffff",
    "CapEff:\t0000000000080000",
  ];
  expect(decodeStatus(text.join("\n"))).toEqual({
    pids: [900, 7],
    uids: [1, 2, 3],
    gids: [5, 6, 7],
    permitted: 0x1ffffffffffn,
    effective: 0x80000n,
    ignored: 1n,
    caught: 1n << 63n,
    filtered: false,
  });
  expect(decodeStatus([...text, "Seccomp:\t2"].join("\n"))?.filtered).toBe(true);
  for (const line of text.slice(1)) {
    expect(decodeStatus(text.filter((other) => other !== line).join("\n"))).toBeNull();
  }
});

test("the start of a process, whatever it calls itself", () => {
  const rest = Array.from({ length: 48 }, (_, i) => i + 4).join(" ");
  for (const name of ["cat", "a) R 1 2 3", "((", "x y"]) {
    expect(decodeStart(`12 (${name}) S ${rest}\n`)).toBe("22");
  }
  for (const text of ["", "12 (cat) S 1", "12 (cat"]) expect(decodeStart(text)).toBeNull();
  expect(decodeStart(readFileSync("/proc/self/stat", "utf8"))).toMatch(/^\d+$/);
});
