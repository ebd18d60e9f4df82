// Seqpacket sockets and pairs: ends, resets, and what making a pair wrongly says.

import { describe, expect, test } from "bun:test";
import { socket as numbers, option } from "../../native/socket.ts";
import { adoptSocket } from "../../src/index.ts";
import { close, duplicate } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { bind, getOption, setOption } from "../../src/syscalls/socket.ts";
import { variants } from "../api/pairs.ts";
import { must } from "../api/tools.ts";
import { run, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { testUnless } from "../support/unless.ts";
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";
import {
  connections,
  fresh,
  MSG_DONTWAIT,
  MSG_PEEK,
  more,
  ofKind,
  polled,
  Raw,
  rawVariants,
  said,
  send,
} from "./raw.ts";

const PASS = option.SO_PASSCRED!;

describe.each(ofKind("seqpacket"))("$name", ({ open }) => {
  test("a peer that has closed: EPIPE to send, 0 to receive (SEQ-01)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    raw.close(far);
    expect([send(near), send(near)]).toEqual(["EPIPE", "EPIPE"]);
    expect([raw.text(near), raw.text(near)]).toEqual(["", ""]);
  });

  test("an address is ignored, whatever it is (SEQ-02)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { data: "abc", to: fresh("path") })).toBe(3);
    expect(raw.text(far)).toBe("abc");
  });

  test("empty messages look like the end, with SO_PASSCRED they do not (SEQ-03, SEQ-04)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "" });
    send(near, { data: "" });
    raw.close(near);
    expect(polled(far)).toContain("RDHUP");
    const plain = raw.receive(far);
    setOption(far, PASS, 1);
    const marked = raw.receive(far);
    const end = raw.receive(far);
    expect([plain, marked, end].map(({ result: bytes }) => bytes)).toEqual([0, 0, 0]);
    expect([plain, marked, end].map(({ credentials }) => credentials !== null)).toEqual([
      false,
      true,
      false,
    ]);
  });

  test("empty messages of a peer with a name carry it, the end does not (SEQ-04)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    bind(near, fresh("abstract")); // refused where it has its listener's name
    send(near, { data: "" });
    raw.close(near);
    const lengths = [raw.receive(far).nameBytes, raw.receive(far).nameBytes];
    expect([lengths[0]! > 0, lengths[1]]).toEqual([true, 0]);
  });

  test("MSG_EOR is taken, and never said (SEQ-10)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { flags: more.MSG_EOR })).toBe(1);
    expect(raw.receive(far).flags & more.MSG_EOR).toBe(0);
  });
});

describe.each(connections)("$name", ({ open, stream }) => {
  test("closed with our message unread: the kernel's order of what comes (SEQ-05)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "unread" });
    send(far, { data: "theirs!" });
    raw.close(far);
    const seen = [0, 1, 2].map(() => raw.text(near));
    expect(seen).toEqual(stream ? ["theirs!", "ECONNRESET", ""] : ["ECONNRESET", "theirs!", ""]);
  });
});

describe.each(rawVariants)("$name", ({ open, type }) => {
  test("is anything there? no room, a peek, EAGAIN: as systemd asks (SEQ-12)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const how = { bytes: 0, flags: MSG_PEEK | MSG_DONTWAIT };
    expect(raw.receive(far, how).result).toBe("EAGAIN");
    send(near, { data: "kept" });
    expect(raw.receive(far, how).result).toBe(0);
    expect(raw.text(far)).toBe("kept");
  });

  test("type, domain and protocol are told, of both ends (PAIR-04)", () => {
    using raw = new Raw();
    for (const fd of open(raw)) {
      expect(getOption(fd, option.SO_TYPE)).toBe(type);
      expect(getOption(fd, option.SO_DOMAIN!)).toBe(numbers.AF_UNIX);
      expect(getOption(fd, option.SO_PROTOCOL!)).toBe(0);
    }
  });
});

describe.each(variants.filter(({ route }) => route === "pair"))("$name", ({ kind, open }) => {
  test("gathered into one message, received as one (SEQ-07)", async () => {
    using pair = await open();
    await pair.near.send(["ab", Uint8Array.of(99), "de"]);
    expect(must(await pair.far.receive()).text()).toBe("abcde");
    expect(pair.far.tryReceive()).toBeUndefined();
  });

  peerTest(
    "in a child that inherits it the creator is still its peer (PAIR-05)",
    ["python3"],
    async () => {
      using pair = await open();
      const program = `
import socket, struct
s = socket.socket(fileno=3)
print(struct.unpack("iII", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
`;
      const outcome = await run(["python3", "-c", program], { fds: [pair.far.fd] });
      expect(Number(succeeded(outcome))).toBe(process.pid);
      expect(pair.near.type).toBe(kind);
    },
  );
});

describe("socketpair", () => {
  const pair = (domain: number, type: number, protocol: number, into: number | null) =>
    said(result(libc.socketpair(domain, type, protocol, into as never)));
  const room = new Memory(8);

  test("a family that is none, one without pairs (PAIR-01)", () => {
    expect(pair(0, SOCK_STREAM, 0, room.address)).toBe("EAFNOSUPPORT");
    expect(pair(75, SOCK_STREAM, 0, room.address)).toBe("EAFNOSUPPORT");
    expect(pair(numbers.AF_INET, SOCK_STREAM, 0, room.address)).toBe("EOPNOTSUPP");
  });

  /** The two numbers that come next. */
  const next = (): number[] => {
    const fds = [duplicate(0), duplicate(0)];
    for (const fd of fds) close(fd);
    return fds;
  };
  const before = next();
  pair(numbers.AF_UNIX, SOCK_STREAM, 0, null);
  const left = next()[0] !== before[0];
  if (left) for (const fd of before) close(fd);

  const careless = left ? "a socketpair that fails leaves its sockets open" : null;
  testUnless(careless, "nowhere to write (PAIR-01)", () => {
    for (const into of [null, 7]) {
      expect(pair(numbers.AF_UNIX, SOCK_STREAM, 0, into)).toBe("EFAULT");
    }
  });

  test.each([SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET])("type %d: protocols (PAIR-03)", (type) => {
    using raw = new Raw();
    expect(pair(numbers.AF_UNIX, type, 2, room.address)).toBe("EPROTONOSUPPORT");
    expect(pair(numbers.AF_UNIX, type, 1, room.address)).toBe(0);
    const [a, b] = [raw.own(room.words[0]!), raw.own(room.words[1]!)];
    expect([send(a), raw.text(b)]).toEqual([1, "x"]);
  });

  test("SOCK_RAW is a datagram socket, and is adopted as one (PAIR-04)", () => {
    expect(pair(numbers.AF_UNIX, 3, 0, room.address)).toBe(0);
    using raw = new Raw();
    const [a, b] = [raw.own(room.words[0]!), room.words[1]!];
    expect(getOption(a, option.SO_TYPE)).toBe(SOCK_DGRAM);
    using socket = adoptSocket(b);
    expect("type" in socket && socket.type).toBe("datagram");
  });
});

const sigpipe = `
import signal, socket
pipe = {signal.SIGPIPE}
signal.pthread_sigmask(signal.SIG_BLOCK, pipe)
for kind in socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM:
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    b.close()
    try:
        a.send(b"x")
    except OSError as error:
        pending = signal.SIGPIPE in signal.sigpending()
        print(int(pending), error.errno)
        if pending:
            signal.sigwait(pipe)
`;

peerTest("SIGPIPE is for streams only (SEQ-06, SHD-12)", ["python3"], async () => {
  const said = succeeded(await run(["python3", "-c", sigpipe]));
  expect(said.trim().split("\n")).toEqual(["1 32", "0 32", "0 111"]);
});
