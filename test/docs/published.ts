// What a user's compiler and editor see of the package: the doors and all that they export, without
// what is @internal, which stripInternal leaves out of the published declarations.

import { globSync } from "node:fs";
import { basename, join } from "node:path";
import ts from "typescript";
import { root } from "../support/child.ts";

/** The doors' names as in package.json's exports: "fd", "index", … */
export const doors: readonly string[] = globSync("src/*.ts", { cwd: root })
  .map((file) => basename(file, ".ts"))
  .sort();

const fileOf = (door: string): string => join(root, `src/${door}.ts`);
const config = ts.readConfigFile(join(root, "tsconfig.build.json"), ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
const program = ts.createProgram(doors.map(fileOf), { ...options, noEmit: true });

export const checker: ts.TypeChecker = program.getTypeChecker();

/** Whether something is declared by this package. */
export const isOurs = (node: ts.Node): boolean => {
  const { fileName } = node.getSourceFile();
  return fileName.startsWith(join(root, "src/")) || fileName.startsWith(join(root, "native/"));
};

export const isInternal = (node: ts.Node): boolean =>
  ts.getJSDocTags(node).some(({ tagName }) => tagName.text === "internal");

/** What the door exports: the symbols that are meant, by name. */
export function exportsOf(door: string): Map<string, ts.Symbol> {
  const module = checker.getSymbolAtLocation(program.getSourceFile(fileOf(door))!)!;
  const found = new Map<string, ts.Symbol>();
  for (const one of checker.getExportsOfModule(module)) {
    const alias = (one.flags & ts.SymbolFlags.Alias) !== 0;
    const symbol = alias ? checker.getAliasedSymbol(one) : one;
    if (!(symbol.declarations ?? []).every(isInternal)) found.set(one.name, symbol);
  }
  return found;
}

/** Whether it is there when the program runs, or a type alone. */
export const isValue = ({ flags }: ts.Symbol): boolean => (flags & ts.SymbolFlags.Value) !== 0;
