// What /proc says of an epoll descriptor.

import { expect, test } from "bun:test";
import { closeSync, fstatSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { epoll } from "../../native/poll.ts";
import { socketPair } from "../../src/index.ts";
import { decodeEpollInfo } from "../../src/structs/epoll-info.ts";
import { epollAddAs, epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";

test("entries come back as they were added", () => {
  const epfd = epollCreate();
  const [a, b] = socketPair("stream");
  const EPOLLIN = epoll.EPOLLIN ?? 0;
  const data = 0x7fed_cba9_8765_4321n;
  expect(epollAddAs(epfd, a.fd, { events: EPOLLIN, data })).toBe(0);
  expect(epollCtl(epfd, epoll.EPOLL_CTL_ADD ?? 0, { fd: b.fd, events: EPOLLIN, tag: 1 })).toBe(0);
  const found = decodeEpollInfo(readFileSync(`/proc/self/fdinfo/${epfd}`, "utf8"));
  const [first, second] = [a, b].map(({ fd }) => found.find((one) => one.fd === fd));
  expect(first).toMatchObject({ data, inode: fstatSync(a.fd).ino });
  expect(second).toMatchObject({ data: 0x1_0000_0000n | BigInt(b.fd) });
  expect((first?.events ?? 0) & EPOLLIN).toBe(EPOLLIN);
  expect(found.length).toBe(2);
  a.close();
  b.close();
  closeSync(epfd);
});

test("what the kernel before inodes wrote, and what it never does, is left out", () => {
  const line = "tfd:        5 events:       19 data:      32a4ec20dc0";
  const rest = "  pos:0 ino:98b2fd sdev:9";
  const entry = { fd: 5, events: 0x19, data: 0x32a4ec20dc0n, inode: 0x98b2fd };
  expect(decodeEpollInfo(`pos:\t0\nflags:\t02\n${line}${rest}\n`)).toEqual([entry]);
  expect(decodeEpollInfo(`${line}\n${line}${rest}\ntfd: x\n`)).toEqual([entry]);
  expect(decodeEpollInfo("")).toEqual([]);
  fc.assert(fc.property(fc.string(), (text) => void decodeEpollInfo(text)));
});
