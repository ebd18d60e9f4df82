// What /proc tells, by libc's own calls: a walk through all descriptors makes no text and no
// exception for each, and node:fs, which a short program has no other use for, takes 8 ms to load.

import { dirent, file } from "../../native/file.ts";
import { nr } from "../../native/numbers.ts";
import { close, open, read } from "./fd.ts";
import { libc } from "./libc.ts";
import { cString, Memory } from "./memory.ts";

const ROOM_BYTES = 32 * 1024;

interface Rooms {
  readonly names: Memory;
  readonly link: Memory;
  readonly socket: Memory;
}

let rooms: Rooms | undefined;

/** Made at the first use: most programs never look. */
const room = (): Rooms =>
  (rooms ??= {
    names: new Memory(ROOM_BYTES),
    link: new Memory(LINK_BYTES),
    socket: cString(SOCKET),
  });

/** What a socket's link begins with, and room for as many digits as an inode has. */
const SOCKET = "socket:[";
const PREFIX_BYTES = SOCKET.length;
const LINK_BYTES = 64;

/** The text of a small file, as UTF-8; null if it cannot be read. */
export function smallText(path: string): string | null {
  const fd = open(path, file.O_RDONLY);
  if (fd < 0) return null;
  try {
    const { names } = room();
    for (let at = 0; at < ROOM_BYTES; ) {
      const bytes = read(fd, names.address + at, ROOM_BYTES - at);
      if (bytes < 0) return null;
      if (bytes === 0) return new TextDecoder().decode(names.bytes.subarray(0, at));
      at += bytes;
    }
    return null; // it is not small
  } finally {
    close(fd);
  }
}

/** The number that is written at `at`; −1: what begins there is no digit. */
function numberAt(bytes: Uint8Array, at: number): number {
  let number = -1;
  for (let i = at; ; i++) {
    const digit = bytes[i]! - 0x30;
    if (!(digit >= 0 && digit <= 9)) return number;
    number = number < 0 ? digit : number * 10 + digit;
  }
}

/** What getdents64 has put into the room: how many bytes, 0 at the end or if it fails. */
function entries(directory: number): number {
  if (nr.SYS_getdents64 === null) return 0;
  const { address } = room().names;
  return libc.syscall(nr.SYS_getdents64, directory, address, ROOM_BYTES, 0, 0, 0);
}

/** All processes that /proc shows; none if it is not there. */
export function processIds(): number[] {
  const pids: number[] = [];
  inDirectory("/proc", (directory) => {
    const { bytes } = room().names;
    for (let end = entries(directory); end > 0; end = entries(directory)) {
      for (let at = 0; at < end; at += lengthAt(bytes, at)) {
        const pid = numberAt(bytes, at + dirent.at.d_name);
        if (pid >= 0) pids.push(pid);
      }
    }
  });
  return pids;
}

const lengthAt = (bytes: Uint8Array, at: number): number =>
  bytes[at + dirent.at.d_reclen]! | (bytes[at + dirent.at.d_reclen + 1]! << 8);

/**
 * The descriptors of a process that are sockets, each followed by its inode; none if this process
 * may not look. One loop: each function of it that is compiled would take longer than it saves.
 */
export function socketsOf(pid: number): number[] {
  const found: number[] = [];
  inDirectory(`/proc/${pid}/fd`, (directory) => {
    const { names, link, socket } = room();
    const { bytes, address } = names;
    for (let end = entries(directory); end > 0; end = entries(directory)) {
      for (let at = 0; at < end; at += lengthAt(bytes, at)) {
        const name = at + dirent.at.d_name;
        if (bytes[name] === DOT) continue;
        const [number, from, to] = [nr.SYS_readlinkat!, address + name, link.address];
        const length = libc.syscall(number, directory, from, to, LINK_BYTES, 0, 0);
        if (length <= PREFIX_BYTES) continue; // or closed meanwhile
        if (link.words[0] !== socket.words[0] || link.words[1] !== socket.words[1]) continue;
        found.push(numberAt(bytes, name), numberAt(link.bytes, PREFIX_BYTES));
      }
    }
  });
  return found;
}

const DOT = 0x2e;

function inDirectory(path: string, use: (directory: number) => void): void {
  const directory = open(path, file.O_RDONLY | file.O_DIRECTORY);
  if (directory < 0) return;
  try {
    use(directory);
  } finally {
    close(directory);
  }
}
