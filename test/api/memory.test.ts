// Shared memory: what is shared, what is sealed, when it goes.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { ftruncateSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { memfd } from "../../native/file.ts";
import { Fd, listen, socketPair } from "../../src/index.ts";
import { type Seal, SharedMemory } from "../../src/memory/shared-memory.ts";
import { memfdCreate } from "../../src/syscalls/fd.ts";
import { runSource, slower, start, startScript, succeeded, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { codeOf, eventually, isOpen, leakFree, must, thrown } from "./tools.ts";

setDefaultTimeout(60_000 * slower);

const GIB = 2 ** 30;
/** Between two marks: not every page, which would take the machine's memory for nothing. */
const STRIDE = 65_536;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** How many mappings of this name the process has. */
function mappings(name: string): number {
  const maps = readFileSync("/proc/self/maps", "utf8").split("\n");
  return maps.filter((line) => line.includes(`/memfd:${name} `)).length;
}

describe("create", () => {
  test("a size: zeroed, of a size that stays, shared", () =>
    leakFree(() => {
      using memory = SharedMemory.create(10_000, { name: "a size" });
      expect(memory.bytes.length).toBe(10_000);
      expect(memory.bytes.every((byte) => byte === 0)).toBe(true);
      expect([memory.size, memory.writable, memory.seals()]).toEqual([
        10_000,
        true,
        ["shrink", "grow"],
      ]);
      using same = Fd.duplicate(memory);
      expect(same.describe().kind).toBe("memfd");
    }));

  test("data of every form", () => {
    const bytes = new Uint8Array(Buffer.from("abc"));
    for (const form of ["abc", bytes, bytes.buffer, ["a", Buffer.from("bc")]]) {
      using memory = SharedMemory.create(form);
      expect(text(memory.bytes)).toBe("abc");
    }
  });

  test("seal: true freezes the data; other lists are taken to the letter", () => {
    const cases: [boolean | Seal[], Seal[]][] = [
      [true, ["shrink", "grow", "write", "seal"]],
      [false, []],
      [["grow"], ["grow"]],
      [
        ["future-write", "shrink"],
        ["shrink", "future-write"],
      ],
    ];
    for (const [seal, expected] of cases) {
      using memory = SharedMemory.create("data", { seal });
      expect(memory.seals()).toEqual(expected);
      expect(text(memory.bytes)).toBe("data");
    }
  });

  test("wrong arguments throw before any call", async () => {
    const make = (content: unknown, options = {}): Promise<unknown> =>
      thrown(() => SharedMemory.create(content as number, options));
    for (const size of [0, -1, 1.5, Number.NaN, 4 * GIB + 1, ""]) {
      expect(await make(size)).toBeInstanceOf(RangeError);
    }
    expect(await make({})).toBeInstanceOf(TypeError);
    expect(await make(1, { seal: ["tight"] })).toBeInstanceOf(TypeError);
    expect(await make(1, { name: "a\0b" })).toBeInstanceOf(TypeError);
    expect(await make(1, { name: "x".repeat(250) })).toBeInstanceOf(RangeError);
  });
});

describe("map", () => {
  test("both see what either writes; the descriptor stays the caller's", () =>
    leakFree(() => {
      using one = SharedMemory.create(8192);
      using two = SharedMemory.map(one);
      one.bytes[8191] = 7;
      two.bytes[0] = 9;
      expect([two.bytes[8191], one.bytes[0], two.writable]).toEqual([7, 9, true]);
      one.close();
      two.bytes[1] = 1;
      expect(two.fd).toBeGreaterThan(2);
    }));

  test("what is sealed against writing cannot be changed, nor the process ended by trying", () => {
    using one = SharedMemory.create("constant", { seal: true });
    using two = SharedMemory.map(one);
    expect([one.writable, two.writable]).toEqual([false, false]);
    two.bytes.set(Buffer.from("mine"));
    one.bytes[7] = 0x21;
    expect(text(two.bytes)).toBe("minetant");
    expect(text(one.bytes)).toBe("constan!");
    using three = SharedMemory.map(one);
    expect(text(three.bytes)).toBe("constant");
  });

  test("future-write: the maker goes on writing, the others see it", () => {
    using one = SharedMemory.create("first ", { seal: ["shrink", "future-write"] });
    using two = SharedMemory.map(one);
    expect([one.writable, two.writable]).toEqual([true, false]);
    one.bytes.set(Buffer.from("second"));
    expect(text(two.bytes)).toBe("second");
    two.bytes[0] = 0x58;
    expect(text(one.bytes)).toBe("second");
  });

  test("writable: true fails where it cannot be, false keeps what is written here", async () => {
    using sealed = SharedMemory.create("x", { seal: true });
    expect(await codeOf(() => SharedMemory.map(sealed, { writable: true }))).toBe("EPERM");
    using open = SharedMemory.create("x");
    using own = SharedMemory.map(open, { writable: false });
    own.bytes[0] = 0x79;
    expect(text(open.bytes)).toBe("x");
    using readOnly = Fd.adopt(openSync(`/proc/self/fd/${open.fd}`, "r"));
    expect(await codeOf(() => SharedMemory.map(readOnly, { writable: true }))).toBe("EACCES");
    using seen = SharedMemory.map(readOnly);
    expect([seen.writable, text(seen.bytes)]).toEqual([false, "x"]);
  });

  test("with transfer the descriptor is closed once it is mapped, and only then", async () => {
    using memory = SharedMemory.create("mapped", { seal: true });
    const fd = Fd.duplicate(memory);
    expect(await thrown(() => SharedMemory.map(fd, { transfer: true, bytes: 7 }))).toBeInstanceOf(
      RangeError,
    );
    expect(fd.closed).toBe(false);
    using mapped = SharedMemory.map(fd, { transfer: true });
    expect([fd.closed, isOpen(mapped.fd)]).toEqual([true, true]);
    expect(new TextDecoder().decode(mapped.bytes)).toBe("mapped");
  });

  test("what may shrink is refused unless the sender is trusted", async () => {
    const error = (fd: number) => thrown(() => SharedMemory.map(fd));
    using unsealed = SharedMemory.create(4096, { seal: [] });
    expect(await error(unsealed.fd)).toMatchObject({ code: "ERR_UNSEALED", syscall: "mmap" });
    expect(String(await error(unsealed.fd))).toContain("SIGBUS");
    using trusted = SharedMemory.map(unsealed, { trustSender: true });
    trusted.bytes[0] = 1;
    expect(unsealed.bytes[0]).toBe(1);
    using dir = tempDir();
    writeFileSync(dir.file("f"), "a file");
    using file = Fd.adopt(openSync(dir.file("f"), "r+"));
    expect(await error(file.fd)).toMatchObject({ code: "ERR_UNSEALED" });
    using mapped = SharedMemory.map(file, { trustSender: true });
    mapped.bytes.set(Buffer.from("A"));
    expect(readFileSync(dir.file("f"), "utf8")).toBe("A file");
    expect(mapped.seals().filter((seal) => seal !== "seal")).toEqual([]); // tmpfs: only that one
  });

  test("why: reading what has been cut off ends the process", async () => {
    const source = `
      import { ftruncateSync } from "node:fs";
      import { SharedMemory } from "@/src/memory.ts";
      const one = SharedMemory.create(8192, { seal: [] });
      const two = SharedMemory.map(one, { trustSender: true });
      ftruncateSync(one.fd, 0);
      console.log(two.bytes[5000]);`;
    const { code, stdout } = await runSource(source);
    expect([code === 0, stdout]).toEqual([false, ""]);
    using sealed = SharedMemory.create(8192);
    expect(() => ftruncateSync(sealed.fd, 0)).toThrow("EPERM");
  });

  test("sizes: a part, nothing, too much", async () => {
    using memory = SharedMemory.create("0123456789");
    using part = SharedMemory.map(memory, { bytes: 4 });
    expect([text(part.bytes), part.size]).toEqual(["0123", 4]);
    for (const bytes of [0, 11, 1.5]) {
      expect(await thrown(() => SharedMemory.map(memory, { bytes }))).toBeInstanceOf(RangeError);
    }
    using empty = Fd.adopt(memfdCreate("empty", memfd.MFD_CLOEXEC ?? 0));
    const options = { trustSender: true };
    expect(await thrown(() => SharedMemory.map(empty, options))).toBeInstanceOf(RangeError);
    const [a, b] = socketPair("stream");
    expect(await thrown(() => SharedMemory.map(a, options))).toBeInstanceOf(RangeError);
    a.close();
    b.close();
    expect(await codeOf(() => SharedMemory.map(999_999))).toBe("EBADF");
  });
});

describe("seal", () => {
  test("write: what is there is kept, views too", async () => {
    using memory = SharedMemory.create(100_000, { seal: [] });
    const view = new DataView(memory.bytes.buffer, 50_000);
    memory.bytes.fill(7);
    memory.seal("write");
    expect([memory.writable, view.getUint8(0), memory.bytes[99_999]]).toEqual([false, 7, 7]);
    view.setUint8(0, 1); // ends nothing
    memory.seal("shrink");
    using other = SharedMemory.map(memory);
    expect(other.bytes[50_000]).toBe(7);
    memory.seal("seal");
    expect(await codeOf(() => memory.seal("grow"))).toBe("EPERM");
    memory.seal();
  });

  test("write is EBUSY while another has it mapped, and then nothing has changed", async () => {
    using one = SharedMemory.create(4096);
    using two = SharedMemory.map(one);
    expect(await codeOf(() => one.seal("write"))).toBe("EBUSY");
    expect([one.writable, one.seals()]).toEqual([true, ["shrink", "grow"]]);
    one.bytes[0] = 5;
    expect(two.bytes[0]).toBe(5);
  });
});

describe("a mapping that is no longer this object's", () => {
  const letGo: Readonly<Record<string, (buffer: ArrayBuffer) => unknown>> = {
    transferred: (buffer) => buffer.transfer(),
    "sent to another thread": (buffer) => structuredClone(buffer, { transfer: [buffer] }),
  };

  test.each(Object.entries(letGo))("%s, and collected: nothing is mapped there", async (_, end) => {
    const name = `foreign-${crypto.randomUUID().slice(0, 8)}`;
    using memory = SharedMemory.create(2 ** 20, { name, seal: [] });
    end(memory.bytes.buffer);
    const gone = (): boolean => {
      Bun.gc(true);
      return mappings(name) === 0;
    };
    await eventually(gone, "the mapping is gone");
    using others = SharedMemory.create(2 ** 20, { name: "others" }); // often at the same address
    others.bytes.fill(7);
    const error = await thrown(() => memory.seal("write"));
    expect(error).toMatchObject({ code: "ERR_DETACHED", syscall: "mmap" });
    expect(others.bytes.every((byte) => byte === 7)).toBe(true);
    expect([mappings(name), memory.seals(), memory.writable]).toEqual([0, [], true]);
    memory.seal("grow"); // which maps nothing
    expect(memory.seals()).toEqual(["grow"]);
  });

  test("transferred, and still somebody's: it is left as it is", async () => {
    using memory = SharedMemory.create("shared", { seal: [] });
    const theirs = new Uint8Array(memory.bytes.buffer.transfer());
    expect(await codeOf(() => memory.seal("write"))).toBe("ERR_DETACHED");
    using other = SharedMemory.map(memory, { trustSender: true });
    theirs[0] = 0x53;
    expect(text(other.bytes)).toBe("Shared");
  });
});

describe("the end", () => {
  test("close lets go; a view stays good", async () => {
    const memory = SharedMemory.create("kept");
    const view = memory.bytes.subarray(1);
    memory.close();
    memory.close();
    expect([memory.closed, memory.fd, memory.size]).toEqual([true, -1, 4]);
    for (const call of [() => memory.bytes, () => memory.seals(), () => memory.seal("seal")]) {
      expect(await codeOf(call)).toBe("ERR_CLOSED");
    }
    Bun.gc(true);
    expect(text(view)).toBe("ept");
  });

  test("the mapping goes with its last view, once", async () => {
    const views: Uint8Array[] = [];
    const make = (): void => {
      for (let i = 0; i < 40; i++) {
        using memory = SharedMemory.create(2 ** 20, { name: "gone" });
        memory.bytes.fill(i);
        if (i % 10 === 0) views.push(memory.bytes.subarray(5, 6));
      }
    };
    make();
    const collected = (): boolean => {
      Bun.gc(true);
      return mappings("gone") <= 6; // a conservative collector may see one or two more
    };
    await eventually(collected, "most mappings are gone");
    expect(mappings("gone")).toBeGreaterThanOrEqual(4);
    expect(views.map((view) => view[0])).toEqual([0, 10, 20, 30]);
  });
});

describe("handed over", () => {
  test("more than 2 GiB", async () => {
    using memory = SharedMemory.create(3 * GIB);
    memory.bytes[3 * GIB - 1] = 42;
    const source = `
      import { SharedMemory } from "@/src/memory.ts";
      const memory = SharedMemory.map(3);
      console.log(memory.size, memory.bytes[memory.size - 1]);`;
    const outcome = await runSource(source, { fds: [memory.fd] });
    expect(succeeded(outcome)).toBe(`${3 * GIB} 42\n`);
  });

  test("1 GiB in one message; what is written is seen, seals hold", async () => {
    using dir = tempDir();
    using listener = listen(dir.file("s"), { type: "seqpacket" });
    const source = `
      import { connect } from "@/src/index.ts";
      import { SharedMemory } from "@/src/memory.ts";
      const socket = await connect(process.argv[2], { type: "seqpacket" });
      for (;;) {
        using message = await socket.receive();
        if (message === null) break;
        if (message.fds.length === 0) { await socket.send("pong"); continue; }
        using memory = SharedMemory.map(message.fds[0]);
        const { bytes, size } = memory;
        await socket.send(\`\${size} \${bytes[0]} \${bytes[size - 1]} \${memory.writable}\`);
        let wrong = 0;
        for (let at = 0; at < size; at += 65_536) {
          if (bytes[at] !== (at >> 16) % 251) wrong += 1;
          bytes[at] = 255;
        }
        await socket.send(\`wrong: \${wrong}\`);
      }`;
    await using child = startScript(writeSource(dir, source), [dir.file("s")]);
    using socket = await listener.accept();
    const ask = async (data: string, fds: SharedMemory[] = []): Promise<[string, number]> => {
      const began = performance.now();
      await socket.send(data, { fds });
      const answer = must(await socket.receive()).text();
      return [answer, performance.now() - began];
    };
    const plain: number[] = [];
    for (let i = 0; i < 100; i++) plain.push((await ask("ping"))[1]);
    plain.sort((a, b) => a - b);
    const rounds: [number, boolean][] = [
      [STRIDE, false], // warms up
      [GIB, false],
      [GIB, true],
    ];
    for (const [size, sealed] of rounds) {
      using memory = SharedMemory.create(size);
      for (let at = 0; at < size; at += STRIDE) memory.bytes[at] = (at >> 16) % 251;
      memory.bytes[size - 1] = 77;
      if (sealed) memory.seal("write", "seal");
      const [answer, ms] = await ask("memory", [memory]);
      expect(answer).toBe(`${size} 0 77 ${!sealed}`);
      const told = `${plain[50]!.toFixed(3)} ms for a plain message`;
      console.log(`note: ${size} bytes handed over in ${ms.toFixed(3)} ms, ${told}`);
      expect(must(await socket.receive()).text()).toBe("wrong: 0");
      const last = size - STRIDE;
      expect(memory.bytes[last]).toBe(sealed ? (last >> 16) % 251 : 255);
    }
    socket.close();
    succeeded(await child.exited);
  });

  peerTest("from and to Python", ["python3"], async () => {
    const program = `
import array, fcntl, mmap, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
data, fds, flags, sender = socket.recv_fds(s, 100, 1)
m = mmap.mmap(fds[0], 0)
said = bytes(m[:5])
m[:5] = b"HELLO"
fd = os.memfd_create("from-python", os.MFD_ALLOW_SEALING)
os.write(fd, b"of python: " + said)
if data == b"sealed":
    fcntl.fcntl(fd, 1033, 15)
socket.send_fds(s, [b"x"], [fd])
s.recv(1)
`;
    for (const how of ["sealed", "open"]) {
      using dir = tempDir();
      using listener = listen(dir.file("s"), { type: "seqpacket" });
      await using python = start(["python3", "-c", program, dir.file("s")]);
      using socket = await listener.accept();
      using memory = SharedMemory.create("hello");
      await socket.send(how, { fds: [memory] });
      using message = must(await socket.receive());
      expect(text(memory.bytes)).toBe("HELLO");
      const fd = message.fds[0]!;
      if (how === "open") expect(await codeOf(() => SharedMemory.map(fd))).toBe("ERR_UNSEALED");
      using theirs = SharedMemory.map(fd, { trustSender: how === "open" });
      expect(text(theirs.bytes)).toBe("of python: hello");
      expect(theirs.writable).toBe(how === "open");
      socket.close();
      succeeded(await python.exited);
    }
  });
});
