// What the guides warn of is so: docs/owned-address.md, "Serving many at a time".

import { expect, test } from "bun:test";
import { connect, listen } from "../../src/index.ts";
import { run, start, writeSource } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";

const server = (path: string, body: string): string => `import { listen } from "@/src/index.ts";
${body.replace("PATH", JSON.stringify(path))}`;

test("a listener of the top level's `using` that is not awaited: the program ends", async () => {
  using dir = tempDir();
  const [path, trap, right] = ["s", "trap.ts", "right.ts"].map((name) => dir.file(name));
  const not = "using server = listen(PATH); void server.consume((client) => client.close());";
  writeSource(dir, server(path!, `${not} console.log("up");`), "trap.ts");
  const ended = await run([process.execPath, trap!]);
  expect(ended).toMatchObject({ code: 0, stdout: "up\n", stderr: "" });
  const awaited = not.replace("void", 'console.log("up"); await');
  writeSource(dir, server(path!, awaited), "right.ts");
  await using child = start([process.execPath, right!]);
  await child.lineWith("up");
  using client = await connect(path!);
  expect(await client.receive()).toBeNull();
});

test("consume serves one connection at a time, serve all", async () => {
  using dir = tempDir();
  for (const how of ["consume", "serve"] as const) {
    using listener = listen(dir.file(how));
    const [first, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const seen: number[] = [];
    const done = listener[how](async (socket) => {
      using _ = socket;
      seen.push(seen.length);
      first.resolve();
      await go.promise;
    });
    using one = await connect(listener.address);
    await first.promise;
    using two = await connect(listener.address);
    if (how === "serve") while (seen.length < 2) await Bun.sleep(1);
    else for (let turn = 0; turn < 20; turn++) await Bun.sleep(1);
    expect(seen.length).toBe(how === "serve" ? 2 : 1);
    go.resolve();
    expect([await one.receive(), await two.receive()]).toEqual([null, null]);
    expect(seen.length).toBe(2);
    listener.close();
    await done;
  }
});
