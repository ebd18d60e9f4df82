// Ends of pipes that somebody else opened become readers and writers, and so do message queues.

import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync } from "node:fs";
import {
  Fd,
  FifoReader,
  FifoWriter,
  MessageQueue,
  makeFifo,
  NotAFifoError,
  pipe,
  socketPair,
  spawn,
} from "../../src/index.ts";
import { run, succeeded, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { freshQueueName } from "./queues.ts";
import { codeOf, isCloseOnExec, leakFree, thrown } from "./tools.ts";

const { O_RDWR, O_NONBLOCK } = constants;

describe("an end of a pipe", () => {
  test("is read, line by line, to its end", () =>
    leakFree(async () => {
      const ends = pipe();
      using reader = FifoReader.adopt(ends.read, { endWhenWritersLeave: true });
      expect(ends.read.closed).toBe(true); // it is the reader's
      expect(reader.path).toMatch(/^pipe:\[\d+\]$/);
      expect(isCloseOnExec(reader.fd)).toBe(true);
      using writer = FifoWriter.adopt(ends.write);
      expect(writer.hasReader).toBe(true);
      await writer.write("one\ntwo\n");
      writer.close();
      const lines: string[] = [];
      for await (const line of reader.lines()) lines.push(line);
      expect(lines).toEqual(["one", "two"]);
      expect(await reader.read()).toBeNull();
    }));

  test("of an object with an fd a duplicate is used, a number is owned", () =>
    leakFree(async () => {
      using ends = pipe();
      using reader = FifoReader.adopt({ fd: ends.read.fd });
      expect(reader.fd).not.toBe(ends.read.fd);
      const number = ends.write.release();
      using writer = FifoWriter.adopt(number);
      expect(writer.fd).toBe(number);
      expect(writer.tryWrite("x")).toBe(1);
      expect(Buffer.from((await reader.read())!).toString()).toBe("x");
    }));

  test("a FIFO that is open for both, as systemd has it: no writer is the last", () =>
    leakFree(async () => {
      using dir = tempDir();
      const path = dir.file("fifo");
      makeFifo(path);
      using reader = FifoReader.adopt(openSync(path, O_RDWR | O_NONBLOCK));
      expect(reader.path).toBe(path);
      for (const text of ["first", "second"]) {
        const reading = reader.read();
        succeeded(await run(["sh", "-c", 'printf %s "$1" > "$2"', "sh", text, path]));
        expect(Buffer.from((await reading)!).toString()).toBe(text);
      }
      expect(reader.writersLeft).toBe(false);
      expect(reader.tryRead()).toBeUndefined();
    }));

  test("one that blocks does not block this thread", () =>
    leakFree(async () => {
      using ends = pipe({ child: "read" });
      using reader = FifoReader.adopt(ends.read);
      expect(reader.tryRead()).toBeUndefined();
    }));

  test("what is no such end is refused, and stays the caller's", () =>
    leakFree(async () => {
      using ends = pipe();
      const [a, b] = socketPair("stream");
      const file = openSync(import.meta.path, "r");
      const cases: [() => unknown, string][] = [
        [() => FifoReader.adopt(ends.write), "EBADF"],
        [() => FifoWriter.adopt(ends.read), "EBADF"],
        [() => FifoReader.adopt(99_999), "EBADF"],
        [() => FifoReader.adopt(a), "ERR_NOT_A_FIFO"],
        [() => FifoWriter.adopt(file), "ERR_NOT_A_FIFO"],
      ];
      for (const [call, code] of cases) expect(await codeOf(call)).toBe(code);
      const error = await thrown(() => FifoReader.adopt(a));
      expect(error).toBeInstanceOf(NotAFifoError);
      expect((error as NotAFifoError).found).toBe("socket");
      expect(await thrown(() => FifoReader.adopt("0" as never))).toBeInstanceOf(TypeError);
      expect(await thrown(() => FifoReader.adopt(-1))).toBeInstanceOf(RangeError);
      const wrong = () => FifoWriter.adopt(ends.write, { maxQueuedBytes: -1 });
      expect(await thrown(wrong)).toBeInstanceOf(RangeError);
      expect([ends.read.closed, ends.write.closed, a.closed]).toEqual([false, false, false]);
      closeSync(file);
      a.close();
      b.close();
    }));
});

peerTest("inherited ones: a FIFO and a queue from inheritedFds()", ["python3"], () =>
  leakFree(async () => {
    using dir = tempDir();
    const path = dir.file("fifo");
    makeFifo(path);
    const name = freshQueueName();
    using queue = MessageQueue.open(name, { create: true, unlinkOnOpen: true });
    using fifo = Fd.adopt(openSync(path, O_RDWR | O_NONBLOCK));
    const source = `
      import { FifoReader, inheritedFds, MessageQueue } from "@/src/index.ts";
      const found = Object.fromEntries(inheritedFds().map(({ name, fd, description }) =>
        [name, { fd, kind: description.kind }]));
      using reader = FifoReader.adopt(found.fifo.fd);
      using queue = MessageQueue.adopt(found.queue.fd);
      console.log("ready");
      const chunk = await reader.read();
      const message = await queue.receive();
      console.log(JSON.stringify([found.fifo.kind, found.queue.kind, String(Buffer.from(chunk)),
        message.text(), message.priority]));`;
    const program = writeSource(dir, source);
    const child = spawn([process.execPath, program], { fds: { fifo, queue }, stdout: "pipe" });
    succeeded(await run(["python3", "-c", `open(${JSON.stringify(path)}, "w").write("by name")`]));
    await queue.send("urgent", { priority: 7 });
    const said = await new Response(child.stdout as ReadableStream).text();
    expect(await child.exited).toBe(0);
    const last = said.trim().split("\n").at(-1) ?? "";
    expect(JSON.parse(last)).toEqual(["pipe", "message-queue", "by name", "urgent", 7]);
  }),
);
