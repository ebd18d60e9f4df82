// listener.consume: every connection, handed to a function.

import { describe, expect, spyOn, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { connect, listen, type StreamSocket } from "../../src/index.ts";
import { failures, fake } from "../support/seam.ts";
import { freshPath } from "./pairs.ts";
import { closeAll, codeOf, eventually, leakFree, must, thrown, turns } from "./tools.ts";

const MANY = 300;

describe.each(["stream", "seqpacket"] as const)("%s", (type) => {
  test("every connection comes, whether it was there before or not", () =>
    leakFree(async () => {
      const path = freshPath();
      using server = listen(path, { type });
      const clients: { close(): void }[] = [];
      const accepted: { close(): void }[] = [];
      for (let i = 0; i < 3; i++) clients.push(await connect(path, { type }));
      const ended = server.consume((socket) => void accepted.push(socket));
      for (let i = 3; i < MANY; i++) clients.push(await connect(path, { type }));
      await eventually(() => accepted.length === MANY, "all are accepted");
      expect(server.connections).toBe(MANY);
      server.close();
      await ended;
      closeAll([...clients, ...accepted]);
      expect(server.connections).toBe(0);
    }));
});

test("the next connection waits for the promise of the handler", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path);
    const accepted: StreamSocket[] = [];
    const gate = Promise.withResolvers<void>();
    const ended = server.consume((socket) => {
      accepted.push(socket);
      return gate.promise;
    });
    using first = await connect(path);
    using second = await connect(path);
    await eventually(() => accepted.length > 0, "the first one is accepted");
    await turns();
    expect(accepted.length).toBe(1);
    gate.resolve();
    await eventually(() => accepted.length === 2, "the second one is accepted");
    for (const [i, client] of [first, second].entries()) {
      await client.send(`${i}`);
      expect(must(await accepted[i]!.receive()).text()).toBe(`${i}`);
    }
    closeAll(accepted);
    server.close();
    await ended;
  }));

test("what the handler throws ends it, and the listener goes on", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path);
    const reason = new Error("no more");
    const ended = server.consume((socket) => {
      socket.close();
      throw reason;
    });
    using _first = await connect(path);
    expect(await thrown(() => ended)).toBe(reason);
    using _second = await connect(path);
    (await server.accept()).close();
  }));

test("a handler that closes the listener has ended it", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path);
    const ended = server.consume((socket) => {
      server.close();
      socket.close();
    });
    using _client = await connect(path);
    await ended;
    expect(await codeOf(() => server.consume(() => {}))).toBe("ERR_CLOSED");
  }));

test("a signal ends it with its reason; before or meanwhile", () =>
  leakFree(async () => {
    using server = listen(freshPath());
    const [before, meanwhile] = [new AbortController(), new AbortController()];
    before.abort("before");
    expect(await thrown(() => server.consume(() => {}, before))).toBe("before");
    const ended = server.consume(() => {}, meanwhile);
    await turns();
    meanwhile.abort("meanwhile");
    expect(await thrown(() => ended)).toBe("meanwhile");
  }));

test("out of descriptors it waits and tries again, with longer pauses; nobody is lost", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path);
    const accepted: StreamSocket[] = [];
    using warnings = spyOn(process, "emitWarning").mockImplementation(() => {});
    const ended = server.consume((socket) => void accepted.push(socket));
    {
      using calls = fake("accept4", failures(errno.EMFILE, 4));
      using _client = await connect(path);
      await eventually(() => accepted.length === 1, "it is accepted in the end");
      expect(calls.calls.length).toBeGreaterThan(4);
      expect(warnings).toHaveBeenCalledTimes(1);
    }
    closeAll(accepted);
    server.close();
    await ended;
  }));
