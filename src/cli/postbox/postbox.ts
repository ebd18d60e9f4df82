// bunix postbox [DIR]: print messages from all channels.

import { tmpdir } from "node:os";
import { join } from "node:path";
import { printable, toJson } from "../../base/printable.ts";
import { wanted } from "../commands.ts";
import { escaped, parse } from "../options.ts";
import { Output, Stop } from "../terminal.ts";
import { type Places, PostBox } from "./box.ts";
import type { Letter } from "./letters.ts";

/** Open a post box and print its messages until it is told to stop; the result is the exit code. */
export async function postbox(args: readonly string[]): Promise<number> {
  const { json, rest } = parse(args, wanted("postbox"));
  using stop = new Stop();
  using box = PostBox.open(rest[0] ?? ownDirectory());
  using output = new Output();
  const print = (letter: Letter): Promise<void> | undefined =>
    output.line(json ? toJson(letter) : asText(letter));
  output.line(json ? toJson({ channel: "box", ...box.places }) : help(box.places));
  await Promise.race([box.run(print), stop.next(), output.gone]);
  await Promise.race([box.takeRest(print), stop.next(), output.gone]);
  if (box.lost > 0) console.error(`bunix: ${box.lost} signals came too fast and were lost`);
  return 0;
}

/** A directory that other users can neither replace nor read. */
function ownDirectory(): string {
  const runtime = process.env["XDG_RUNTIME_DIR"];
  if (runtime) return join(runtime, "bunix-postbox");
  return join(tmpdir(), `bunix-postbox-${process.geteuid?.()}`);
}

/** The channel, the sender if it is known, and the message, escaped to one line. */
function asText(letter: Letter): string {
  switch (letter.channel) {
    case "fifo":
      return `fifo: ${escaped(letter.text)}`;
    case "queue":
      return `queue[priority=${letter.priority}]: ${escaped(letter.text)}`;
    case "signal": {
      const { signal, pid, uid, value } = letter;
      return `signal[${signal},pid=${pid ?? "?"},uid=${uid ?? "?"}]: ${value ?? "no value"}`;
    }
    default: {
      const { channel, pid, uid, gid, text } = letter;
      const who = `pid=${pid ?? "?"},uid=${uid ?? "?"},gid=${gid ?? "?"}`;
      return `${channel}[${who}]: ${escaped(text)}`;
    }
  }
}

/** As a word of the shell. */
const quoted = (text: string): string =>
  printable(/^[\w/.:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function help({ pid, directory, fifo, socket, datagram, queue, signals }: Places): string {
  const rows = [
    ["fifo", `echo hello > ${quoted(fifo)}`],
    ["socket", `echo hello | socat - UNIX-CONNECT:${quoted(socket)}`],
    ["datagram", `echo hello | socat - UNIX-SENDTO:${quoted(datagram)}`],
    ["queue", `mq_send(3) to ${queue}`],
  ];
  for (const { name, number } of signals) {
    const note = name.startsWith("SIGRT")
      ? "these queue up"
      : "a standard one: they merge while one is pending";
    rows.push(["signal", `/bin/kill -${number} -q 3 ${pid}   # ${name}, ${note}`]);
  }
  const lines = rows.map(([channel, how]) => `  ${channel!.padEnd(8)}  ${how}`);
  return [`post box of process ${pid} in ${printable(directory)}`, ...lines, ""].join("\n");
}
