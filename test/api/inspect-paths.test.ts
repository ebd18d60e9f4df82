// probe: links, and what else may be at a path.

import { expect, test } from "bun:test";
import { lstatSync, symlinkSync } from "node:fs";
import { listen, probe } from "../../src/index.ts";
import { tempDir } from "../support/tmp.ts";
import { failure } from "./tools.ts";

test("links: what they lead to, unless they are not to be followed", () => {
  using dir = tempDir();
  using _listener = listen(dir.file("s"));
  symlinkSync("s", dir.file("link"));
  expect(probe(dir.file("link"))).toMatchObject({
    found: "a symbolic link to a socket",
    file: { ino: lstatSync(dir.file("link")).ino },
  });
  const found = probe(dir.file("link"), { follow: false });
  expect([found.state, found.found]).toEqual(["not-a-socket", "a symbolic link"]);
});

test("a file where a directory should be: ENOTDIR, which says so", async () => {
  const error = await failure(() => probe("/dev/null/x"));
  expect([error.code, error.syscall, error.path]).toEqual(["ENOTDIR", "lstat", "/dev/null/x"]);
});

test("what kind of file is in the way, in words", () => {
  using dir = tempDir();
  symlinkSync("/dev/null", dir.file("link"));
  expect(probe(dir.path).found).toBe("a directory");
  expect(probe("/dev/null").found).toBe("a device");
  expect(probe(dir.file("link")).found).toBe("a symbolic link to a device");
});
