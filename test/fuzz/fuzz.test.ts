// Every input of the corpus, then some seconds of new ones; hours: npm run fuzz -- --minutes 60.

import { describe, expect, test } from "bun:test";
import { bunix } from "../cli/tools.ts";
import { fewer } from "../support/child.ts";
import { corpus, fuzz, replay, type Target, toHex } from "./engine.ts";
import { protocols } from "./protocols.ts";
import { texts } from "./texts.ts";
import { memory } from "./views.ts";

const RUNS = Number(process.env["BUNIX_FUZZ_RUNS"] ?? fewer(1_000));

describe.each([...protocols, ...texts, ...memory])("$name", (target) => {
  test("what once failed, and the seeds", async () => {
    const inputs = [...target.seeds, ...corpus(target.name), new Uint8Array(0)];
    for (const bytes of inputs) await replay(target, bytes);
  });

  test(`${Math.ceil(RUNS / (target.cost ?? 1))} new inputs`, async () => {
    const failure = await fuzz(target, RUNS);
    if (failure === null) return;
    const { name } = target;
    throw new Error(
      `add to test/fuzz/corpus/${name}.hex: ${toHex(failure.input)}\n${failure.reason}`,
    );
  });
});

test("the fuzzer finds what is there to be found, and makes it small", async () => {
  const faulty: Target = {
    name: "faulty",
    seeds: [new TextEncoder().encode("a name and its end")],
    run(bytes) {
      if (bytes.includes(0xff)) throw new Error("found");
    },
  };
  const failure = await fuzz(faulty, 20_000);
  expect(failure?.reason).toContain("found");
  expect(failure?.input.length).toBeLessThan(40);
});

const hostile: readonly (readonly string[])[] = [
  [],
  [""],
  ["--"],
  ["-"],
  ["probe"],
  ["probe", ""],
  ["probe", "--type"],
  ["probe", "--type", "\u{1b}[31m", "x"],
  ["probe", "@".padEnd(200, "x")],
  ["probe", "/".padEnd(5_000, "x")],
  ["probe", "--json", "@\\x00\\xff", "more"],
  ["ls", "--type=\u202e"],
  ["ls", "--__proto__"],
  ["__proto__"],
  ["constructor", "--json"],
  ["postbox", "/dev/null/x"],
  ["doctor", "--json=1"],
];

describe("the command as a whole: an end that means something, and never a stack", () => {
  test.each(hostile.map((args) => [JSON.stringify(args).slice(0, 50), args] as const))(
    "%s",
    async (_, args) => {
      const { code, stdout, stderr } = await bunix(args);
      expect([0, 1, 2, 3, 64, 71]).toContain(code ?? -1);
      expect(stderr).not.toMatch(/\n\s+at /);
      expect(stdout + stderr).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
    },
  );
});
