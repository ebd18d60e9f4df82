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

const LINE =
  /^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)\s.*\bino:\s*([0-9a-f]+)/gm;

const HEX = 16;

/** All that `text` tells; a line that reads differently is left out. */
export function decodeEpollInfo(text: string): EpollEntry[] {
  return Array.from(text.matchAll(LINE), ([, fd, events, data, inode]) => ({
    fd: Number(fd),
    events: Number.parseInt(events!, HEX),
    data: BigInt(`0x${data}`),
    inode: Number.parseInt(inode!, HEX),
  }));
}
