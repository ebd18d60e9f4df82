// Descriptors that nobody can receive any more: sockets that hold each other are collected, at the
// latest when some other Unix socket closes. And what the limits of the sender's user do.

import { describe, expect, test } from "bun:test";
import { socketPair } from "../../src/index.ts";
import { connect as connectTo } from "../../src/syscalls/socket.ts";
import { kinds, pairVariants } from "../api/pairs.ts";
import { eventually, leakFree, marked } from "../api/tools.ts";
import { run, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";
import { done, fresh, Raw, rawVariants, send } from "./raw.ts";

/** Wait until the other end of `outside` is closed, closing unrelated sockets meanwhile. */
async function collected(raw: Raw, outside: number): Promise<void> {
  await eventually(() => {
    for (const socket of socketPair("stream")) socket.close();
    return raw.text(outside) === "";
  }, "the sockets in flight are freed");
}

describe.each(rawVariants)("$name", ({ open }) => {
  test("both ends inside each other, closed: freed (RTS-35, RTS-36)", async () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const [inside, outside] = raw.pair(SOCK_STREAM);
    send(near, { fds: [near, far, inside] });
    send(far, { fds: [far] });
    for (const fd of [near, far, inside]) raw.close(fd);
    await collected(raw, outside);
  });

  test("three pairs in a circle, closed: freed (RTS-35)", async () => {
    using raw = new Raw();
    const pairs = [open(raw), open(raw), open(raw)];
    const [inside, outside] = raw.pair(SOCK_STREAM);
    for (const [i, [near]] of pairs.entries()) {
      send(near, { fds: [...pairs[(i + 1) % 3]!, inside] });
    }
    for (const fd of [...pairs.flat(), inside]) raw.close(fd);
    await collected(raw, outside);
  });
});

describe.each([
  ["stream", SOCK_STREAM],
  ["seqpacket", SOCK_SEQPACKET],
] as const)("%s", (_kind, type) => {
  test.each(["path", "abstract"] as const)(
    "a listener inside its own connection that nobody accepts (%s): freed (RTS-37)",
    async (where) => {
      using raw = new Raw();
      const address = fresh(where);
      const listener = raw.at(address, type, 4);
      const client = raw.socket(type);
      done(connectTo(client, address));
      const [inside, outside] = raw.pair(SOCK_STREAM);
      send(client, { fds: [listener, client, inside] });
      for (const fd of [listener, client, inside]) raw.close(fd);
      await collected(raw, outside);
    },
  );
});

describe.each(pairVariants)("$name, by the API", ({ open }) => {
  test("messages that nobody received go with the sockets (LEAK-04)", () =>
    leakFree(async () => {
      using pair = await open();
      for (let i = 0; i < 5; i++) {
        using fd = marked(`${i}`);
        await pair.near.send("x", { fds: [fd, fd] });
      }
      (await pair.far.receive())?.close();
    }));

  test("a message without the descriptors that were wanted says so by having none (LEAK-05)", () =>
    leakFree(async () => {
      using pair = await open();
      await pair.near.send("only data");
      using message = await pair.far.receive();
      expect([message?.text(), message?.fds, message?.fdsTruncated]).toEqual([
        "only data",
        [],
        false,
      ]);
      expect(message?.takeFds()).toEqual([]);
    }));
});

/** Descriptors in flight are counted for each user: this process has one of its own. */
const USER = 100_000 + process.pid;

/** A program that may open 64 files, with a pair of the kind that it is given. */
const limited = `
import array, errno, os, resource, socket, sys
uid = int(sys.argv[3])
kind = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET,
        "datagram": socket.SOCK_DGRAM}[sys.argv[2]]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
a, b = socket.socketpair(socket.AF_UNIX, kind)
seven = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 7))]

def flood(s):
    sent = 0
    try:
        for i in range(20):
            s.sendmsg([b"x"], seven)
            sent += 7
    except OSError as error:
        return f"{sent} {errno.errorcode[error.errno]}"
    return str(sent)

def nobody():
    os.setgroups([]); os.setgid(uid); os.setuid(uid)

if sys.argv[1] == "root":
    print(flood(a))
elif sys.argv[1] == "full":
    try:
        while True: os.open("/dev/null", os.O_RDONLY)
    except OSError: pass
    print(a.sendmsg([b"data"], seven))
else:
    nobody()
    print(flood(a))
    if os.fork() == 0:
        c, d = socket.socketpair(socket.AF_UNIX, kind)
        print(flood(c), flush=True)
        os._exit(0)
    os.wait()
`;

const program = async (how: string, kind: string): Promise<string[]> => {
  const outcome = await run(["python3", "-u", "-c", limited, how, kind, `${USER}`]);
  return succeeded(outcome).trim().split("\n");
};

describe.each([...kinds])("%s at the limits", (kind) => {
  peerTest("a full table of the sender's does not matter (RTS-30)", ["python3"], async () => {
    expect(await program("full", kind)).toEqual(["4"]);
  });

  peerTest("root may have any number in flight (RTS-41)", ["python3", "root"], async () => {
    expect(await program("root", kind)).toEqual(["140"]);
  });

  peerTest(
    "others as many as they may open, a second process of the user included (RTS-39, RTS-40)",
    ["python3", "root"],
    async () => {
      const [first, second] = await program("nobody", kind);
      expect(first).toBe("70 ETOOMANYREFS"); // looked at before the message is added
      expect(second).toBe("0 ETOOMANYREFS");
    },
  );
});
