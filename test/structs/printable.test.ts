// Text of others as it is shown: nothing in it moves a cursor, turns a line round or ends it.

import { describe, expect, test } from "bun:test";
import { UnixError, UnsupportedError } from "../../src/base/errors.ts";
import { printable, toJson } from "../../src/base/printable.ts";

/** Each kind that a terminal, a log or a reader obeys, and its neighbours that they do not. */
const obeyed = [
  ...["\0", "\t", "\n", "\r", "\x1b", "\x1f", "\x7f", "\x80", "\x9b", "\x9f"],
  ...["\u061c", "\u200b", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202e"],
  ...["\u2066", "\u2069", "\ufeff", "\u{e0001}"],
];
const harmless = 'a \\ " ~ \xa0 é ж 漢 🐘 \\x1b';

describe("printable", () => {
  test("no such character is left, and the bytes can be read", () => {
    for (const one of obeyed) {
      const bytes = [...new TextEncoder().encode(one)].map((byte) => byte.toString(16));
      const shown = bytes.map((byte) => `\\x${byte.padStart(2, "0")}`).join("");
      expect(printable(`<${one}>`)).toBe(`<${shown}>`);
    }
  });

  test("all other text stays, and what was escaped stays so", () => {
    expect(printable(harmless)).toBe(harmless);
    const once = printable(obeyed.join(""));
    expect(printable(once)).toBe(once);
  });
});

describe("toJson", () => {
  test("means what JSON means, without such a character", () => {
    const value = { [obeyed.join("|")]: [obeyed.join("-"), harmless, 1, null] };
    for (const indent of [undefined, 2]) {
      const text = toJson(value, indent);
      expect(JSON.parse(text)).toEqual(value);
      expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      expect(text.split("\n").length).toBe(JSON.stringify(value, null, indent).split("\n").length);
    }
    expect(toJson(obeyed.slice(-1))).toBe(String.raw`["\udb40\udc01"]`);
  });

  test("what has no JSON is named", () => {
    expect(toJson(undefined)).toBe("undefined");
    expect(toJson(() => {})).toBe("function");
  });
});

test("errors show what others chose escaped, whichever part it came in", () => {
  const bad = obeyed.join("");
  const error = new UnixError("bind", -98, { address: `/${bad}`, hint: `process 1 (${bad})` });
  for (const text of [error.message, String(error.address), String(error.path)]) {
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(text).toContain("\\x1b");
  }
  expect(new UnsupportedError("x", `so ${bad}`).message).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
});
