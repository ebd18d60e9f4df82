// Sentences with figures of a run in them: README.md's about speed, and what bounds the lines that
// miss their aim. A sentence whose figures were not taken is left out.

import { compared, type Row, round, type Unit } from "./harness.ts";
import type { Results } from "./results.ts";

const WIDTH = 100;

class Missing extends Error {}

/** The medians of a run, by what was compared. */
export class Medians {
  readonly #rows: readonly Row[];

  constructor({ rows }: Results) {
    this.#rows = rows;
  }

  of(work: string, ours: string, against: string, unit?: Unit): number {
    const row = this.#rows.find(
      (one) =>
        one.work === work &&
        one.ours === ours &&
        one.against === against &&
        (unit === undefined || one.unit === unit),
    );
    if (row === undefined) throw new Missing(`${work}: ${ours} / ${against}`);
    return compared(row).median;
  }
}

type Sentence = (m: Medians) => string;

/** What `sentence` says; null where its figures were not taken. */
function said(sentence: Sentence, medians: Medians): string | null {
  try {
    return sentence(medians);
  } catch (error) {
    if (error instanceof Missing) return null;
    throw error;
  }
}

/** Two digits: nobody reads more out of a ratio. */
const two = (value: number): string => (value >= 100 ? round(value, 0) : round(value, 2));

/** The least and the most of several, which are of one kind. */
function range(...values: readonly number[]): string {
  const [low, high] = [two(Math.min(...values)), two(Math.max(...values))];
  return low === high ? low : `${low}–${high}`;
}

const crowd = (conns: number): string => `64-byte echo, ${conns} connections, one processor`;
const echo = (where: string): string => `64-byte echo, one connection, ${where}`;
const flow = (size: string, where: string): string => `one way, writes of ${size}, ${where}`;
const pair = (kind: string): string => `trySend + tryReceive of 64 bytes, ${kind} pair`;
const http = (how: string, what: string): string => `HTTP, ${how}, ${what}`;
const [one, two_] = ["one processor", "two processors"];
const BUSY = "64-byte echo, two processors, busyPollMicros 50";
const PASS = "pass 1 descriptor, receive, close";
const PASS_MANY = "pass 253 descriptors, receive, close";
const ACCEPT = "accept, peer credentials, close, one processor";
const START = 'import "bunix", first message through a pair';
const SERVE =
  "HTTP server, a request on a connection each, one at a time: processor time of the server";

const crowds = (m: Medians, ours: string): string =>
  range(...[10, 200, 1000].map((conns) => m.of(crowd(conns), ours, "Bun.listen")));

const busy = (m: Medians): string =>
  range(...["Bun.listen", "C epoll"].map((who) => m.of(BUSY, "bunix at both ends, polling", who)));

const times: readonly Sentence[] = [
  (m) => `a 64-byte round trip on one processor \
${two(m.of(echo(one), "bunix consume", "Bun.listen"))} of \
\`Bun.listen\` and ${two(m.of(echo(one), "bunix consume", "C epoll"))} of C with epoll`,
  (m) => `with a processor each and \`busyPollMicros\` at both ends \
${busy(m)} of these`,
  (m) => `\`trySend\` and \`tryReceive\` ${two(m.of(pair("stream"), "bunix", "C"))} of C, \
${two(m.of(pair("seqpacket"), "bunix", "C"))} on a seqpacket pair`,
  (m) => `passing one descriptor and closing it ${two(m.of(PASS, "bunix", "C"))} of C, \
253 in a message ${two(m.of(PASS_MANY, "bunix", "C"))}`,
  (
    m,
  ) => `both of C that asks first what it closes ${two(m.of(PASS, "bunix", "C that asks first"))} \
and \
${two(m.of(PASS_MANY, "bunix", "C that asks first"))}`,
];

const rates: readonly Sentence[] = [
  (m) => `10, 200 and 1,000 busy connections ${crowds(m, "bunix consume")} of \`Bun.listen\` with \
\`consume\`, ${crowds(m, "bunix await")} with \`await\``,
  (m) => `accepting ${two(m.of(ACCEPT, "bunix consume", "Bun.listen (asks nothing)"))} and \
${two(m.of(ACCEPT, "bunix await", "Bun.listen (asks nothing)"))}`,
  (m) => `one way on one processor ${two(m.of(flow("64 B", one), "bunix consume", "Bun.listen"))} \
in writes \
of 64 bytes (a processor each: ${two(m.of(flow("64 B", two_), "bunix consume", "Bun.listen"))}), \
${two(m.of(flow("64 KiB", one), "bunix consumeInto", "Bun.listen"))} in writes of 64 KiB into a \
buffer of one's own`,
  (m) => `requests with \`serveHttp\` \
${two(m.of(http("16 at a time", "kept connections"), "serveHttp on node:http", "node:http"))} of \
node:http`,
];

const others: readonly Sentence[] = [
  (m) => `A connection that \`serveOn\` admits by rules costs the server \
${two(m.of(SERVE, "serveOn with rules", "Bun.serve"))} times what one of Bun's does, and is Bun's \
own \
from then on.`,
  (m) => `\`import "bunix"\` and a first message add ${ms(m, "bunix")} ms to a program's start, \
\`bunix/socket\` ${ms(m, "bunix/socket")}. Where that matters, bundle: \`bun build --target=bun \
--minify\` \
keeps what is used (${ms(m, "bunix, bundled")} ms), with \`--bytecode\` it is \
${ms(m, "bunix, bundled with bytecode")}.`,
];

const ms = (m: Medians, what: string): string => round(m.of(START, what, "empty program", "ms"), 0);

const listed = (sentences: readonly Sentence[], m: Medians): string =>
  sentences.flatMap((sentence) => said(sentence, m) ?? []).join("; ");

/** Lines of at most so many characters, a list's items beneath each other. */
function wrapped(text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}

/** README.md's paragraphs about speed. */
export function speed(found: Results): string {
  const medians = new Medians(found);
  const [where] = found.machine.split(";");
  const how = `Measured on ${found.when.slice(0, 10)} against Bun's own sockets and C, in turn, \
in one \
run of ${found.rounds} rounds (${where}).`;
  const parts = [
    how,
    `Time, below 1 is faster: ${listed(times, medians)}.`,
    `Rate, above 1 is faster: ${listed(rates, medians)}.`,
    ...others.flatMap((sentence) => said(sentence, medians) ?? []),
    ...(found.note === undefined ? [] : [found.note]),
  ];
  return parts.map(wrapped).join("\n\n");
}
