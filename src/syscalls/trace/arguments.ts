// Arguments that one function, or a few, have: kinds of sockets, options, events.

import { pipeSize } from "../../../native/fifo.ts";
import { file, pollfd } from "../../../native/file.ts";
import { seal } from "../../../native/mapping.ts";
import { epoll, epollEvent, poll } from "../../../native/poll.ts";
import { option, socket } from "../../../native/socket.ts";
import { timespec } from "../../../native/time.ts";
import {
  addressIn,
  decimal,
  flags,
  hex,
  int,
  type Made,
  named,
  quoted,
  type Show,
  sockaddr,
  viewAt,
} from "./values.ts";

/** Most events of one call that are shown. */
const MAX_EVENTS = 16;

export const socketOption = named(option, "SO_");
export const openFlags = flags(file, "O_");
const pollEvents = flags(poll, "POLL");
const { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, ...events } = epoll;
const epollEvents = flags(events, "EPOLL");
export const epollFlags: Show = flags({ EPOLL_CLOEXEC }, "EPOLL_");

/** O_RDONLY, O_WRONLY and O_RDWR are a number of two bits; the others are one bit each. */
export const opening: Show = (value, made) => {
  const access = int(value) & file.O_ACCMODE;
  const rest = int(value) & ~file.O_ACCMODE;
  const names = ["O_RDONLY", "O_WRONLY", "O_RDWR"];
  const name = names[access] ?? "O_ACCMODE";
  return rest === 0 ? name : `${name}|${openFlags(rest, made)}`;
};

const KIND_BITS = 0xf;
const { SOCK_CLOEXEC, SOCK_NONBLOCK } = socket;
export const acceptFlags = flags({ SOCK_CLOEXEC, SOCK_NONBLOCK }, "SOCK_");
const { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET } = socket;
const socketKinds = named({ SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET }, "SOCK_");

export const socketType: Show = (value, made) => {
  const rest = int(value) & ~KIND_BITS;
  const name = socketKinds(int(value) & KIND_BITS, made);
  return rest === 0 ? name : `${name}|${acceptFlags(rest, made)}`;
};

export const family = named(socket, "AF_");
export const nameIn: Show = (value, { args }) => sockaddr(addressIn(value), int(args[2]));
export const nameOut: Show = (value, made) => {
  const lengthAt = addressIn(made.args[2] ?? null);
  if (made.result < 0 || lengthAt === 0) return hex(value, made);
  return sockaddr(addressIn(value), viewAt(lengthAt, 4).getInt32(0, true));
};

const INT = 4;
export const level: Show = (value) =>
  value === option.SOL_SOCKET ? "SOL_SOCKET" : String(int(value));
const number = (address: number): string => `[${viewAt(address, INT).getInt32(0, true)}]`;
export const optionIn: Show = (value, made) =>
  made.args[4] === INT ? number(addressIn(value)) : hex(value, made);
export const optionOut: Show = (value, made) => {
  const lengthAt = addressIn(made.args[4] ?? null);
  if (made.result < 0) return hex(value, made);
  const bytes = viewAt(lengthAt, INT).getInt32(0, true);
  if (bytes === INT) return number(addressIn(value));
  return quoted(new Uint8Array(viewAt(addressIn(value), bytes).buffer));
};

export const command: Show = named({ ...file, ...seal, ...pipeSize }, "F_");
const sealFlags = flags(seal, "F_SEAL_");
export const fcntlArgument: Show = (value, made) => {
  if (made.args[1] === file.F_SETFL) return opening(value, made);
  if (made.args[1] === seal.F_ADD_SEALS) return sealFlags(value, made);
  if (made.args[1] === file.F_SETFD) return flags(file, "FD_")(value, made);
  return decimal(value, made);
};

export function fcntlResult(made: Made): string {
  const { args, result } = made;
  if (result > 0 && args[1] === file.F_GETFL) return `${result} (${opening(result, made)})`;
  return args[1] === file.F_GETFD && result === file.FD_CLOEXEC ? "1 (FD_CLOEXEC)" : `${result}`;
}

export const pollfds: Show = (value, { args, result }) => {
  const count = Math.min(int(args[1]), MAX_EVENTS);
  const view = viewAt(addressIn(value), count * pollfd.size);
  const one = (_: unknown, i: number): string => {
    const at = i * pollfd.size;
    const events = pollEvents(view.getInt16(at + pollfd.at.events, true), { args, result });
    const back = view.getInt16(at + pollfd.at.revents, true);
    const came = back === 0 ? "" : `, revents=${pollEvents(back, { args, result })}`;
    return `{fd=${view.getInt32(at + pollfd.at.fd, true)}, events=${events}${came}}`;
  };
  return `[${Array.from({ length: count }, one).join(", ")}]`;
};

function epollText(view: DataView, at: number, made: Made): string {
  const data = view.getBigUint64(at + epollEvent.at.data, true);
  const events = view.getUint32(at + epollEvent.at.events, true);
  return `{${epollEvents(events, made)}, data=0x${data.toString(16)}}`;
}

export const epollIn: Show = (value, made) =>
  addressIn(value) === 0 ? "NULL" : epollText(viewAt(addressIn(value), epollEvent.size), 0, made);

export const epollOut: Show = (value, made) => {
  if (made.result < 0) return hex(value, made);
  const count = Math.min(made.result, MAX_EVENTS);
  const view = viewAt(addressIn(value), count * epollEvent.size);
  const all = Array.from({ length: count }, (_, i) => epollText(view, i * epollEvent.size, made));
  return `[${all.join(", ")}${made.result > count ? ", …" : ""}]`;
};

export const epollOp: Show = named({ EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD }, "EPOLL_");
export const seconds: Show = (value, made) => {
  if (addressIn(value) === 0) return hex(value, made);
  const view = viewAt(addressIn(value), timespec.size);
  const [whole, parts] = [timespec.at.tv_sec, timespec.at.tv_nsec];
  return `{${view.getBigInt64(whole, true)} s, ${view.getBigInt64(parts, true)} ns}`;
};
