// Variadic functions of Apple's arm64 (facts: #variadic-functions). Where its compiler puts an
// argument without a name; that nine declared arguments put it there, too; and that our calls
// through bun:ffi do, with a library that takes its arguments from there.

import { dlopen, type FFIFunction } from "bun:ffi";
import { expect, test } from "bun:test";
import { arch } from "../../native/platform.ts";
import { ARGUMENT_REGISTERS, posix, type Signature, variadic } from "../../native/symbols.ts";
import { paddedSignatures, withPadding } from "../../src/syscalls/variadic.ts";
import { compileForMac, maybeNoApple, noAppleCompiler } from "../darwin/apple.ts";
import { compileCSource, missing } from "../support/peers.ts";
import { foreignCompiler, testUnless } from "../support/unless.ts";

const group: Record<string, Signature> = Object.fromEntries(
  Object.keys(variadic)
    .filter((name) => name in posix)
    .map((name) => [name, posix[name as keyof typeof posix]]),
);
// not called on macOS so far, and told apart by its pointer
group["ioctl"] = { args: ["i32", "u64", "ptr"], returns: "i32" };
const named = (name: string): number => variadic[name] ?? 2;

const cTypes = { i32: "int", u32: "unsigned", u64: "unsigned long", ptr: "void *" } as const;

/** A function that makes one call, so that one can look where its arguments go. */
function caller(name: string, callee: string, fillers: number): string {
  const { args } = group[name]!;
  const parameters = args.map((type, i) => `${cTypes[type as keyof typeof cTypes]} a${i}`);
  const passed = args.map((_, i) => `a${i}`);
  passed.splice(named(name), 0, ...new Array<string>(fillers).fill("0"));
  return `int ${name}_${callee}(${parameters.join(", ")}) {
    return ${callee === "variadic" ? name : `${callee}_${name}`}(${passed.join(", ")}) + 1; }`;
}

/** A declaration without "...": all arguments are named, with so many between that mean nothing. */
function fixed(name: string, callee: string, fillers: number): string {
  const types = group[name]!.args.map((type) => cTypes[type as keyof typeof cTypes] as string);
  const [first, rest] = [types.slice(0, named(name)), types.slice(named(name))];
  if (fillers > 0) first.push(...new Array<string>(fillers).fill("int"));
  const last = fillers === 0 ? rest : rest.map((type) => (type.endsWith("*") ? type : "long"));
  return `extern int ${callee}_${name}(${[...first, ...last].join(", ")});`;
}

function appleTest(title: string, fn: () => Promise<void>): void {
  const reason = noAppleCompiler();
  if (reason === null || !maybeNoApple) testUnless(reason, title, fn, 60_000);
  else console.log(`note: ${title}: ${reason}`);
}

appleTest("Apple's compiler puts it where the ninth argument is", async () => {
  const source = ["#include <fcntl.h>", "#include <sys/ioctl.h>"];
  for (const name of Object.keys(group)) {
    const fillers = ARGUMENT_REGISTERS - named(name);
    source.push(fixed(name, "padded", fillers), fixed(name, "plain", 0));
    source.push(caller(name, "variadic", 0), caller(name, "padded", fillers));
    source.push(caller(name, "plain", 0));
  }
  const { made, said } = await compileForMac("arm64", source.join("\n"), ["-S", "-O1", "-g0"]);
  expect(said).toBe("");
  /** Whether the function's code stores to the bottom of its stack before the call. */
  const onStack = (name: string): boolean => {
    const [, body = ""] = made.split(`_${name}:`);
    const [before = "", after] = body.split(/\tbl\t/);
    expect(after, name).toBeDefined();
    return /\tst[rp]\t[wx]\d+(?:, [wx]\d+)?, \[sp\]\n/.test(before);
  };
  const found = Object.keys(group).map((name) => [
    name,
    ...["variadic", "padded", "plain"].map((callee) => onStack(`${name}_${callee}`)),
  ]);
  expect(found).toEqual(Object.keys(group).map((name) => [name, true, true, false]));
});

/** Answers what lies at the bottom of its caller's stack, where Apple's va_arg begins. */
const onArm64 = `
__asm__(".globl on_stack\\non_stack:\\n ldr x0, [sp]\\n ret\\n");
__asm__(".globl in_register\\nin_register:\\n mov x0, x2\\n ret\\n");`;
/** The same question on x64, where it lies above two others and the return address. */
const onX64 = `
__asm__(".globl on_stack\\non_stack:\\n mov 24(%rsp), %rax\\n ret\\n");
__asm__(".globl in_register\\nin_register:\\n mov %rdx, %rax\\n ret\\n");`;

const crossed = foreignCompiler() !== null && arch === "arm64";
const compiler = crossed ? "aarch64-linux-gnu-gcc" : "cc";

testUnless(missing([compiler]), `our calls put it there (${arch})`, () => {
  const source = arch === "arm64" ? onArm64 : onX64;
  const library = compileCSource("on-stack", source, ["-shared", "-fPIC"], compiler);
  const signature: Signature = { args: ["i32", "i32", "i64"], returns: "i64_fast" };
  const names = ["on_stack", "in_register"];
  const open = (signatures: Record<string, Signature>) =>
    dlopen(library, signatures as unknown as Record<string, FFIFunction>).symbols;
  const plain = open(Object.fromEntries(names.map((name) => [name, signature])));
  // under the name of one that is known to be variadic
  const { fcntl } = paddedSignatures({ fcntl: signature });
  const padded = open(Object.fromEntries(names.map((name) => [name, fcntl!])));
  const call = (symbols: typeof plain, name: string): unknown => {
    const calls = { fcntl: symbols[name] };
    const made = symbols === padded ? withPadding(calls) : calls;
    return (made as { fcntl: (...args: number[]) => unknown }).fcntl(7, 4, 123_456_789_012);
  };
  for (let i = 0; i < 20; i++) {
    expect(call(padded, "on_stack")).toBe(123_456_789_012);
    expect(call(padded, "in_register")).toBe(0);
    expect(call(plain, "in_register")).toBe(123_456_789_012);
    expect(call(plain, "on_stack")).not.toBe(123_456_789_012);
  }
});

test("only what is variadic is padded", () => {
  const padded = paddedSignatures(posix);
  const changed = Object.keys(posix).filter((name) => padded[name] !== posix[name as "fcntl"]);
  expect(changed.sort()).toEqual(["fcntl", "open"]);
  expect(padded["fcntl"]!.args).toHaveLength(ARGUMENT_REGISTERS + 1);
  expect(padded["open"]!.args.slice(0, 2)).toEqual(["ptr", "i32"]);
});
