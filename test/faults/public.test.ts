// Every public function and method is part of an operation that is driven through faults, or stands
// below with the reason why not. Who adds one has to say which.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { root } from "../support/child.ts";

/** By name, or "Class.*" for all of a class. */
const reasons: Readonly<Record<string, string>> = {
  adoptServer: "serveOn under its former name",
  configureLoop: "sets a number",
  formatAddress: "makes no call",
  inheritedFds: "inherited.test.ts: it takes a process of its own",
  inheritedFdsByName: "inheritedFds, in another order",
  parentChannel: "inherited.test.ts: it takes a process of its own",
  parentMessages: "parentChannel, and then openChannel",
  parseAddress: "makes no call",
  signalName: "makes no call that can fail",
  signalNumber: "makes no call that can fail",
  "Message.json": "makes no call",
  "BaseSocket.onClose": "keeps a callback",
};

const SOURCES = join(root, "src/");
const FOLDER = join(root, "test/faults/");
const INDEX = join(SOURCES, "index.ts");

/** Of many classes: the driver calls close() itself, waiting.test.ts the others by an interface. */
const everywhere = new Set(["close", "ref", "unref"]);

const files = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => join(FOLDER, name));
const config = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
const program = ts.createProgram([INDEX, ...files], options);
const checker = program.getTypeChecker();

const isIn = (folder: string, node: ts.Node): boolean =>
  node.getSourceFile().fileName.startsWith(folder);

/** "Class.method", or the function's own name. */
function nameOf(declaration: ts.Declaration): string {
  const { parent } = declaration;
  const own = (declaration as { name?: ts.Node }).name?.getText() ?? "";
  return ts.isClassDeclaration(parent) ? `${parent.name?.text}.${own}` : own;
}

const resolved = (symbol: ts.Symbol): ts.Symbol =>
  (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol);

/** Methods with names of their own, made here: no accessors, nothing private or internal. */
function methodsOf(type: ts.Type): ts.Declaration[] {
  return checker
    .getPropertiesOfType(type)
    .filter(({ name }) => !/^__/.test(name) && !everywhere.has(name))
    .flatMap((one) => one.declarations ?? [])
    .filter((one) => ts.isMethodDeclaration(one) && ts.isIdentifier(one.name) && isIn(SOURCES, one))
    .filter((one) => ts.getJSDocTags(one).every(({ tagName }) => tagName.text !== "internal"))
    .filter(
      (one) =>
        (ts.getCombinedModifierFlags(one) & ts.ModifierFlags.NonPublicAccessibilityModifier) === 0,
    );
}

function publicNames(): Set<string> {
  const names = new Set<string>();
  const index = checker.getSymbolAtLocation(program.getSourceFile(INDEX)!)!;
  for (const symbol of checker.getExportsOfModule(index).map(resolved)) {
    const value = symbol.valueDeclaration;
    if (value === undefined) continue;
    const type = checker.getTypeOfSymbol(symbol);
    if ((symbol.flags & ts.SymbolFlags.Class) !== 0) {
      const own = [...methodsOf(checker.getDeclaredTypeOfSymbol(symbol)), ...methodsOf(type)];
      for (const one of own) names.add(nameOf(one));
    } else if (type.getCallSignatures().length > 0) names.add(nameOf(value));
  }
  return names;
}

/** What the operations of these files call, also by way of their own helpers. */
class Used {
  readonly names = new Set<string>();
  readonly #seen = new Set<ts.Node>();

  visit(node: ts.Node): void {
    if (this.#seen.has(node)) return;
    this.#seen.add(node);
    if (ts.isIdentifier(node)) this.#note(node);
    node.forEachChild((child) => this.visit(child));
  }

  #note(node: ts.Identifier): void {
    const symbol = checker.getSymbolAtLocation(node);
    for (const one of symbol === undefined ? [] : (resolved(symbol).declarations ?? [])) {
      if (isIn(SOURCES, one)) this.names.add(nameOf(one));
      else if (isIn(FOLDER, one) && !ts.isParameter(one)) this.visit(one);
    }
  }
}

/** `run` of each underFaults. */
function* runs(node: ts.Node): Generator<ts.Node> {
  if (ts.isCallExpression(node) && node.expression.getText() === "underFaults") {
    const operation = node.arguments[1];
    if (operation !== undefined && ts.isObjectLiteralExpression(operation)) {
      yield* operation.properties.filter((one) => one.name?.getText() === "run");
    }
  }
  for (const child of node.getChildren()) yield* runs(child);
}

function used(): Set<string> {
  const found = new Used();
  for (const file of files) for (const run of runs(program.getSourceFile(file)!)) found.visit(run);
  return found.names;
}

test("every public function and method is driven through faults, or has a reason not to be", () => {
  const [all, driven] = [publicNames(), used()];
  const excused = (name: string): boolean =>
    name in reasons || `${name.split(".")[0]}.*` in reasons;
  const missing = [...all].filter((name) => !driven.has(name) && !excused(name));
  expect(missing.sort()).toEqual([]);
  expect(all.size).toBeGreaterThan(100);
  const idle = Object.keys(reasons).filter((name) => driven.has(name) || !mentions(all, name));
  expect(idle).toEqual([]); // it is driven, or gone
});

const mentions = (all: ReadonlySet<string>, name: string): boolean =>
  name.endsWith(".*") ? [...all].some((one) => one.startsWith(name.slice(0, -1))) : all.has(name);
