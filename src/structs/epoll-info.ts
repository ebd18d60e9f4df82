// What /proc says of an epoll descriptor (proc(5), /proc/PID/fdinfo): text → values.

/** One descriptor that an epoll watches, as it was registered. */
export interface EpollEntry {
  /** Its number when it was registered: the same file's as long as that number was not reused. */
  readonly fd: number;
  readonly events: number;
  readonly data: bigint;
  /** The inode of its file: tells sockets apart, whatever their numbers. */
  readonly inode: number;
}

const LINE = /^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)\s.*\bino:\s*([0-9a-f]+)/m;
const LINES = new RegExp(LINE, "gm");

const HEX = 16;

/** All that `text` tells; a line that reads differently is left out. */
export function decodeEpollInfo(text: string): EpollEntry[] {
  return Array.from(text.matchAll(LINES), entryOf);
}

/** The first that `text` tells. */
export function firstEpollEntry(text: string): EpollEntry | undefined {
  const found = LINE.exec(text);
  return found === null ? undefined : entryOf(found);
}

const entryOf = ([, fd, events, data, inode]: RegExpExecArray): EpollEntry => ({
  fd: Number(fd),
  events: Number.parseInt(events!, HEX),
  data: BigInt(`0x${data}`),
  inode: Number.parseInt(inode!, HEX),
});
