// A file in memory, without a name. bunix/memory will do this in a later version; until then:

import { dlopen } from "bun:ffi";
import { writeSync } from "node:fs";
import { Fd } from "bunix";

const MFD_CLOEXEC = 1;
const names = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

function openLibc() {
  for (const name of names) {
    try {
      return dlopen(name, { memfd_create: { args: ["buffer", "u32"], returns: "i32" } });
    } catch {
      // not under this name
    }
  }
  throw new Error("no libc here has memfd_create");
}

/** A memfd that holds `text`, ready to be read from its start. */
export function createMemfd(name: string, text: string): Fd {
  const libc = openLibc();
  const memfd = Fd.adopt(libc.symbols.memfd_create(Buffer.from(`${name}\0`), MFD_CLOEXEC));
  libc.close();
  writeSync(memfd.fd, text, 0);
  return memfd;
}
