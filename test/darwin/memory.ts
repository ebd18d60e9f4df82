// Shared memory by shm_open(2), as the shim does it. run.ts runs this file.

import { CString, type Pointer } from "bun:ffi";
import { expect, test } from "bun:test";
import { SharedMemory, socketPair } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";

test("shared memory by shm_open: without a name, of one size, shared", async () => {
  const text = (memory: SharedMemory): string => Buffer.from(memory.bytes).toString();
  using memory = SharedMemory.create("shared");
  expect([memory.size, memory.writable, memory.seals()]).toEqual([6, true, []]);
  const [near, far] = socketPair("stream");
  await near.send("x", { fds: [memory] });
  using message = await far.receive();
  expect(() => SharedMemory.map(message!.fds[0]!)).toThrow("ERR_UNSEALED");
  using mapped = SharedMemory.map(message!.fds[0]!, { trustSender: true });
  mapped.bytes.set(Buffer.from("SHARE"));
  expect([text(memory), mapped.writable]).toEqual(["SHAREd", true]);
  const options = { trustSender: true, writable: false };
  expect(() => SharedMemory.map(memory, options)).toThrow("shared, or not at all");
  expect(() => SharedMemory.create(1, { seal: true })).toThrow("macOS has no seals");
  expect(() => memory.seal("write")).toThrow("macOS has no seals");
  near.close();
  far.close();
});

test("shared memory has no name left, and a name that is taken is no way in", () => {
  const { shm_open, shm_unlink } = libc;
  const names: string[] = [];
  libc.shm_open = (name, ...rest) => {
    names.push(String(new CString(name as Pointer)));
    return shm_open(name, ...rest);
  };
  libc.shm_unlink = (name) => {
    names.push(String(new CString(name as Pointer)));
    return shm_unlink(name);
  };
  SharedMemory.create(1).close();
  Object.assign(libc, { shm_open, shm_unlink });
  expect(names).toEqual([names[0]!, names[0]!]);
  expect(names[0]).toMatch(/^\/bunix-[-0-9a-f]{23}$/);
});
