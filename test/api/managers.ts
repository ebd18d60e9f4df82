// Programs started as a service manager starts them, and the manager's end of their notifications.

import { afterEach } from "bun:test";
import { type DatagramSocket, openDatagram, type SocketOptions } from "../../src/index.ts";
import { atEnd } from "../support/at-end.ts";
import { type Outcome, type RunOptions, run, writeSource } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { freshPath } from "./pairs.ts";
import { markOf, must } from "./tools.ts";

/** What a manager sets for the process that it starts. */
const variables = [
  "LISTEN_PID",
  "LISTEN_PIDFDID",
  "LISTEN_FDS",
  "LISTEN_FDNAMES",
  "NOTIFY_SOCKET",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
];

/** A command, so that LISTEN_PID names the very process that runs it. */
export const activated = (command: readonly string[]): string[] => [
  "sh",
  "-c",
  'export LISTEN_PID=$$; exec "$@"',
  "sh",
  ...command,
];

const directory = tempDir();
atEnd(directory.remove);
let serial = 0;

/** The command that runs TypeScript, as `runSource` has it. */
export function program(source: string): string[] {
  return [process.execPath, writeSource(directory, source, `program-${++serial}.ts`)];
}

/** Run TypeScript that is given `fds` as 3, 4, …; LISTEN_FDS says so, unless `env` does. */
export function runActivated(source: string, options: RunOptions = {}): Promise<Outcome> {
  const { fds = [], env = {} } = options;
  const listen = { LISTEN_FDS: String(fds.length), ...env };
  return run(activated(program(source)), { ...options, env: listen });
}

/** This process's notification socket, until it is closed or the test ends. */
export function manager(address = freshPath(), options: SocketOptions = {}): DatagramSocket {
  const socket = openDatagram(address, { passCredentials: true, ...options });
  process.env["NOTIFY_SOCKET"] = address;
  return socket;
}

/** Leave no variable of one test to the next. */
export function cleanEnvironment(): void {
  const clean = (): void => {
    for (const name of variables) delete process.env[name];
  };
  clean();
  afterEach(clean);
}

/** The lines of the next notification, and what came with it. */
export async function next(socket: DatagramSocket): Promise<{ lines: string[]; marks: string[] }> {
  using message = must(await socket.receive());
  return { lines: message.text().split("\n"), marks: message.fds.map(markOf) };
}

/** The lines of all notifications that are here. */
export function here(socket: DatagramSocket): string[][] {
  const found: string[][] = [];
  for (let one = socket.tryReceive(); one; one = socket.tryReceive()) {
    found.push(one.text().split("\n"));
    one.close();
  }
  return found;
}
