// What is an UnsupportedError on macOS says so where it is declared. Whether it is one there is
// tried by test/darwin/absence.ts, which has the same list.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { absent } from "../darwin/absent.ts";
import { root } from "../support/child.ts";
import { checker, exportsOf } from "./published.ts";

const all = exportsOf("index");

/** The docstring of a name, or of a "Type.member", with its tags. */
function docOf(name: string): string {
  const [owner, member] = name.split(".") as [string, string?];
  const symbol = all.get(owner);
  if (symbol === undefined) throw new Error(`${owner} is not exported`);
  const found = member === undefined ? symbol : memberOf(symbol, member);
  const tags = found.getJsDocTags(checker).map(({ text }) => ts.displayPartsToString(text));
  return [ts.displayPartsToString(found.getDocumentationComment(checker)), ...tags].join("\n");
}

function memberOf(symbol: ts.Symbol, member: string): ts.Symbol {
  const types = [checker.getDeclaredTypeOfSymbol(symbol)];
  if ((symbol.flags & ts.SymbolFlags.Class) !== 0) types.push(checker.getTypeOfSymbol(symbol));
  const found = types.map((type) => checker.getPropertyOfType(type, member)).find(Boolean);
  if (found === undefined) throw new Error(`${symbol.name} has no ${member}`);
  return found;
}

test("each docstring says that it is not on macOS", () => {
  const silent = Object.keys(absent).filter((name) => !/\bnot on\s+macOS\b/i.test(docOf(name)));
  expect(silent).toEqual([]);
});

test("no docstring says so of what the list does not have", () => {
  const inList = new Set(Object.keys(absent).flatMap((name) => [name, name.split(".")[0]!]));
  const wrong: string[] = [];
  for (const [name, symbol] of all) {
    const members = symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface);
    const text = (symbol.declarations ?? []).map((one) => one.getFullText()).join("\n");
    const says = /\bnot on\s+macOS\b/i.test(members === 0 ? docOf(name) : text);
    if (says && !inList.has(name)) wrong.push(name);
  }
  expect(wrong).toEqual([]);
});

test("the page about macOS names what is not there", () => {
  const page = readFileSync(join(root, "docs/macos.md"), "utf8");
  const owners = new Set(Object.keys(absent).map((name) => name.split(".").at(-1)!));
  for (const general of ["AddressInput", "parseAddress", "SocketType", "type", "of", "signal"]) {
    owners.delete(general); // said in words
  }
  expect([...owners].filter((name) => !page.includes(name))).toEqual([]);
});
