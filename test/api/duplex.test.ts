// toDuplex(): a drop-in for net.Socket that carries descriptors.

import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import http from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, gunzipSync } from "node:zlib";
import { type DescriptorDuplex, Fd, listen, socketPair } from "../../src/index.ts";
import { noServeHttp, testUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import {
  closeAll,
  codeOf,
  eventually,
  isCloseOnExec,
  isOpen,
  leakFree,
  marked,
  markOf,
  must,
  pattern,
  readExactly,
  thrown,
  turns,
} from "./tools.ts";

type Stream = DescriptorDuplex & Duplex;

/** A duplex and the socket at its other end. */
function open(): { duplex: Stream; far: ReturnType<typeof socketPair<"stream">>[1] } & Disposable {
  const [near, far] = socketPair("stream");
  const duplex = near.toDuplex();
  const close = (): void => {
    duplex.destroy();
    far.close();
  };
  return { duplex, far, [Symbol.dispose]: close };
}

/** What happens on a duplex, in its order: "fds:a,b" and "data:text". Descriptors are closed. */
function logged(duplex: Stream): string[] {
  const log: string[] = [];
  duplex.on("fds", (fds) => {
    log.push(`fds:${fds.map((fd) => markOf(fd)).join()}`);
    duplex.closeFds(fds);
  });
  duplex.on("data", (data: Buffer) => log.push(`data:${data}`));
  duplex.on("end", () => log.push("end"));
  duplex.on("close", () => log.push("close"));
  return log;
}

describe("bytes", () => {
  test("both directions, byte for byte, with back-pressure", () =>
    leakFree(async () => {
      using pair = open();
      const bytes = pattern(4 * 2 ** 20);
      const answer = readExactly(pair.far, bytes.length);
      let writes = 0;
      for (let at = 0; at < bytes.length; at += 65_536) {
        if (!pair.duplex.write(bytes.subarray(at, at + 65_536))) {
          await once(pair.duplex, "drain");
          writes += 1;
        }
      }
      expect((await answer).equals(bytes)).toBe(true);
      expect(writes).toBeGreaterThan(0);
      const sending = pair.far.send(bytes);
      const parts: Buffer[] = [];
      let got = 0;
      for await (const part of pair.duplex) {
        parts.push(part);
        got += part.length;
        if (got === bytes.length) break;
      }
      await sending;
      expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    }));

  test("half open: end() ends one direction, the peer's end the other, then it closes", () =>
    leakFree(async () => {
      using pair = open();
      const log = logged(pair.duplex);
      pair.duplex.end("last");
      expect(must(await pair.far.receive()).text()).toBe("last");
      expect(await pair.far.receive()).toBeNull();
      await pair.far.send("answer");
      await eventually(() => log.includes("data:answer"), "the answer");
      pair.far.end();
      await eventually(() => log.includes("close"), "close");
      expect(log).toEqual(["data:answer", "end", "close"]);
      expect(pair.duplex.destroyed).toBe(true);
    }));

  test("pipeline through a transform", () =>
    leakFree(async () => {
      using pair = open();
      const zipping = pipeline(["hello ".repeat(1000)], createGzip(), pair.duplex.resume());
      const parts: Uint8Array[] = [];
      for await (const message of pair.far) parts.push(message.data);
      pair.far.close();
      await zipping;
      expect(gunzipSync(Buffer.concat(parts)).toString()).toBe("hello ".repeat(1000));
    }));

  test("text with an encoding, and pause", async () => {
    using pair = open();
    pair.duplex.setEncoding("utf8");
    const texts: string[] = [];
    pair.duplex.on("data", (text: string) => texts.push(text));
    await pair.far.send(Buffer.from("€").subarray(0, 2));
    await pair.far.send(Buffer.from("€").subarray(2));
    await eventually(() => texts.join("") === "€", "the whole character");
    pair.duplex.pause();
    pair.duplex.write("é");
    expect(must(await pair.far.receive()).text()).toBe("é");
  });

  test("destroy closes the socket: the peer sees the end, waiting writes fail", () =>
    leakFree(async () => {
      using pair = open();
      const problem = new Error("on purpose");
      const errors: unknown[] = [];
      pair.duplex.on("error", (error) => errors.push(error));
      const written = new Promise((resolve) => {
        pair.duplex.write(Buffer.alloc(2 ** 21), resolve);
      });
      await turns();
      pair.duplex.destroy(problem);
      expect(await written).toBeInstanceOf(Error);
      await eventually(() => errors.length > 0, "the error event");
      expect(errors).toEqual([problem]);
      let got = 0;
      for await (const message of pair.far) got += message.data.length;
      expect(got).toBeLessThan(2 ** 21);
    }));

  test("a reset is an error event with its code", async () => {
    using pair = open();
    const failed = once(pair.duplex, "error");
    pair.duplex.resume();
    pair.duplex.write("unread");
    await turns();
    pair.far.close();
    const [error] = await failed;
    expect(["ECONNRESET", "EPIPE"]).toContain(error.code);
    expect(pair.duplex.destroyed).toBe(true);
  });

  test("a closed socket has no duplex", async () => {
    const [near, far] = socketPair("stream");
    closeAll([near, far]);
    expect(await codeOf(() => near.toDuplex())).toBe("ERR_CLOSED");
  });
});

describe("descriptors", () => {
  test("'fds' comes before the data that they came with", () =>
    leakFree(async () => {
      using pair = open();
      const log = logged(pair.duplex);
      using a = marked("a");
      using b = marked("b");
      await pair.far.send("one", { fds: [a] });
      await pair.far.send("two", { fds: [b, a] });
      pair.far.end();
      await eventually(() => log.includes("end"), "the end");
      expect(log.filter((line) => line !== "close")).toEqual([
        "fds:a",
        "data:one",
        "fds:b,a",
        "data:two",
        "end",
      ]);
    }));

  test("those that come are the listener's, and close-on-exec", () =>
    leakFree(async () => {
      using pair = open();
      using a = marked("a");
      const coming = once(pair.duplex, "fds");
      pair.duplex.resume();
      await pair.far.send("x", { fds: [a] });
      const [[number]] = (await coming) as [[number]];
      pair.duplex.destroy();
      expect([markOf(number), isCloseOnExec(number)]).toEqual(["a", true]);
      Fd.adopt(number).close();
    }));

  test("without a listener they are closed", () =>
    leakFree(async () => {
      using pair = open();
      const [inside, outside] = socketPair("stream");
      await pair.far.send("x", { fds: [inside] });
      inside.close();
      pair.duplex.resume();
      expect(await outside.receive()).toBeNull(); // nobody holds the other end any more
      outside.close();
    }));

  test("closeFds closes", () => {
    using pair = open();
    const numbers = [marked("a").release(), marked("b").release()];
    pair.duplex.closeFds(numbers);
    expect(numbers.map(isOpen)).toEqual([false, false]);
  });

  test("writeWithFds duplicates: the originals may be closed at once", () =>
    leakFree(async () => {
      using pair = open();
      const a = marked("a");
      expect(pair.duplex.writeWithFds(Buffer.from("x"), [a])).toBe(true);
      a.close();
      using message = must(await pair.far.receive());
      expect([message.text(), message.fds.map(markOf)]).toEqual(["x", ["a"]]);
    }));

  test("corked or not, descriptors never ride on another write", () =>
    leakFree(async () => {
      for (const corked of [false, true]) {
        using pair = open();
        using a = marked("a");
        using b = marked("b");
        const same = Buffer.from("same");
        if (corked) pair.duplex.cork();
        pair.duplex.write("before-");
        pair.duplex.writeWithFds(same, [a]);
        pair.duplex.writeWithFds(same, [b, b]);
        pair.duplex.write(same);
        pair.duplex.write("-after");
        if (corked) pair.duplex.uncork();
        pair.duplex.end();
        // read byte by byte: each descriptor comes exactly with the first byte of its own write
        const seen: string[] = [];
        let at = 0;
        for (;;) {
          using message = (await pair.far.receive({ maxBytes: 1 })) ?? null;
          if (message === null) break;
          if (message.fds.length > 0) seen.push(`${at}:${message.fds.map(markOf).join()}`);
          at += 1;
        }
        expect(seen).toEqual(["7:a", "11:b,b"]);
        expect(at).toBe("before-samesamesame-after".length);
      }
    }));

  test("wrong arguments are refused at once, and nothing is written", () =>
    leakFree(async () => {
      using pair = open();
      using a = marked("a");
      const gone = marked("gone").release();
      Fd.adopt(gone).close();
      const { duplex } = pair;
      const bytes = Buffer.from("x");
      expect(() => duplex.writeWithFds(Buffer.alloc(0), [a])).toThrow(RangeError);
      expect(() => duplex.writeWithFds("x" as unknown as Uint8Array, [a])).toThrow(TypeError);
      expect(() => duplex.writeWithFds(bytes, Array(254).fill(a))).toThrow(RangeError);
      expect(await codeOf(() => duplex.writeWithFds(bytes, [a, gone]))).toBe("EBADF");
      duplex.write("only this");
      using message = must(await pair.far.receive());
      expect([message.text(), message.fds.length]).toEqual(["only this", 0]);
    }));

  test("destroy closes the duplicates of writes that never went out", () =>
    leakFree(async () => {
      using pair = open();
      using a = marked("a");
      pair.duplex.on("error", () => {});
      pair.duplex.write(Buffer.alloc(2 ** 21));
      pair.duplex.writeWithFds(Buffer.from("x"), [a, a]);
      pair.duplex.writeWithFds(Buffer.from("y"), [a]);
      await turns();
      pair.duplex.destroy();
      await once(pair.duplex, "close");
    }));

  test("a write after end fails and leaks nothing", () =>
    leakFree(async () => {
      using pair = open();
      using a = marked("a");
      const failed = once(pair.duplex, "error");
      pair.duplex.end();
      await turns();
      await thrown(() => {
        pair.duplex.writeWithFds(Buffer.from("x"), [a]);
        throw new Error("reached");
      });
      await failed;
    }));
});

const noConnections = noServeHttp();

testUnless(noConnections, "an HTTP server takes it for a net.Socket", async () => {
  const path = freshPath();
  using server = listen(path);
  const web = http.createServer((request, response) => {
    response.setHeader("connection", "close");
    response.end(`you asked for ${request.url}`);
  });
  const serving = server.accept().then((socket) => web.emit("connection", socket.toDuplex()));
  const text = new Promise<string>((resolve, reject) => {
    const request = http.get({ socketPath: path, path: "/duplex" }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        body += part;
      });
      response.on("end", () => resolve(body));
    });
    request.on("error", reject);
  });
  await serving;
  expect(await text).toBe("you asked for /duplex");
});
