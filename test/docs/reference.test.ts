// npm run docs: every export is documented, and what the documentation refers to is there.

import { expect, test } from "bun:test";
import { join } from "node:path";
import manifest from "../../package.json";
import typedoc from "../../typedoc.json";
import { root, run, slower } from "../support/child.ts";

const TIMEOUT_MS = 120_000;

test("each module that can be imported has a page", () => {
  const modules = Object.keys(manifest.exports)
    .filter((key) => key !== "." && key !== "./package.json")
    .map((key) => `src${key.slice(1)}.ts`);
  expect(typedoc.entryPoints).toEqual(modules.sort());
});

test(
  "the reference can be written without a warning",
  async () => {
    const command = [process.execPath, join(root, "node_modules/.bin/typedoc"), "--emit", "none"];
    const { code, stdout, stderr } = await run(command, {
      env: { NO_COLOR: "1", FORCE_COLOR: undefined },
      timeoutMs: TIMEOUT_MS,
    });
    expect(`${stdout}${stderr}`).not.toMatch(/warning|error/i);
    expect(code).toBe(0);
  },
  TIMEOUT_MS * slower,
);

test("warnings count as errors", () => {
  expect(typedoc.treatWarningsAsErrors).toBe(true);
  expect(Object.values(typedoc.validation)).toEqual([true, true, true]);
});
