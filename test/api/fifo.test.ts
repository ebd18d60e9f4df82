// FIFOs between two ends of this process: what waits, what ends, what is told apart.

import { describe, expect, test } from "bun:test";
import { lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { makeFifo } from "../../src/fifo/file.ts";
import { NotAFifoError } from "../../src/fifo/not-a-fifo.ts";
import { openFifo } from "../../src/fifo/open.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { tempDir } from "../support/tmp.ts";
import { fifo, stillWaits, text } from "./fifos.ts";
import { codeOf, leakFree, pattern, thrown, turns, withLibc } from "./tools.ts";

/** How often `name` is called while `body` runs. */
async function count(name: "read" | "open", body: () => Promise<void>): Promise<number> {
  let calls = 0;
  const real = libc[name] as (...args: unknown[]) => number;
  const counting = (...args: unknown[]): number => {
    calls += 1;
    return real(...args);
  };
  await withLibc({ [name]: counting }, body);
  return calls;
}

describe("makeFifo", () => {
  for (const umask of [0o000, 0o022, 0o077, 0o777]) {
    test(`the mode is exact under umask ${umask.toString(8)}, which stays`, () => {
      using dir = tempDir();
      const before = process.umask(umask);
      try {
        for (const mode of [0o600, 0o622, 0o666, 0o777, 0o000, 0o1640]) {
          const path = dir.file(mode.toString(8));
          expect(makeFifo(path, { mode })).toBe(true);
          expect(lstatSync(path).mode & 0o7777).toBe(mode);
          expect(lstatSync(path).isFIFO()).toBe(true);
        }
        expect(process.umask()).toBe(umask);
      } finally {
        process.umask(before);
      }
    });
  }

  test("without a mode the umask decides", () => {
    using dir = tempDir();
    const before = process.umask(0o027);
    makeFifo(dir.file("f"));
    process.umask(before);
    expect(lstatSync(dir.file("f")).mode & 0o7777).toBe(0o640);
  });

  test("never more than asked for, not for a moment", async () => {
    using dir = tempDir();
    const modes: number[] = [];
    const { mkfifo, chmod } = libc;
    await withLibc(
      {
        mkfifo(path, mode) {
          modes.push(mode);
          return mkfifo(path, mode);
        },
        chmod(path, mode) {
          modes.push(mode);
          return chmod(path, mode);
        },
      },
      () => void makeFifo(dir.file("f"), { mode: 0o620 }),
    );
    expect(modes[0]).toBe(0o620);
    expect(modes.every((mode) => (mode & ~0o620) === 0)).toBe(true);
  });

  test("a file put in its place meanwhile is left alone", async () => {
    using dir = tempDir();
    const path = dir.file("f");
    writeFileSync(path, "theirs", { mode: 0o600 });
    await withLibc({ mkfifo: () => 0 }, async () => {
      expect(await codeOf(() => makeFifo(path, { mode: 0o666 }))).toBe("ESTALE");
    });
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
  });

  test("exclusive: whatever is there is in the way", async () => {
    using dir = tempDir();
    makeFifo(dir.file("fifo"));
    writeFileSync(dir.file("file"), "");
    symlinkSync("nowhere", dir.file("link"));
    for (const name of ["fifo", "file", "link"]) {
      expect(await codeOf(() => makeFifo(dir.file(name)))).toBe("EEXIST");
    }
    expect(await codeOf(() => makeFifo(dir.file("none/f")))).toBe("ENOENT");
  });

  test("not exclusive: a FIFO is fine, and nothing else", async () => {
    using dir = tempDir();
    makeFifo(dir.file("fifo"), { mode: 0o600 });
    expect(makeFifo(dir.file("fifo"), { mode: 0o666, exclusive: false })).toBe(false);
    expect(lstatSync(dir.file("fifo")).mode & 0o777).toBe(0o600);
    writeFileSync(dir.file("file"), "kept");
    mkdirSync(dir.file("directory"));
    symlinkSync("fifo", dir.file("symlink"));
    for (const name of ["file", "directory", "symlink"] as const) {
      const error = await thrown(() => makeFifo(dir.file(name), { exclusive: false }));
      expect(error).toBeInstanceOf(NotAFifoError);
      expect(error).toMatchObject({ code: "ERR_NOT_A_FIFO", found: name, path: dir.file(name) });
    }
  });

  test("wrong arguments throw before any call", async () => {
    expect(await thrown(() => makeFifo(""))).toBeInstanceOf(TypeError);
    expect(await thrown(() => makeFifo("a\0b"))).toBeInstanceOf(TypeError);
    expect(await thrown(() => makeFifo("/x/y", { mode: 0o10000 }))).toBeInstanceOf(RangeError);
    const number = 1 as unknown as string;
    expect(await thrown(() => makeFifo(number))).toBeInstanceOf(TypeError);
  });
});

describe("openFifo", () => {
  test("what is no FIFO is refused and not opened", async () => {
    using dir = tempDir();
    writeFileSync(dir.file("file"), "secret");
    for (const [path, found] of [
      [dir.file("file"), "file"],
      [dir.path, "directory"],
      ["/dev/zero", "character-device"],
    ] as const) {
      for (const access of ["read", "write"] as const) {
        const error = await thrown(() => openFifo(path, access as "read"));
        expect(error).toMatchObject({ name: "NotAFifoError", found, syscall: "open", path });
      }
    }
    expect(await codeOf(() => openFifo(dir.file("none"), "read"))).toBe("ENOENT");
    const both = "both" as "read";
    makeFifo(dir.file("f"));
    expect(await thrown(() => openFifo(dir.file("f"), both))).toBeInstanceOf(TypeError);
  });

  test("a FIFO behind a link, and one whose name is bytes", () => {
    using dir = tempDir();
    const name = Buffer.concat([Buffer.from(`${dir.path}/`), Buffer.from([0xff, 0xfe])]);
    makeFifo(name);
    using odd = openFifo(name, "read");
    expect(odd.path).toContain("\\xff\\xfe");
    makeFifo(dir.file("f"));
    symlinkSync("f", dir.file("link"));
    using reader = openFifo(dir.file("link"), "read");
    expect(reader.tryRead()).toBeUndefined();
  });

  test("many opened and closed leave nothing", () =>
    leakFree(async () => {
      using pipe = fifo();
      for (let i = 0; i < 100; i++) {
        using reader = openFifo(pipe.path, "read");
        await using writer = openFifo(pipe.path, "write");
        expect([reader.closed, writer.closed]).toEqual([false, false]);
      }
    }));
});

describe("reading", () => {
  test("before the first writer: nothing yet, whatever the option", async () => {
    for (const endWhenWritersLeave of [false, true]) {
      using pipe = fifo({ endWhenWritersLeave });
      expect(pipe.reader.tryRead()).toBeUndefined();
      expect(pipe.reader.writersLeft).toBe(false);
      const reading = pipe.reader.read();
      await stillWaits(reading);
      await pipe.writer().write("first");
      expect(text(await reading)).toBe("first");
    }
  });

  test("the end, where it was asked for: after the data, and until the next writer", async () => {
    using pipe = fifo({ endWhenWritersLeave: true });
    const writer = pipe.writer();
    await writer.write("last");
    writer.close();
    expect(pipe.reader.writersLeft).toBe(true);
    expect(text(await pipe.reader.read())).toBe("last");
    expect([await pipe.reader.read(), pipe.reader.tryRead(), pipe.reader.readSync()]).toEqual([
      null,
      null,
      null,
    ]);
    const next = pipe.writer();
    expect(pipe.reader.writersLeft).toBe(false);
    expect(pipe.reader.tryRead()).toBeUndefined();
    const reading = pipe.reader.read();
    await stillWaits(reading);
    next.close();
    expect(await reading).toBeNull();
  });

  test("a writer that comes, writes and leaves between the read and the look at it", async () => {
    using pipe = fifo({ endWhenWritersLeave: true });
    pipe.writer().close();
    const { poll } = libc;
    let came = false;
    const interrupting: typeof poll = (...args) => {
      if (!came) {
        came = true;
        using late = openFifo(pipe.path, "write");
        late.tryWrite("late");
      }
      return poll(...args);
    };
    await withLibc({ poll: interrupting }, () => {
      expect(text(pipe.reader.tryRead())).toBe("late");
    });
    expect(pipe.reader.tryRead()).toBeNull();
  });

  test("it goes on when writers have left, and does not spin meanwhile", async () => {
    using pipe = fifo();
    const reading = pipe.reader.read();
    for (let i = 0; i < 3; i++) {
      const writer = openFifo(pipe.path, "write");
      writer.close();
      await turns();
    }
    expect(pipe.reader.writersLeft).toBe(true);
    const calls = await count("read", async () => {
      for (let i = 0; i < 20; i++) await turns();
    });
    expect(calls).toBeLessThanOrEqual(2);
    await pipe.writer().write("after all");
    expect(text(await reading)).toBe("after all");
  });

  test("readSync waits without spinning, and has a deadline", async () => {
    using pipe = fifo();
    pipe.writer().close();
    let error = "";
    const calls = await count("read", async () => {
      error = await codeOf(() => pipe.reader.readSync({ timeoutMs: 60 }));
    });
    expect(error).toBe("ETIMEDOUT");
    expect(calls).toBeLessThanOrEqual(4);
    await pipe.writer().write("now");
    expect(text(pipe.reader.readSync({ timeoutMs: 1_000 }))).toBe("now");
  });

  test("in their order, with a bound, with a signal", async () => {
    using pipe = fifo();
    const stop = new AbortController();
    const first = pipe.reader.read({ maxBytes: 2 });
    const given = pipe.reader.read({ signal: stop.signal });
    const last = pipe.reader.read();
    stop.abort(new Error("enough"));
    expect(given).rejects.toThrow("enough");
    await pipe.writer().write("abcde");
    expect([text(await first), text(await last)]).toEqual(["ab", "cde"]);
    expect(await thrown(() => pipe.reader.read({ maxBytes: 0 }))).toBeInstanceOf(RangeError);
  });

  test("close ends what waits; afterwards everything says ERR_CLOSED", async () => {
    using pipe = fifo();
    const { reader } = pipe;
    const reading = reader.read();
    reader.close();
    reader.close();
    expect(await codeOf(() => reading)).toBe("ERR_CLOSED");
    for (const call of [
      () => reader.read(),
      () => reader.tryRead(),
      () => reader.readSync(),
      () => reader.lines().next(),
      () => reader.writersLeft,
    ]) {
      expect(await codeOf(call)).toBe("ERR_CLOSED");
    }
    expect([reader.fd, reader.closed]).toEqual([-1, true]);
  });

  test("chunks as an iterator", async () => {
    using pipe = fifo({ endWhenWritersLeave: true });
    const data = pattern(300_000);
    const writer = pipe.writer();
    const writing = writer.write(data).then(() => writer.close());
    const parts: Uint8Array[] = [];
    for await (const chunk of pipe.reader) parts.push(chunk);
    await writing;
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });
});
