// syslog(3) without libc: one datagram a message, as the daemon on this machine expects it.
//
//   bun examples/syslog.ts [socket] [tag]

import { openDatagram } from "bunix";

const facilities = { kern: 0, user: 1, mail: 2, daemon: 3, auth: 4, local0: 16, local7: 23 };
const severities = { err: 3, warning: 4, notice: 5, info: 6, debug: 7 };

interface Place {
  readonly facility: keyof typeof facilities;
  readonly severity: keyof typeof severities;
}

/** <PRI>Mmm dd hh:mm:ss tag[pid]: message, in local time. */
function format(message: string, { facility, severity }: Place): string {
  const [, month, day, , time] = new Date().toString().split(" ");
  const date = `${month} ${String(Number(day)).padStart(2)} ${time}`;
  const priority = facilities[facility] * 8 + severities[severity];
  return `<${priority}>${date} ${tag}[${process.pid}]: ${message}`;
}

const [to = "/dev/log", tag = "bunix"] = process.argv.slice(2);
using socket = openDatagram(); // not connected: it finds the daemon again when that has restarted

const messages: [Place, string][] = [
  [{ facility: "user", severity: "info" }, "started"],
  [{ facility: "daemon", severity: "warning" }, "the disk is nearly full: 97 %"],
  [{ facility: "local7", severity: "err" }, "π is not 3"],
];
for (const [place, message] of messages) {
  const line = format(message, place);
  await socket.send(line, { to });
  console.log(line);
}
