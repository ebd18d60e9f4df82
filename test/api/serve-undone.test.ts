// What serveOn does when something does not hold, and how little of it is ever to be seen.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { epoll } from "../../native/poll.ts";
import {
  connect,
  Fd,
  listen,
  openDatagram,
  socketPair,
  UnsupportedError,
} from "../../src/index.ts";
import { serveOn } from "../../src/serve/adopt.ts";
import { registrations } from "../../src/serve/epoll-entry.ts";
import { listenTcp } from "../../src/serve/listen-tcp.ts";
import { native } from "../../src/serve/native-fd.ts";
import { statusFlags } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { fake } from "../support/seam.ts";
import { testUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { fetchOnce, hello, listeners, nothingLeft, readAll } from "./servers.ts";
import { leakFree, thrown } from "./tools.ts";

describe("the throw-away place", () => {
  test("who connects to it is disconnected, and nobody is confused", () =>
    leakFree(async () => {
      using opened = listeners[0]!.open();
      let served = 0;
      const server = await new Promise<Bun.Server<undefined>>((resolve) => {
        const adopted = serveOn(opened.listening, (where) => {
          const made = Bun.serve({ ...where, fetch: () => new Response(`${++served}`) });
          if (!("unix" in where)) throw new Error("not Unix");
          strays.push(connect(where.unix.replace("\0", "@")));
          return made;
        });
        resolve(adopted);
      });
      const stray = await strays.pop()!;
      const end = await stray.receive().catch((error: { code: string }) => error.code);
      expect([null, "ECONNRESET"]).toContain(end as string | null);
      stray.close();
      expect(served).toBe(0);
      expect(await fetchOnce(opened.target)).toBe("1");
      await server.stop(true);
    }));
  const strays: ReturnType<typeof connect>[] = [];
});

describe("refused before anything is started", () => {
  const never = (): never => {
    throw new Error("started");
  };
  test("what does not listen, is no stream, no socket, not open", () =>
    leakFree(async () => {
      const [a, b] = socketPair("stream");
      using packets = listen(freshPath(), { type: "seqpacket" });
      using datagrams = openDatagram(freshPath());
      const codes = [];
      for (const bad of [a, packets, datagrams, 0, 99_999]) {
        codes.push(
          await thrown(() => serveOn(bad, never)).then((e) => (e as { code: string }).code),
        );
      }
      expect(codes).toEqual(["EINVAL", "EPROTOTYPE", "EPROTOTYPE", "ENOTSOCK", "EBADF"]);
      expect(() => serveOn("x" as unknown as number, never)).toThrow(TypeError);
      expect(() => serveOn(-1, never)).toThrow(RangeError);
      a.close();
      b.close();
    }));
});

describe("undone", () => {
  /** The listener is as before: its own accept gets the next connection. */
  async function undone(call: (fd: Fd) => unknown): Promise<unknown> {
    let error: unknown;
    await leakFree(async () => {
      const path = freshPath();
      using listener = listen(path);
      using borrowed = Fd.duplicate(listener);
      const flags = statusFlags(listener.fd);
      error = await thrown(() => call(borrowed));
      expect([borrowed.closed, statusFlags(listener.fd)]).toEqual([false, flags]);
      const client = await connect(path);
      const accepted = await listener.accept();
      await client.send("mine");
      expect((await accepted.receive())?.text()).toBe("mine");
      client.close();
      accepted.close();
      await nothingLeft();
    });
    return error;
  }

  test("start throws", async () => {
    const error = await undone((fd) =>
      serveOn(fd, () => {
        throw new Error("no certificate");
      }),
    );
    expect(String(error)).toContain("no certificate");
  });

  test("start returns nothing, or a promise, whose server is stopped too", async () => {
    expect(await undone((fd) => serveOn(fd, () => undefined as never))).toBeInstanceOf(TypeError);
    const error = await undone(async (fd) => {
      const later = Promise.withResolvers<Bun.Server<undefined>>();
      try {
        serveOn(fd, (where) => {
          later.resolve(hello(where));
          return later.promise as never;
        });
      } finally {
        await later.promise;
      }
    });
    expect(String(error)).toContain("not a promise");
  });

  test("start listens somewhere else", async () => {
    for (const place of [{ port: 0, hostname: "127.0.0.1" }, { unix: freshPath() }]) {
      const error = await undone((fd) =>
        serveOn(fd, () => Bun.serve({ ...place, fetch: () => new Response() } as never)),
      );
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(String(error)).toContain("did start spread `where`?");
    }
  });

  test("start starts two servers", async () => {
    const made: Bun.Server<undefined>[] = [];
    using fd = listenTcp({ hostname: "127.0.0.1", port: 0 });
    const error = await thrown(() =>
      serveOn(fd, (where) => {
        made.push(hello(where), hello(where));
        return { stop: () => made.map((server) => server.stop(true)) };
      }),
    );
    expect(String(error)).toContain("one server");
  });

  const { EPOLL_CTL_ADD, EPOLL_CTL_DEL } = epoll;
  const failing = (op: number | null) => {
    const real = libc.epoll_ctl;
    let left = 1;
    return fake(
      "epoll_ctl",
      (function* () {
        while (left > 0) {
          yield (...args: number[]) => {
            if (args[1] !== op || left === 0)
              return real(...(args as [number, number, number, number]));
            left -= 1;
            return real(-1, op ?? 0, args[2]!, args[3]!); // EBADF
          };
        }
      })(),
    );
  };

  test.each([
    ["epoll_ctl", EPOLL_CTL_DEL],
    ["epoll_ctl", EPOLL_CTL_ADD],
  ])("%s %i fails", async (_, op) => {
    const error = await undone((fd) => {
      using _fake = failing(op);
      return serveOn(fd, hello);
    });
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(String(error)).toContain("epoll_ctl EBADF");
  });

  test("dup3 fails", async () => {
    const error = await undone((fd) => {
      using _fake = fake("dup3", [{ errno: errno.EBUSY }]);
      return serveOn(fd, hello);
    });
    expect(error).toMatchObject({ code: "ERR_UNSUPPORTED", capability: "serveOn" });
    expect(String(error)).toContain("dup3 EBUSY");
  });

  test("dup3 says yes and does nothing", async () => {
    const error = await undone((fd) => {
      using _fake = fake("dup3", [(_from, onto) => onto!]);
      return serveOn(fd, hello);
    });
    expect(String(error)).toContain("did not last");
  });
});

describe("where the server takes a descriptor itself", () => {
  async function natively(body: () => unknown): Promise<void> {
    native.works = true;
    try {
      await leakFree(async () => void (await body()));
    } finally {
      native.works = null;
    }
  }

  const before14 = Bun.semver.satisfies(Bun.version, "<1.4.0");
  const refused = before14 ? "Bun 1.3 refuses { fd } everywhere" : null;
  testUnless(refused, "it gets a duplicate, and nothing is exchanged", () =>
    natively(async () => {
      using opened = listeners[2]!.open();
      let given = -1;
      using dup3 = fake("dup3", []);
      const server = serveOn(opened.listening, (where) => {
        given = (where as { fd?: number }).fd ?? -1;
        return Bun.listen({
          fd: given,
          socket: { open: (s: Bun.Socket<undefined>) => void s.end("native"), data() {} },
        } as never);
      });
      expect(await readAll(opened.target)).toBe("native");
      expect([given === opened.listening.fd, dup3.calls.length]).toEqual([false, 0]);
      server.stop(true);
    }),
  );

  test("one that does not take it is exchanged after all", () =>
    natively(async () => {
      using opened = listeners[2]!.open();
      const server = serveOn(opened.listening, hello);
      expect(await fetchOnce(opened.target)).toBe("hello /");
      await server.stop(true);
    }));

  test("start throws: the duplicate is closed", () =>
    natively(async () => {
      using opened = listeners[2]!.open();
      expect(
        String(
          await thrown(() =>
            serveOn(opened.listening, () => {
              throw new Error("no");
            }),
          ),
        ),
      ).toContain("no");
    }));

  test("this Bun is asked once", async () => {
    native.works = null;
    using opened = listeners[2]!.open();
    for (let i = 0; i < 2; i++) await serveOn(opened.listening, hello).stop(true);
    expect(native.works as boolean | null).not.toBeNull();
    const watched = registrations().map(({ fd }) => fd);
    expect(new Set(watched).size).toBe(watched.length);
  });
});
