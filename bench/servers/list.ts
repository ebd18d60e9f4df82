// The least that a program does which prints what `bunix ls` prints: the questions to the kernel by
// bare calls, one loop over each answer, a row for each socket, one write. No order, no filter, no
// check of what the kernel says, no names but plain ones, no other system than this one.
// `bun list.ts SYS_getdents64 SYS_readlinkat REQUEST`

import { dlopen, FFIType, ptr } from "bun:ffi";

const [getdents, readlinkat] = process.argv.slice(2).map(Number) as [number, number];
const request = Buffer.from(process.argv[4] ?? "", "hex");
const { i32, i64, i64_fast: size, pointer } = FFIType;
const { socket, send, recv, open, read, write, close, syscall } = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  send: { args: [i32, pointer, i64, i32], returns: size },
  recv: { args: [i32, pointer, i64, i32], returns: size },
  open: { args: [pointer, i32, i32], returns: i32 },
  read: { args: [i32, pointer, i64], returns: size },
  write: { args: [i32, pointer, i64], returns: size },
  close: { args: [i32], returns: i32 },
  syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: size },
}).symbols;

const ROOM = 65_536;
const buffer = new ArrayBuffer(ROOM);
const room = Buffer.from(buffer);
const halves = new Uint16Array(buffer);
const words = new Uint32Array(buffer);
const at = ptr(buffer);

interface Row {
  type: string;
  state: string;
  inode: number;
  name: string;
  peer: number;
  received: number;
  sent: number;
  uid: number;
  holders: string;
}
const sockets = new Map<number, Row>();
const types = ["", "stream", "datagram", "", "", "seqpacket"];

const netlink = socket(16, 3, 4);
send(netlink, request, request.length, 0);
for (let more = true; more; ) {
  const end = recv(netlink, at, ROOM, 0) as number;
  for (let i = 0; i < end; ) {
    const length = words[i >> 2]!;
    if (halves[(i + 4) >> 1] === 3) {
      more = false;
      break;
    }
    const state = room[i + 18];
    const row: Row = {
      type: types[room[i + 17]!]!,
      state: state === 10 ? "listening" : state === 1 ? "connected" : "unconnected",
      inode: words[(i + 20) >> 2]!,
      name: "",
      peer: 0,
      received: 0,
      sent: 0,
      uid: 0,
      holders: "",
    };
    for (let a = i + 32; a < i + length; a += (halves[a >> 1]! + 3) & ~3) {
      const kind = halves[(a + 2) >> 1];
      if (kind === 0) row.name = room.toString("latin1", a + 4, a + halves[a >> 1]!);
      else if (kind === 2) row.peer = words[(a + 4) >> 2]!;
      else if (kind === 7) row.uid = words[(a + 4) >> 2]!;
      else if (kind === 4) {
        row.received = words[(a + 4) >> 2]!;
        row.sent = words[(a + 8) >> 2]!;
      }
    }
    sockets.set(row.inode, row);
    i += (length + 3) & ~3;
  }
}

const link = new Uint8Array(new ArrayBuffer(64));
const linkAt = ptr(link.buffer);
const opened = (path: string): number => open(Buffer.from(`${path}\0`), 0, 0);
const number = (bytes: Uint8Array, from: number): number => {
  let value = 0;
  for (let i = from; bytes[i]! >= 48 && bytes[i]! <= 57; i++) value = value * 10 + bytes[i]! - 48;
  return value;
};
const entries = (fd: number): number => syscall(getdents, fd, at, ROOM, 0, 0, 0) as number;

const pids: number[] = [];
const proc = opened("/proc");
for (let end = entries(proc); end > 0; end = entries(proc)) {
  for (let i = 0; i < end; i += halves[(i + 16) >> 1]!) {
    const pid = number(room, i + 19);
    if (pid > 0) pids.push(pid);
  }
}
for (const pid of pids) {
  const fd = opened(`/proc/${pid}/fd`);
  if (fd < 0) continue;
  let command = "";
  for (let end = entries(fd); end > 0; end = entries(fd)) {
    for (let i = 0; i < end; i += halves[(i + 16) >> 1]!) {
      if (room[i + 19] === 46) continue;
      const length = syscall(readlinkat, fd, at + i + 19, linkAt, 64, 0, 0) as number;
      if (length <= 8 || link[0] !== 115 || link[1] !== 111) continue; // "so" of "socket:["
      const row = sockets.get(number(link, 8));
      if (row === undefined) continue;
      if (command === "") {
        const comm = opened(`/proc/${pid}/comm`);
        command = String.fromCharCode(...link.subarray(0, (read(comm, linkAt, 64) as number) - 1));
        close(comm);
      }
      row.holders += ` ${command}[${pid}]:${number(room, i + 19)}`;
    }
  }
  close(fd);
}

let text = "";
for (const { type, state, received, sent, inode, name, peer, uid, holders } of sockets.values()) {
  const other = sockets.get(peer)?.name ?? "";
  text += `${type.padEnd(9)} ${state.padEnd(11)} ${`${received}`.padStart(6)} `;
  text += `${`${sent}`.padStart(6)} ${`${inode}`.padStart(9)} ${name.padEnd(32)} `;
  text += `${`${other} ${peer}`.padEnd(40)} ${uid}${holders}\n`;
}
const out = Buffer.from(text);
write(1, out, out.length);
