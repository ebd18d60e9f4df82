// Every public member says what it is: shape, unit, errors, whose it is.

import { expect, test } from "bun:test";
import ts from "typescript";
import { checker, exportsOf, isInternal, isOurs } from "./published.ts";

const all = exportsOf("index");
const MIN_MEMBERS = 500;
const MIN_OPTIONS = 100;

const hidden = ts.ModifierFlags.NonPublicAccessibilityModifier;

/** Those that have a name of their own: no Symbol.dispose and the like, nothing private. */
function isPublic(member: ts.Symbol): boolean {
  if (/^(?:#|__)/.test(member.name) || member.name === "prototype") return false;
  const declarations = (member.declarations ?? []).filter(isOurs);
  return (
    declarations.length > 0 &&
    !declarations.some(isInternal) &&
    declarations.every((one) => (ts.getCombinedModifierFlags(one) & hidden) === 0)
  );
}

const typesOf = (type: ts.Type): readonly ts.Type[] =>
  type.isUnion() ? type.types.flatMap(typesOf) : [type];

/** Of an instance, or of the type; and what is static. */
function membersOf(symbol: ts.Symbol): ts.Symbol[] {
  const named = ts.SymbolFlags.Class | ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias;
  if ((symbol.flags & named) === 0) return [];
  const types = [...typesOf(checker.getDeclaredTypeOfSymbol(symbol))];
  if ((symbol.flags & ts.SymbolFlags.Class) !== 0) types.push(checker.getTypeOfSymbol(symbol));
  return types
    .filter((type) => (type.flags & ts.TypeFlags.Object) !== 0)
    .flatMap((type) => checker.getPropertiesOfType(type))
    .filter(isPublic);
}

const members = [...all].flatMap(([name, symbol]) =>
  membersOf(symbol).map((member) => ({ name: `${name}.${member.name}`, member })),
);

/** In one line, as in `{ readonly fd: number }`: what the type's own docstring speaks of. */
const isInOneLine = (node: ts.Node): boolean =>
  ts.isTypeLiteralNode(node.parent) && !node.parent.getText().includes("\n");

const isDocumented = (member: ts.Symbol): boolean =>
  member.getDocumentationComment(checker).length > 0 ||
  (member.declarations ?? []).every((one) => isInOneLine(one));

test("every public member has a docstring", () => {
  expect(new Set(members.map(({ name }) => name)).size).toBeGreaterThan(MIN_MEMBERS);
  const bare = members.filter(({ member }) => !isDocumented(member));
  expect([...new Set(bare.map(({ name }) => name))].sort()).toEqual([]);
});

/** `signal?: AbortSignal` in an option, without undefined. */
function isClosed(member: ts.Symbol): boolean {
  return (member.declarations ?? []).some(
    (one) =>
      ts.isPropertySignature(one) &&
      one.questionToken !== undefined &&
      !/\bundefined\b/.test(one.type?.getText() ?? ""),
  );
}

/** The options of every function and method, whether they have a name or not. */
function optionsOf(symbol: ts.Symbol): ts.Symbol[] {
  return checker
    .getTypeOfSymbol(symbol)
    .getCallSignatures()
    .flatMap((call) => call.getParameters())
    .filter(({ name }) => name === "options" || name === "__0")
    .map((one) => checker.getNonNullableType(checker.getTypeOfSymbol(one)))
    .flatMap((type) => typesOf(type).flatMap((one) => checker.getPropertiesOfType(one)))
    .filter((one) => (one.declarations ?? []).some(isOurs));
}

test("options may be undefined, so that they can be passed on as they came", () => {
  const functions = [...all].filter(([, { flags }]) => (flags & ts.SymbolFlags.Function) !== 0);
  const callable = [
    ...functions.map(([name, symbol]) => ({ name, member: symbol })),
    ...members.filter(({ member }) => (member.flags & ts.SymbolFlags.Method) !== 0),
  ];
  const options = callable.flatMap(({ name, member }) =>
    optionsOf(member).map((option) => ({ name: `${name}({ ${option.name} })`, option })),
  );
  expect(options.length).toBeGreaterThan(MIN_OPTIONS);
  expect(options.filter(({ option }) => isClosed(option)).map(({ name }) => name)).toEqual([]);
});
