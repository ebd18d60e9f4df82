// What bounds the lines that miss their aim: the figures are a run's, the reasons are not.

import { compared, isRate, type Row, reached, round } from "./harness.ts";
import { type Results, table } from "./results.ts";

interface Floor {
  /** Lines whose work begins so. */
  readonly work: string;
  /** What bounds them, measured beside: who, of whom. */
  readonly beside: readonly (readonly [ours: string, against: string])[];
  readonly why: string;
}

const known: readonly Floor[] = [
  {
    work: "64-byte echo, one connection, one processor",
    beside: [
      ["bare FFI loop", "node net"],
      ["bare FFI loop", "python asyncio"],
      ["C epoll", "node net"],
    ],
    why: "two system calls and a wake-up for each message, whoever makes them",
  },
  {
    work: "64-byte echo, two processors, busyPollMicros 50",
    beside: [["C epoll, polling", "C epoll"]],
    why: "C polls for ever; ours sleeps after 50 µs, and the C client sleeps at each answer",
  },
  {
    work: "64-byte echo, ",
    beside: [
      ["bare FFI loop", "Bun.listen"],
      ["bare messages", "Bun.listen"],
      ["bare promises", "Bun.listen"],
      ["C epoll", "Bun.listen"],
    ],
    why:
      "the bare calls are `recv` and `send` in a loop that lets nothing else run, with no " +
      "message and no promise; `bare messages` is the least that can hand over messages in a " +
      "program whose loop is Bun's: `recvmsg`, without which the kernel would close descriptors " +
      "unseen, bytes of their own, an object and a handler for each connection; `bare promises` " +
      "has a promise for each message in the place of the handler. What is beyond is listed " +
      'under "Many connections"',
  },
  {
    work: "one way, writes of 64 KiB",
    beside: [
      ["Bun.listen", "C recv"],
      ["bare FFI loop", "C recv"],
    ],
    why: "the copy into memory that is cold, which Bun makes too; `consumeInto` makes none",
  },
  {
    work: "one way, ",
    beside: [
      ["bare FFI loop", "C recv"],
      ["Bun.listen", "C recv"],
    ],
    why:
      "the receiver never sleeps: whoever takes longer for one receive finds more at the " +
      "next, so the rate follows the writer, and C that only receives gets no more than " +
      'Bun.listen; unless the receiver\'s processor is busy with compiling it (see "Compiling" ' +
      "below)",
  },
  {
    work: "accept, peer credentials, close",
    beside: [["bare FFI loop", "C"]],
    why:
      "a socket object with its owner, a setsockopt for bytes out of band, and an ioctl " +
      "before each close that says whether anything lies unread (SECURITY.md); with `await` " +
      'three promises for each; and compiling (see "Compiling" below)',
  },
  {
    work: "pass 1 descriptor",
    beside: [
      ["bare FFI calls", "C"],
      ["bare FFI calls, asking", "C"],
      ["C that asks first", "C"],
      ["C as in Bun, asking", "C"],
      ["bunix", "C that asks first"],
    ],
    why:
      "a statx for each foreign descriptor, whose close may wait (SECURITY.md); an owner " +
      "for each, and a watch over its being forgotten",
  },
  {
    work: "pass 253 descriptors",
    beside: [
      ["bare FFI calls", "C"],
      ["bare FFI calls, asking", "C"],
      ["C that asks first", "C"],
      ["C as in Bun, asking", "C"],
      ["bunix", "C that asks first"],
    ],
    why: "the same 253 times",
  },
  {
    work: "trySend + tryReceive",
    beside: [
      ["bare FFI calls", "C"],
      ["C as in Bun", "C"],
    ],
    why:
      "the bare calls with nothing around them; beyond are the message, its bytes, and the " +
      "checks",
  },
  {
    work: "datagrams of 64 bytes, 32 at a time",
    beside: [["C batch", "C one by one"]],
    why: "batches in C gain no more",
  },
  {
    work: "64 bytes received with credentials",
    beside: [],
    why: "as without them, and an object for each message that says who sent it",
  },
  {
    work: "echo of ",
    beside: [
      ["bare Duplex", "net.Socket"],
      ["bunix toDuplex", "bare Duplex"],
    ],
    why:
      "node:stream itself: the bare Duplex does nothing but `recv` and `send`, and waits in " +
      "a closed loop. A net.Socket of Bun's is a Duplex too, over sockets in native code. " +
      "What is between toDuplex and the bare Duplex is ours",
  },
  {
    work: "D-Bus calls ",
    beside: [["bunix toDuplex", "net.Socket"]],
    why: "marshalling, and the bus itself; a net.Socket takes no descriptors",
  },
  {
    work: "list of ",
    beside: [
      ["empty program", "ss -xp"],
      ["bunx, empty program", "ss -xp"],
      ["bare FFI calls", "ss -xp"],
      ["bunx, least program", "ss -xp"],
    ],
    why:
      "a start of Bun (two with bunx), and the questions to the kernel, which are those of " +
      "`ss`: the least program asks them and prints the answers, with no order, no check and " +
      "no library; beyond are 70 kB to read, and code that runs once (see below)",
  },
  {
    work: "messages of ",
    beside: [],
    why: 'see "Channels" below: what JSON and the kernel take is most of it; Bun\'s IPC is native',
  },
  {
    work: "memory per idle connection",
    beside: [],
    why:
      "a socket, its owner, a watch over its being forgotten and what waits for it, each an " +
      "object of JavaScript; Bun has native structs",
  },
  {
    work: "bunix ",
    beside: [],
    why: "the same calls and the same code for each message, in more memory, ours and the kernel's",
  },
  {
    work: "1 GiB handed to another process",
    beside: [],
    why: "handing over takes as long for a byte; the rest is how fast the machine copies",
  },
  {
    work: "HTTP, ",
    beside: [
      ["node:http, bare calls", "node:http"],
      ["serveHttp on node:http", "node:http, bare calls"],
    ],
    why:
      "Bun says of no connection which descriptor it has. The bare calls are those by which it " +
      "is found, proven and asked, and nothing is made of them: for each connection, none for a " +
      "request",
  },
  {
    work: "HTTP server, ",
    beside: [],
    why:
      "a stand-in for each connection: socket, bind, connect, accept, the exchange and two " +
      "closes",
  },
  {
    work: 'import "bunix"',
    beside: [
      ["bare FFI calls", "empty program"],
      ["the same with bytecode", "empty program"],
    ],
    why:
      "JavaScriptCore reads all that is imported: see below. With bytecode, which is good for " +
      "one version of Bun only, it reads nothing",
  },
];

/** What bounds a line; none where nobody has said. */
export const floorOf = (work: string): Floor | undefined =>
  known.find((floor) => work.startsWith(floor.work));

/** "ours / against 1.23", of what was measured. */
function figures(rows: readonly Row[], work: string, floor: Floor | undefined): string {
  const beside = (floor?.beside ?? []).flatMap(([ours, against]) =>
    rows.filter((row) => row.work === work && row.ours === ours && row.against === against),
  );
  return beside.map((row) => `${row.ours} / ${row.against} ${median(row)}`).join(", ");
}

const median = (row: Row): string => round(compared(row).median, 2);

/** A table of all lines that miss their aim. */
export function floors({ rows }: Results): string {
  const missed = rows.filter((row) => reached(row) === false);
  const body = missed.map((row) => {
    const floor = floorOf(row.work);
    const aim = `${isRate(row.unit) ? "≥" : "≤"} ${row.reach}`;
    const who = `${row.ours} / ${row.against}`;
    return [row.work, who, median(row), aim, figures(rows, row.work, floor), floor?.why ?? ""];
  });
  return table(["work", "ours", "median", "aim", "beside it", "what bounds it"], body);
}
