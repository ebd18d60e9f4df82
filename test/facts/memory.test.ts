// What bun:ffi and JavaScriptCore do with memory, addresses, arguments and errno.

import { cc, dlopen, type FFIFunction, ptr, read, toArrayBuffer } from "bun:ffi";
import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { treeNode } from "../../native/search.ts";
import { compiled } from "../../src/syscalls/compiled.ts";
import { eventfd } from "../../src/syscalls/epoll.ts";
import { close, descriptorFlags } from "../../src/syscalls/fd.ts";
import { libc, libcName, symbol } from "../../src/syscalls/libc.ts";
import { asPointer, cString, managedBuffer } from "../../src/syscalls/memory.ts";
import { runSource, succeeded } from "../support/child.ts";
import { fact } from "../support/facts.ts";
import { tempDir } from "../support/tmp.ts";

const older = Bun.semver.satisfies(Bun.version, "<1.4.0");

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Collect until `done`, in turns of the event loop; false if that did not come in 200 of them. */
async function collectedUntil(done: () => boolean): Promise<boolean> {
  for (let i = 0; i < 200 && !done(); i++) {
    Bun.gc(true);
    await turn();
  }
  return done();
}

fact("small-arrays-move", "touching .buffer moves a small array, an explicit one stays", () => {
  const moves = (make: (bytes: number) => Uint8Array): number => {
    let moved = 0;
    for (let i = 0; i < 100; i++) {
      const array = make(64);
      const before = ptr(array);
      void array.buffer;
      if (ptr(array) !== before) moved++;
    }
    return moved;
  };
  const small = moves((bytes) => new Uint8Array(bytes));
  const pooled = moves((bytes) => Buffer.alloc(bytes));
  const explicit = moves((bytes) => new Uint8Array(new ArrayBuffer(bytes)));
  expect({ small: small > 0, pooled: pooled > 0, explicit }).toEqual({
    small: true,
    pooled: true,
    explicit: 0,
  });
});

fact("compiled-takes-int32", "a double is 0 for compiled C, and itself for libc", () => {
  const [number = 0] = new Float64Array([500]);
  const source = "int same(int a) { return a; }";
  const library = compiled(source, { same: { args: ["i32"], returns: "i32" } });
  if (typeof library === "string") throw new Error(library);
  const { same } = library.symbols;
  expect([same(number), same(number | 0)]).toEqual([0, 500]);
  const copy = libc.fcntl(2, file.F_DUPFD_CLOEXEC, number); // the least number that it may have
  close(copy);
  expect(copy).toBeGreaterThanOrEqual(500);
});

fact("address-keeps-nothing-alive", "buffers known by their number only are freed", async () => {
  let freed = 0;
  const registry = new FinalizationRegistry<number>(() => freed++);
  const addresses: number[] = [];
  (() => {
    for (let i = 0; i < 50; i++) {
      const buffer = new ArrayBuffer(1 << 16);
      registry.register(buffer, i);
      addresses.push(ptr(buffer));
    }
  })();
  expect(await collectedUntil(() => freed >= 40)).toBe(true);
  expect(addresses).toHaveLength(50);
});

fact("array-buffer-limit", "2³² bytes, and one more", () => {
  const within = new ArrayBuffer(0, { maxByteLength: 2 ** 32 }).maxByteLength;
  expect(within).toBe(2 ** 32);
  expect(() => new ArrayBuffer(0, { maxByteLength: 2 ** 32 + 1 })).toThrow(RangeError);
});

fact("errno-right-after-the-call", "allocating between call and reading is what may not be", () => {
  const location = libc.__errno_location();
  let wrong = 0;
  for (let i = 0; i < 300_000; i++) {
    const value = libc.close(-1);
    if (value !== -1 || read.i32(asPointer(location), 0) !== errno.EBADF) wrong++;
    if (i % 100_000 === 0) Bun.gc(true);
  }
  expect(wrong).toBe(0);
});

fact("errno-per-thread", "a Worker's errno is somewhere else", async () => {
  const program = `
    import { Worker, isMainThread, parentPort } from "node:worker_threads";
    import { libc } from "@/src/syscalls/libc.ts";
    const mine = libc.__errno_location();
    if (!isMainThread) parentPort.postMessage(mine);
    else {
      const worker = new Worker(import.meta.path);
      worker.once("message", (theirs) => {
        console.log(theirs === mine ? "the same" : "another");
        process.exit(0);
      });
    }`;
  expect(succeeded(await runSource(program))).toBe("another\n");
});

/** Functions of libc that the library does not call. */
function extra<T extends Record<string, FFIFunction>>(group: T) {
  return dlopen(libcName, group).symbols;
}

fact("ffi-arguments-wrap", "−1 and 2³² + 1 as u32; Bun 1.3 clamped them", () => {
  const { htonl } = extra({ htonl: { args: ["u32"], returns: "u32" } } as const);
  const [one, all] = [0x01000000, 0xffffffff];
  const wanted = older ? [0, all, one] : [all, one, one];
  expect([htonl(-1), htonl(2 ** 32 + 1), htonl(1)]).toEqual(wanted);
});

fact("cc-without-a-toolchain", "C without headers, libc or anything in PATH", () => {
  using dir = tempDir();
  const source = dir.file("add.c");
  writeFileSync(source, "int add(int a, int b) { return a + b; }\n");
  const path = process.env["PATH"];
  process.env["PATH"] = "/nowhere";
  try {
    const flags = ["-nostdlib", "-nostdinc"] as unknown as string;
    const { symbols } = cc({
      source,
      flags,
      symbols: { add: { args: ["i32", "i32"], returns: "i32" } },
    });
    expect(symbols.add(40, 2)).toBe(42);
  } finally {
    process.env["PATH"] = path!;
  }
});

fact("deallocator-is-any-function", "libc's close as a buffer's deallocator", async () => {
  const fds = Array.from({ length: 20 }, () => eventfd(0));
  const deallocator = symbol("close");
  (() => {
    for (const fd of fds) managedBuffer(fd, 1, { context: 1, deallocator });
  })();
  const open = (): number => fds.filter((fd) => descriptorFlags(fd) >= 0).length;
  const closed = await collectedUntil(() => open() <= 2);
  if (!closed) for (const fd of fds) close(fd);
  expect(closed).toBe(true);
  expect(await collectedUntil(() => open() === 0)).toBe(true);
});

fact("bun-1-3-takes-less", "a DataView for a pointer: since 1.4", () => {
  const call = (): number => libc.write(-1, new DataView(new ArrayBuffer(8)) as never, 8);
  if (older) expect(call).toThrow();
  else expect(call()).toBe(-1);
});

fact("nodes-of-tsearch", "key, left and right of a node, as tdestroy follows them", () => {
  const { tsearch, tdestroy } = extra({
    tsearch: { args: ["ptr", "ptr", "ptr"], returns: "ptr" },
    tdestroy: { args: ["ptr", "ptr"], returns: "void" },
  } as const);
  const root = new BigUint64Array(new ArrayBuffer(8));
  const keys = ["b", "a", "c"].map(cString);
  for (const key of keys) tsearch(asPointer(key.address), ptr(root), asPointer(symbol("strcmp")));
  const node = (at: number): Record<"key" | "left" | "right", number> => {
    const even = at - (at % 2); // glibc's colour is the lowest bit
    const view = new DataView(toArrayBuffer(asPointer(even), 0, 24));
    const word = (offset: number): number => Number(view.getBigUint64(offset, true));
    return { key: word(treeNode.key), left: word(treeNode.left), right: word(treeNode.right) };
  };
  const { key: middle, left, right } = node(Number(root[0]));
  const found = [middle, node(left).key, node(right).key];
  tdestroy(asPointer(Number(root[0])), asPointer(symbol("strlen")));
  expect(found).toEqual(keys.map(({ address }) => address));
});
