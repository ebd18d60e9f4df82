// Connecting, the backlog, accepting: over both types that connect, and both kinds of address.

import { describe, expect, test } from "bun:test";
import { file } from "../../native/file.ts";
import { epoll } from "../../native/poll.ts";
import { socket as numbers, option } from "../../native/socket.ts";
import { kernelIsAtLeast } from "../../src/base/kernel.ts";
import {
  type Address,
  adoptSocket,
  connect,
  Fd,
  listen,
  type StreamSocket,
} from "../../src/index.ts";
import { statusFlags } from "../../src/syscalls/fd.ts";
import { isMusl, libc } from "../../src/syscalls/libc.ts";
import { result } from "../../src/syscalls/result.ts";
import {
  accept,
  connect as connectTo,
  getOption,
  listen as listenOn,
  setOption,
  shutdown,
} from "../../src/syscalls/socket.ts";
import { freshAddress } from "../api/pairs.ts";
import { codeOf, leakFree, must, turns, withLibc } from "../api/tools.ts";
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";
import { done, edges, fresh, polled, Raw, said, send } from "./raw.ts";

const rows = (["stream", "seqpacket"] as const).flatMap((type) =>
  (["path", "abstract"] as const).map((where) => ({
    name: `${type} over ${where}`,
    type,
    where,
    number: type === "stream" ? SOCK_STREAM : SOCK_SEQPACKET,
  })),
);

const SO_ERROR = option.SO_ERROR;
const PASS = option.SO_PASSCRED!;

describe.each(rows)("$name", ({ where, number }) => {
  const listening = (raw: Raw, backlog: number): [listener: number, address: Address] => {
    const address = fresh(where);
    return [raw.at(address, number, backlog), address];
  };

  test("a backlog of n lets n + 1 in, the next gets EAGAIN (CON-07)", () => {
    using raw = new Raw();
    for (const backlog of [0, 1, 2, 3]) {
      const address = fresh(where);
      raw.at(address, number, backlog);
      let let_in = 0;
      while (connectTo(raw.socket(number), address) === 0) let_in++;
      expect(let_in).toBe(backlog + 1);
      expect(said(connectTo(raw.socket(number), address))).toBe("EAGAIN");
    }
  });

  test("who got EAGAIN is not told when there is room (CON-08)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 0);
    connectTo(raw.socket(number), address);
    const refused = raw.socket(number);
    expect(said(connectTo(refused, address))).toBe("EAGAIN");
    expect(polled(refused)).toBe("OUT HUP");
    const events = edges(raw, refused, epoll.EPOLLIN! | epoll.EPOLLOUT!);
    expect(events()).toBe(1);
    raw.own(accept(listener));
    expect(events()).toBe(0);
    expect(connectTo(refused, address)).toBe(0);
  });

  test("clients that have gone still fill the backlog until they are accepted (CON-11)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 0);
    const gone = raw.socket(number);
    done(connectTo(gone, address));
    raw.close(gone);
    const next = raw.socket(number);
    expect(said(connectTo(next, address))).toBe("EAGAIN");
    expect(raw.text(raw.own(accept(listener)))).toBe("");
    expect(connectTo(next, address)).toBe(0);
  });

  test("a client that sent and went: hung up, and all is there (CON-12)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 1);
    const client = raw.socket(number);
    done(connectTo(client, address));
    expect(send(client, { data: "hello" })).toBe(5);
    expect(send(client, { data: "!", fds: [0] })).toBe(1);
    raw.close(client);
    const accepted = raw.own(accept(listener));
    expect(polled(accepted)).toBe("IN OUT HUP RDHUP");
    const first = raw.receive(accepted);
    const [text, fds] = number === SOCK_STREAM ? ["hello!", 1] : ["hello", 0];
    expect([first.text, first.fds.length]).toEqual([text, fds] as [string, number]);
    if (number === SOCK_SEQPACKET) {
      const second = raw.receive(accepted);
      expect([second.text, second.fds.length]).toEqual(["!", 1]);
    }
    expect(raw.text(accepted)).toBe("");
  });

  test("a listener that goes resets who was not accepted, once (CON-13)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 1);
    const client = raw.socket(number);
    done(connectTo(client, address));
    raw.close(listener);
    expect(polled(client)).toBe("IN OUT ERR HUP RDHUP");
    expect([raw.text(client), raw.text(client)]).toEqual(["ECONNRESET", ""]);
  });

  test("asking for the error eats the reset: the end looks clean then (CON-14)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 1);
    const client = raw.socket(number);
    done(connectTo(client, address));
    raw.close(listener);
    expect(getOption(client, SO_ERROR)).toBe(104);
    expect(getOption(client, SO_ERROR)).toBe(0);
    expect(raw.text(client)).toBe("");
  });

  test("a listener that was shut down: refused, readable for ever, EAGAIN (CON-18)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 1);
    done(shutdown(listener, numbers.SHUT_RDWR));
    expect(said(connectTo(raw.socket(number), address))).toBe("ECONNREFUSED");
    for (let i = 0; i < 3; i++) {
      expect(polled(listener)).toContain("IN");
      expect(polled(listener)).toContain("HUP");
      expect(said(accept(listener))).toBe("EAGAIN");
    }
  });

  test("accept knows no other flags: EINVAL (CON-19)", () => {
    using raw = new Raw();
    const listener = raw.at(fresh(where), number, 1);
    const answer = said(result(libc.accept4(listener, null, null, 1)));
    expect(answer).toBe(isMusl() ? "EAGAIN" : "EINVAL"); // musl then tries plain accept
  });

  test("what is accepted does not inherit O_NONBLOCK (CON-20)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 1);
    done(connectTo(raw.socket(number), address));
    const accepted = raw.own(result(libc.accept4(listener, null, null, 0)));
    const flags = [listener, accepted].map((fd) => statusFlags(fd) & file.O_NONBLOCK);
    expect(flags).toEqual([file.O_NONBLOCK, 0]);
  });

  test("SO_PASSCRED is inherited as it was when the client connected (CON-22)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 4);
    const seen: number[] = [];
    for (const [atConnect, atAccept] of [
      [1, 0],
      [0, 1],
    ] as const) {
      setOption(listener, PASS, atConnect);
      done(connectTo(raw.socket(number), address));
      setOption(listener, PASS, atAccept);
      seen.push(getOption(raw.own(accept(listener)), PASS));
    }
    const asOfAccept = [0, 1]; // on 5.10 and 6.1
    expect(kernelIsAtLeast("6.18") ? [[1, 0]] : [[1, 0], asOfAccept]).toContainEqual(seen);
  });

  test("not connected: neither sends, whatever address is given (CON-25, CON-26)", () => {
    using raw = new Raw();
    const expected = number === SOCK_STREAM ? "EOPNOTSUPP" : "ENOTCONN";
    expect(send(raw.socket(number), { to: fresh(where) })).toBe(expected);
    expect(send(raw.socket(number))).toBe("ENOTCONN");
    expect(raw.text(raw.socket(number))).toBe(number === SOCK_STREAM ? "EINVAL" : "ENOTCONN");
  });

  test("poll of a socket that is not connected (CON-27)", () => {
    using raw = new Raw();
    expect(polled(raw.socket(number))).toBe("OUT HUP");
    expect(polled(raw.socket(SOCK_DGRAM))).toBe("OUT");
  });

  test("not listening, bound or not: accept is EINVAL (CON-16)", () => {
    using raw = new Raw();
    expect(said(accept(raw.socket(number)))).toBe("EINVAL");
    expect(said(accept(raw.at(fresh(where), number)))).toBe("EINVAL");
  });

  test("connected already, or to oneself: EISCONN, EINVAL (CON-05, CON-06)", () => {
    using raw = new Raw();
    const [listener, address] = listening(raw, 4);
    const client = raw.socket(number);
    done(connectTo(client, address));
    expect(said(connectTo(client, address))).toBe("EISCONN");
    expect(said(connectTo(listener, address))).toBe("EINVAL");
  });
});

describe.each(rows)("$name, by the API", ({ type, where }) => {
  test("a connect that waits goes on when the backlog grows (CON-09)", () =>
    leakFree(async () => {
      using server = listen(freshAddress(where), { type, backlog: 0 });
      using _first = await connect(server.address as { path: string }, { type });
      const waiting = connect(server.address as { path: string }, { type });
      await turns();
      done(listenOn(server.fd, 4));
      (await waiting).close();
    }));

  test("a client that waits to receive is told that its listener has gone (CON-15)", () =>
    leakFree(async () => {
      const server = listen(freshAddress(where), { type });
      using client = await connect(server.address as { path: string }, { type });
      const waiting = client.receive();
      await turns();
      server.close();
      expect(await codeOf(() => waiting)).toBe("ECONNRESET");
      expect(await client.receive()).toBeNull();
    }));

  test("accept on a listener that was shut down waits without spinning (CON-18)", async () => {
    using server = listen(freshAddress(where), { type });
    const waiting = codeOf(() => server.accept());
    await turns();
    done(shutdown(server.fd, numbers.SHUT_RDWR));
    const { accept4 } = libc;
    let tries = 0;
    const counting = (...args: Parameters<typeof accept4>): number => {
      tries++;
      return accept4(...args);
    };
    await withLibc({ accept4: counting as typeof accept4 }, async () => {
      for (let i = 0; i < 10; i++) await turns();
    });
    expect(tries).toBeLessThan(10);
    expect(server.tryAccept()).toBeUndefined();
    server.close();
    expect(await waiting).toBe("ERR_CLOSED");
  });

  test("close ends an accept that waits, though the socket lives on (CON-24)", async () => {
    using server = listen(freshAddress(where), { type, unlinkOnClose: false });
    using copy = Fd.duplicate(server);
    const waiting = codeOf(() => server.accept());
    await turns();
    server.close();
    expect(await waiting).toBe("ERR_CLOSED");
    using again = adoptSocket(copy);
    if (!again.listening) throw new Error("not a listener");
    const next = again.accept();
    using _client = await connect(server.address, { type });
    (await next).close();
  });
});

test("connections are accepted in their order, gone clients too (CON-11)", async () => {
  using server = listen(freshAddress("path"));
  const address = server.address as { path: string };
  for (let i = 0; i < 3; i++) {
    using client = (await connect(address)) as StreamSocket;
    client.trySend(`${i}`);
  }
  for (let i = 0; i < 3; i++) {
    using accepted = await server.accept();
    expect(must(await accepted.receive()).text()).toBe(`${i}`);
    expect(await accepted.receive()).toBeNull();
  }
});
