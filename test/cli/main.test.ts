// What all commands share: help, version, and what is said to whoever uses them wrongly.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { printable } from "../../src/base/printable.ts";
import { commands } from "../../src/cli/commands.ts";
import { root } from "../support/child.ts";
import { bunix } from "./tools.ts";

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

test("help, asked for in any way", async () => {
  const { stdout } = await bunix(["help"]);
  for (const { name, takes, about } of commands) {
    expect(stdout).toContain(`  bunix ${name}${takes === "" ? "" : ` ${takes}`} `);
    expect(stdout).toContain(about);
  }
  for (const words of ["--json", "64", "71", "BUNIX_DEBUG"]) expect(stdout).toContain(words);
  for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(95);
  for (const args of [["--help"], ["-h"]]) {
    expect(await bunix(args)).toMatchObject({ stdout, stderr: "", code: 0 });
  }
  expect(JSON.parse((await bunix(["help", "--json"])).stdout)).toHaveLength(commands.length);
});

describe("help of one command: every option, and how it ends", () => {
  for (const { name, options, ends } of commands) {
    test(name, async () => {
      const { stdout, stderr, code } = await bunix([name, "--help"]);
      expect([stderr, code]).toEqual(["", 0]);
      expect(stdout).toStartWith(`bunix ${name}`);
      for (const option of options) expect(stdout).toContain(`  --${option.name} `);
      for (const [end, meaning] of ends ?? []) {
        expect(stdout).toMatch(new RegExp(`^  ${end} +${meaning.slice(0, 10)}`, "m"));
      }
      for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
      expect((await bunix(["help", name])).stdout).toBe(stdout);
    });
  }

  test("-h too; after -- it is an argument", async () => {
    const { stdout } = await bunix(["ls", "-h"]);
    expect(stdout).toStartWith("bunix ls");
    const { stdout: found, code } = await bunix(["ls", "--", "--help"]);
    expect([found.startsWith("TYPE"), code]).toEqual([true, 0]);
  });
});

test("the version is package.json's", async () => {
  for (const args of [["--version"], ["version"]]) {
    const stdout = `${manifest.version}\n`;
    expect(await bunix(args)).toMatchObject({ stdout, stderr: "", code: 0 });
  }
  const { stdout } = await bunix(["version", "--json"]);
  expect(JSON.parse(stdout)).toEqual({ bunix: manifest.version, bun: Bun.version });
});

describe("used wrongly: 64, a sentence and a hint on standard error, nothing else", () => {
  const cases: readonly (readonly [args: readonly string[], says: string])[] = [
    [[], "which command?"],
    [["frobnicate"], '"frobnicate"'],
    [["porbe", "/x"], "did you mean probe?"],
    [["lisen", "/x"], "did you mean listen?"],
    [["help", "doktor"], "did you mean doctor?"],
    [["ls", "--lisening"], "no option --lisening; did you mean --listening?"],
    [["ls", "--json", "-q"], "no option -q\n"],
    [["ls", "--toString"], "no option --toString\n"],
    [["ls", "--json=1"], "--json"],
    [["listen"], "listen where?"],
    [["listen", "/x", "--seqpacket", "--datagram"], "not both"],
    [["listen", "/x", "--raw", "--json"], "not both"],
    [["send"], "send where?"],
    [["send", "/x", "y", "--timeout", "soon"], "--timeout is"],
    [["send", "/x", "y", "--signal", "SIGRTMIN+1"], "--pid"],
    [["send", "--pid", "0", "--fd", "0", "--signal", "SIGRTMIN+1"], "--pid is"],
    [["send", "--pid", "1", "--fd", "0"], "--signal"],
    [["send", "--pid", "1", "--signal", "SIGRTMIN+1"], "one --fd"],
    [["send", "--pid", "1", "--fd", "0", "--signal", "SIGUSR1"], "SIGUSR1"],
    [["completion"], "which shell?"],
    [["completion", "csh"], "csh"],
    [["probe"], "probe what?"],
    [["probe", "a", "b"], "too many"],
    [["probe", "/x", "--type", "pipe"], "--type is"],
    [["probe", "/x", "--type"], "--type"],
    [["probe", ""], "empty"],
    [["probe", `@${"x".repeat(108)}`], "107"],
    [["ls", "--nope"], "--nope"],
    [["ls", "a", "b"], "too many"],
    [["doctor", "now"], "too many"],
    [["postbox", "a", "b"], "too many"],
    [["doctor", "--json=yes"], "--json"],
  ];
  for (const [args, says] of cases) {
    test(`bunix ${args.join(" ").slice(0, 40)}`, async () => {
      const { stdout, stderr, code } = await bunix(args);
      expect([stdout, code]).toEqual(["", 64]);
      expect(stderr).toStartWith("bunix: ");
      expect(stderr).toContain(says);
      expect(stderr).toContain("bunix help");
      expect(stderr).not.toContain("    at ");
    });
  }
});

test("what the system refuses: 71, with the call, the code and the address", async () => {
  const { stdout, stderr, code } = await bunix(["probe", "/dev/null/x"]);
  expect([stdout, code]).toEqual(["", 71]);
  expect(stderr).toContain("lstat ENOTDIR: not a directory /dev/null/x (a part of its path");
});

test("this file's first line finds Bun", () => {
  const source = readFileSync(join(root, "src/cli/main.ts"), "utf8");
  expect(source.split("\n")[0]).toBe("#!/usr/bin/env bun");
});

test("text that a terminal would obey is escaped", () => {
  expect(printable("a\x1b[31m\u202eb\nc")).toBe("a\\x1b[31m\\xe2\\x80\\xaeb\\x0ac");
  expect(printable("plain täxt")).toBe("plain täxt");
});
