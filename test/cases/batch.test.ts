// Many messages at once, bytes out of band, peeks with an offset, SO_INQ. Of these the API uses
// sendmmsg and recvmmsg only; what a peer does with the others must not confuse it.

import { describe, expect, test } from "bun:test";
import { option } from "../../native/socket.ts";
import type { StreamSocket } from "../../src/index.ts";
import { recvmmsg, sendmmsg } from "../../src/syscalls/message.ts";
import { setOption } from "../../src/syscalls/socket.ts";
import { variants } from "../api/pairs.ts";
import { leakFree, must, turns } from "../api/tools.ts";
import { noOutOfBand, olderThan, smallBuffers, testUnless } from "../support/unless.ts";
import { batch } from "../syscalls/sockets.ts";
import {
  done,
  ioctl,
  MSG_PEEK,
  more,
  ofKind,
  packets,
  polled,
  Raw,
  rawVariants,
  said,
  send,
  setRaw,
} from "./raw.ts";

const { MSG_OOB } = more;
const IOV_MAX = 1024;
const int = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);

describe.each(rawVariants)("$name", ({ open }) => {
  test("more than 1,024 parts are EMSGSIZE (MMS-05)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const data = new Uint8Array(IOV_MAX + 1);
    expect(send(near, { data, parts: IOV_MAX + 1 })).toBe("EMSGSIZE");
    expect(send(near, { data: data.subarray(1), parts: IOV_MAX })).toBe(IOV_MAX);
    expect(raw.receive(far, { bytes: 2_000 }).result).toBe(IOV_MAX);
  });

  test("20 at once, and back; what is there comes without a wait (MMS-01, MMS-08)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(sendmmsg(near, batch(20), 20)).toBe(20);
    expect(recvmmsg(far, batch(8), 8, false)).toBe(8);
    expect(recvmmsg(far, batch(64), 64, false)).toBe(12);
    expect(said(recvmmsg(far, batch(4), 4, false))).toBe("EAGAIN");
  });
});

describe.each(packets)("$name", ({ open }) => {
  testUnless(smallBuffers(2 << 20), "1,100 at once are 1,024 (MMS-04)", () => {
    using raw = new Raw();
    const [near] = open(raw);
    done(setOption(near, option.SO_SNDBUF, 2 << 20));
    expect(sendmmsg(near, batch(1_100), 1_100)).toBe(1_024);
  });
});

const noOob = noOutOfBand();
const stopsBehind = olderThan("6.11", "a receive that goes on there") !== null;

/** What is behind a byte that was taken by MSG_OOB (facts: #behind-out-of-band). */
function behindTaken(raw: Raw, far: number): string | number {
  const first = raw.text(far);
  return first === "EAGAIN" && stopsBehind ? raw.text(far) : first;
}

describe.each(ofKind("stream"))("$name: out of band", ({ open }) => {
  testUnless(noOob, "a receive stops at the mark, and goes on behind it (OOB-01, OOB-05)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "hello", flags: MSG_OOB });
    send(near, { data: "world" });
    expect(polled(far)).toBe("IN PRI OUT");
    expect([ioctl(far, more.SIOCATMARK), raw.text(far)]).toEqual([0, "hell"]);
    expect(ioctl(far, more.SIOCATMARK)).toBe(1);
    expect(raw.text(far, { flags: MSG_OOB })).toBe("o");
    expect(polled(far)).toBe("IN OUT");
    expect(behindTaken(raw, far)).toBe("world");
  });

  testUnless(noOob, "a plain receive of that byte alone says EAGAIN, and drops it (OOB-02)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "o", flags: MSG_OOB });
    expect([raw.text(far, { bytes: 1 }), raw.text(far)]).toEqual(["EAGAIN", "EAGAIN"]);
    expect(raw.text(far, { flags: MSG_OOB })).toBe("EINVAL");
  });

  testUnless(noOob, "asked for where there is none: EINVAL (OOB-03)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(raw.text(far, { flags: MSG_OOB })).toBe("EINVAL");
    send(near);
    expect(raw.text(far, { flags: MSG_OOB })).toBe("EINVAL");
  });

  testUnless(noOob, "a second one makes the first ordinary; inline they all are (OOB-04)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "hello", flags: MSG_OOB });
    send(near, { data: "wor", flags: MSG_OOB });
    send(near, { data: "ld" });
    const seen = [raw.text(far), raw.text(far, { flags: MSG_OOB }), behindTaken(raw, far)];
    expect(seen).toEqual(["hellowo", "r", "ld"]);
    expect(setRaw(far, more.SO_OOBINLINE, int(1))).toBe(0);
    send(near, { data: "hello", flags: MSG_OOB });
    expect(raw.text(far, { flags: MSG_OOB })).toBe("EINVAL");
    expect([raw.text(far), raw.text(far)]).toEqual(["hell", "o"]);
  });

  testUnless(noOob, "descriptors with it come with the first byte, or not at all (OOB-07)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "xy", fds: [0], flags: MSG_OOB });
    expect(raw.receive(far).fds.length).toBe(1);
    raw.text(far, { flags: MSG_OOB });
    send(near, { data: "y", fds: [0], flags: MSG_OOB });
    const got = raw.receive(far, { flags: MSG_OOB });
    expect([got.text, got.fds.length]).toEqual(["y", 0]);
  });
});

describe.each(packets)("$name", ({ open }) => {
  test("nothing goes out of band: EOPNOTSUPP (OOB-06)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { flags: MSG_OOB })).toBe("EOPNOTSUPP");
    send(near);
    expect(raw.text(far, { flags: MSG_OOB })).toBe("EOPNOTSUPP");
  });

  test("SO_INQ is for streams: ENOPROTOOPT or EOPNOTSUPP (INQ-02)", () => {
    using raw = new Raw();
    const answer = setRaw(open(raw)[0], more.SO_INQ, int(1));
    expect(["ENOPROTOOPT", "EOPNOTSUPP"]).toContain(String(answer));
  });
});

describe.each(variants.filter(({ stream }) => stream))("$name, by the API", ({ open }) => {
  testUnless(noOob, "what a peer sends out of band is received in line (OOB-01)", async () => {
    using one = await open();
    using two = await open();
    const waiting = [one, two].map(({ far }) => far.receive());
    await turns();
    for (const { near } of [one, two]) {
      send(near.fd, { data: "hello", flags: MSG_OOB });
      send(near.fd, { data: "world" });
    }
    // the first receive is short and yet leaves something behind: the mark stops it
    for (const first of waiting) expect(must(await first).text()).toBe("hell");
    for (const { near, far } of [one, two]) {
      expect(must(await far.receive()).text()).toBe("oworld");
      (near as StreamSocket).end();
      expect(await far.receive()).toBeNull();
    }
  });

  testUnless(noOob, "one byte out of band, alone, and what follows (OOB-02)", async () => {
    using pair = await open();
    send(pair.near.fd, { data: "o", flags: MSG_OOB });
    expect(must(pair.far.tryReceive()).text()).toBe("o");
    send(pair.near.fd, { data: "o", flags: MSG_OOB });
    send(pair.near.fd, { data: "world" });
    expect(must(await pair.far.receive()).text()).toBe("oworld");
    const waiting = pair.far.receive();
    await turns();
    send(pair.near.fd, { data: "o", flags: MSG_OOB });
    expect(must(await waiting).text()).toBe("o");
  });

  testUnless(noOob, "descriptors sent out of band come (OOB-07)", () =>
    leakFree(async () => {
      using pair = await open();
      send(pair.near.fd, { data: "xy", fds: [0], flags: MSG_OOB });
      using message = must(await pair.far.receive());
      expect([message.text(), message.fds.length]).toEqual(["x", 1]);
      send(pair.near.fd, { data: "z", fds: [0], flags: MSG_OOB });
      expect(must(await pair.far.receive()).text()).toBe("y");
      using last = must(await pair.far.receive());
      expect([last.text(), last.fds.length]).toEqual(["z", 1]);
    }),
  );
});

const noPeekOffset = ((): string | null => {
  using raw = new Raw();
  const answer = setRaw(raw.pair(1)[0], more.SO_PEEK_OFF, int(0));
  return answer === 0 ? null : `SO_PEEK_OFF: ${answer}`;
})();

describe.each(rawVariants)("$name", ({ open, stream }) => {
  const peek = { flags: MSG_PEEK };

  testUnless(
    noPeekOffset,
    "SO_PEEK_OFF: each peek goes on where the last one ended (POF-01)",
    () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      expect(setRaw(far, more.SO_PEEK_OFF, int(0))).toBe(0);
      send(near, { data: "aaaabbbb" });
      expect(raw.text(far, { bytes: 4, ...peek })).toBe("aaaa");
      expect(raw.text(far, peek)).toBe("bbbb");
    },
  );

  testUnless(
    noPeekOffset,
    "SO_PEEK_OFF over two sends: a stream's peek spans them (POF-02)",
    () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      setRaw(far, more.SO_PEEK_OFF, int(0));
      send(near, { data: "aaaa" });
      expect(raw.text(far, { bytes: 2, ...peek })).toBe("aa");
      send(near, { data: "bbbb" });
      expect(raw.text(far, { bytes: 4, ...peek })).toBe(stream ? "aabb" : "aa");
      expect(raw.text(far, peek)).toBe(stream ? "bb" : "bbbb");
    },
  );

  testUnless(
    noPeekOffset,
    "SO_PEEK_OFF at the end: EAGAIN; a receive takes from the offset (POF-03)",
    () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      setRaw(far, more.SO_PEEK_OFF, int(0));
      for (const data of ["aaaa", "bbbb"]) send(near, { data });
      while (raw.text(far, peek) !== "EAGAIN");
      expect(raw.text(far, { bytes: 4 })).toBe("aaaa");
      send(near, { data: "cccc" });
      expect(raw.text(far, peek)).toBe("cccc");
    },
  );
});

const noInq = ((): string | null => {
  using raw = new Raw();
  const answer = setRaw(raw.pair(1)[0], more.SO_INQ, int(1));
  return answer === 0 ? null : `SO_INQ: ${answer}`;
})();

describe.each(ofKind("stream"))("$name", ({ open }) => {
  testUnless(noInq, "SO_INQ says how much is left after the receive (INQ-01)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    setRaw(far, more.SO_INQ, int(1));
    send(near, { data: "0123456789" });
    const seen = [MSG_PEEK, 0, MSG_PEEK].map((flags) => raw.receive(far, { bytes: 4, flags }));
    expect(seen.map(({ text }) => text)).toEqual(["0123", "0123", "4567"]);
    expect(seen.map(({ control }) => control.readInt32LE(12))).toEqual(Array(3).fill(more.SO_INQ));
    // what a peek looks at is not taken yet: it counts
    expect(seen.map(({ control }) => control.readInt32LE(16))).toEqual([10, 6, 6]);
  });
});
