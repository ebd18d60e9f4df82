// Handing descriptors on: to Bun's own sockets, and from somebody else to us.

import { describe, expect, test } from "bun:test";
import { openSync } from "node:fs";
import {
  adoptSocket,
  connect,
  type DatagramSocket,
  Fd,
  Listener,
  listen,
  type SeqpacketSocket,
  type StreamSocket,
  socketPair,
} from "../../src/index.ts";
import { setCloseOnExec } from "../../src/syscalls/fd.ts";
import { freshPath, pairVariants, variants } from "./pairs.ts";
import {
  closeAll,
  codeOf,
  eventually,
  failure,
  isCloseOnExec,
  isOpen,
  leakFree,
  must,
  openFds,
} from "./tools.ts";

describe.each(variants)("$name", ({ kind, open }) => {
  test("adoptSocket knows what it is, and the connection goes on", () =>
    leakFree(async () => {
      using pair = await open();
      await pair.near.send("before");
      const handle = pair.far.release();
      expect([pair.far.closed, handle.closed, pair.far.fd]).toEqual([true, false, -1]);
      using again = adoptSocket(handle);
      if (!("tryReceive" in again)) throw new Error("a listener?");
      expect([again.type, handle.closed]).toEqual([kind, true]);
      expect(must(again.tryReceive()).text()).toBe("before");
      const waiting = again.receive();
      await pair.near.send("after");
      expect(must(await waiting).text()).toBe("after");
    }));
});

describe.each(pairVariants)("$name", ({ open }) => {
  test("release ends what waits, and registrations go with it", () =>
    leakFree(async () => {
      using pair = await open();
      const waiting = codeOf(() => pair.near.receive());
      const handle = pair.near.release();
      expect(await waiting).toBe("ERR_CLOSED");
      const number = handle.release();
      using again = adoptSocket(number);
      if (!("receive" in again)) throw new Error("a listener?");
      expect(again.fd).toBe(number);
      const next = again.receive();
      await pair.far.send("x");
      expect(must(await next).text()).toBe("x");
    }));

  test("adoptSocket makes what it takes close-on-exec", async () => {
    using pair = await open();
    using handle = pair.near.release();
    setCloseOnExec(handle.fd, false);
    using again = adoptSocket(handle);
    expect(isCloseOnExec(again.fd)).toBe(true);
  });
});

describe("to Bun", () => {
  test("a released stream works in Bun.connect({ fd })", async () => {
    const path = freshPath();
    using server = listen(path);
    using client = await connect(path);
    const accepted = await server.accept();
    const fd = accepted.release().release();
    const heard = Promise.withResolvers<string>();
    const ended = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      fd,
      socket: {
        data: (_socket: unknown, data: Buffer) => heard.resolve(data.toString()),
        close: () => ended.resolve(),
      },
    } as unknown as Parameters<typeof Bun.connect>[0]);
    await client.send("to Bun");
    expect(await heard.promise).toBe("to Bun");
    (socket as { write(text: string): number }).write("from Bun");
    expect(must(await client.receive()).text()).toBe("from Bun");
    client.close();
    await ended.promise;
    await eventually(() => !isOpen(fd), "Bun has closed it");
  });
});

describe("from somebody else", () => {
  test("of a Bun socket a duplicate is used; Bun keeps its own", async () => {
    const path = freshPath();
    const opened = Promise.withResolvers<{ readonly fd: number; end(): void }>();
    const server = Bun.listen({
      unix: path,
      socket: {
        open: (socket) => opened.resolve(socket as unknown as { fd: number; end(): void }),
        data: () => {},
      },
    });
    using client = await connect(path);
    const theirs = await opened.promise;
    using ours = adoptSocket(theirs);
    if (!("send" in ours)) throw new Error("a listener?");
    expect(ours.fd).not.toBe(theirs.fd);
    await ours.send("with a descriptor", { fds: [0] });
    using message = must(await client.receive());
    expect([message.text(), message.fds.length]).toEqual(["with a descriptor", 1]);
    ours.close();
    expect(isOpen(theirs.fd)).toBe(true);
    server.stop(true);
  });

  test("a listening socket becomes a Listener", () =>
    leakFree(async () => {
      for (const type of ["stream", "seqpacket"] as const) {
        const path = freshPath();
        const handle = listen(path, { type }).release();
        using server = adoptSocket(handle);
        if (!(server instanceof Listener)) throw new Error("no listener");
        expect([server.type, server.address]).toEqual([type, { kind: "path", path }]);
        const coming = server.accept();
        using client = await connect(path, { type });
        using accepted = await coming;
        await client.send("x");
        expect(must(await accepted.receive()).text()).toBe("x");
      }
    }));

  test("what is no Unix socket is refused, and stays as it was", () =>
    leakFree(async () => {
      const tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
      const number = (tcp as unknown as { fd: number }).fd;
      const error = await failure(() => adoptSocket(number));
      expect([error.code, error.syscall]).toEqual(["EAFNOSUPPORT", "getsockopt"]);
      expect(error.message).toContain("not a Unix socket");
      expect(isOpen(number)).toBe(true);
      tcp.stop(true);
      using file = Fd.adopt(openSync("/dev/null", "r"));
      expect(await codeOf(() => adoptSocket(file))).toBe("ENOTSOCK");
      expect(file.closed).toBe(false);
      expect(await codeOf(() => adoptSocket(99_999))).toBe("EBADF");
      expect(() => adoptSocket("x" as unknown as number)).toThrow(TypeError);
    }));

  test("expect: the type is known, and what is another is left as it was", () =>
    leakFree(async () => {
      const [stream, seqpacket, datagram] = [
        socketPair("stream"),
        socketPair("seqpacket"),
        socketPair("datagram"),
      ];
      const listener = listen(freshPath(), { type: "seqpacket" });
      const all = { stream: stream[0], seqpacket: seqpacket[0], datagram: datagram[0], listener };
      for (const [kind, socket] of Object.entries(all)) {
        setCloseOnExec(socket.fd, false);
        for (const other of Object.keys(all).filter((one) => one !== kind)) {
          const error = await failure(() => adoptSocket(socket.fd, { expect: other as "stream" }));
          expect([error.code, error.syscall]).toEqual(["EPROTOTYPE", "getsockopt"]);
          expect(error.message).toContain(`${other} was expected, and this is ${kind}`);
        }
        expect([isOpen(socket.fd), isCloseOnExec(socket.fd)]).toEqual([true, false]);
      }
      const end: StreamSocket = adoptSocket(stream[0].release(), { expect: "stream" });
      const packets: SeqpacketSocket = adoptSocket(seqpacket[0].release(), { expect: "seqpacket" });
      const letters: DatagramSocket = adoptSocket(datagram[0].release(), { expect: "datagram" });
      const doors: Listener = adoptSocket(listener.release(), { expect: "listener" });
      expect(doors.tryAccept()).toBeUndefined();
      for (const one of [end, packets, letters]) one.trySend("x");
      closeAll([end, packets, letters, doors, stream[1], seqpacket[1], datagram[1]]);
      expect(() => adoptSocket(99_999, { expect: "socket" as never })).toThrow(TypeError);
    }));

  test("wrong options leave the number with the caller", () => {
    const [near, far] = socketPair("stream");
    const before = openFds();
    expect(() => adoptSocket(near.fd, { acceptFds: -1 })).toThrow(RangeError);
    expect([near.closed, openFds()]).toEqual([false, before]);
    closeAll([near, far]);
  });
});
