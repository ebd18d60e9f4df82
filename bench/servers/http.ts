// http.ts PATH node|serve|bare: HTTP that knows its caller, until it is killed. "node": serveHttp
// and node:http; each answer asks who calls. "serve": Bun.serve on a listener with rules. "bare":
// the floor of "node": node:http by itself, and for each connection the system calls by which its
// descriptor is recognised, proven and asked, through the FFI, and nothing made of them.

import { createServer } from "node:http";
import type { Socket } from "node:net";
import { epoll, epollEvent } from "../../native/poll.ts";
import { socket as c, option } from "../../native/socket.ts";
import { handleOf } from "../../src/http/bun-handle.ts";
import { callerOf } from "../../src/http/caller.ts";
import { serveHttp } from "../../src/http/serve.ts";
import { listen, serveOn } from "../../src/index.ts";
import { registrations } from "../../src/serve/epoll-entry.ts";
import { duplicate } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { socketOf } from "../../src/syscalls/socket.ts";

const [path = "", kind = "node"] = process.argv.slice(2);
const user = process.getuid?.();
const open = () => listen(path, { allow: ({ uid }) => uid === user });

function bare(): void {
  const server = createServer((_, response) => void response.end("hello\n"));
  const [room, size, event] = [new Memory(128), new Memory(8), new Memory(epollEvent.size)];
  const inet = socketOf(c.AF_INET6, c.SOCK_DGRAM);
  const saved = duplicate(inet);
  const used = new Map<number, { readonly closed: boolean }>();
  const { SO_PASSRIGHTS, SO_PEERCRED, SOL_SOCKET } = option;
  const ask = (fd: number, which: number | null): number => {
    size.words[0] = room.bytes.length;
    return libc.getsockopt(fd, SOL_SOCKET, which ?? 0, room.address, size.address);
  };
  const put = (from: number, onto: number): number => libc.dup3(from, onto, c.SOCK_CLOEXEC ?? 0);
  let epfd = -1;
  server.on("connection", (stream: Socket) => {
    let fd = inet;
    do fd++;
    while (used.get(fd)?.closed === false || ask(fd, SO_PASSRIGHTS) < 0);
    const handle = handleOf(stream);
    libc.epoll_ctl(epfd, epoll.EPOLL_CTL_ADD ?? 0, fd, event.address);
    put(fd, saved);
    put(inet, fd);
    if (handle?.localAddress == null) process.exit(1); // another connection's number
    put(saved, fd);
    put(inet, saved);
    ask(fd, SO_PEERCRED);
    used.set(fd, handle);
  });
  server.listen(path, () => {
    for (const { fd, epoll: watching } of registrations()) {
      used.set(fd, { closed: false });
      epfd = watching;
    }
  });
}

if (kind === "bare") bare();
else if (kind === "node") {
  const server = createServer((request, response) => {
    response.end(callerOf(request)?.uid === user ? "hello\n" : "who?\n");
  });
  serveHttp(open(), server);
} else {
  serveOn(open(), (where) => Bun.serve({ ...where, fetch: () => new Response("hello\n") }));
}
