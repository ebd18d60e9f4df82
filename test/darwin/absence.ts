// What macOS does not have says so when it is called, and in `capabilities()`: each of absent.ts.
// run.ts runs this file.

import { expect, test } from "bun:test";
import { type Capability, capabilities, UnsupportedError } from "../../src/index.ts";
import { absent, without } from "./absent.ts";

const all = Object.entries(capabilities()).filter(
  (entry): entry is [string, Capability] =>
    typeof entry[1] === "object" && entry[1] !== null && "available" in entry[1],
);

async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    return error;
  }
}

for (const [name, { capability, call }] of Object.entries(absent)) {
  test(`${name} is an UnsupportedError: ${capability}`, async () => {
    const error = await thrownBy(call);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect((error as UnsupportedError).capability).toBe(capability);
  });
}

test("what capabilities() does not have is what is listed, and no more", () => {
  const missing = all.filter(([, { available }]) => !available).map(([name]) => name);
  const listed = new Set<string>(Object.values(absent).map(({ capability }) => capability));
  for (const name of Object.keys(without)) listed.add(name);
  expect(missing.sort()).toEqual([...listed].sort());
});
