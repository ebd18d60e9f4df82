// Whether this Bun's node:http reports each connection as soon as it is accepted, and whether its
// descriptor can be found (facts: #http-tells-of-each-accept). Tried once, with a server and a
// client of ours, in the next turns of the loop.

import { system } from "../../native/platform.ts";
import { socket as c, option } from "../../native/socket.ts";
import { check } from "../base/errors.ts";
import { nextTurn } from "../base/timers.ts";
import { Fd } from "../fd/fd.ts";
import { nameAtOtherEnd } from "../peer/stand-ins.ts";
import { exchange } from "../serve/epoll-entry.ts";
import { openPrivateSocket, pathOf } from "../serve/private-socket.ts";
import { keepsSettings } from "../serve/rules.ts";
import { bind, connect, getOption, rawName, socket } from "../syscalls/socket.ts";
import { handleOf } from "./bun-handle.ts";
import { startDelegate, stopDelegate } from "./bun-intake.ts";
import { canHaveDelegate, delegateOf } from "./delegate-server.ts";
import type { AnyServer } from "./server-kinds.ts";
import type { ServiceView } from "./service-view.ts";
import { WhichFd } from "./which-fd.ts";

/** Why Bun cannot accept for this service; null: it can, if `bunReportsAccepts`. */
export function whyNotBun(
  { kind, server, listener }: ServiceView,
  { acceptBy }: { readonly acceptBy?: "bun" | "bunix" | undefined },
): string | null {
  if (acceptBy === "bunix") return "as asked";
  if (system !== "linux") return "it needs epoll and /proc";
  if (kind !== "http" || !canHaveDelegate(server)) return "it is for servers of node:http";
  if (!keepsSettings(listener.terms.settings)) return "the listener has options that Bun lacks";
  const { SO_PASSRIGHTS } = option;
  const refuses = SO_PASSRIGHTS !== null && getOption(listener.fd, SO_PASSRIGHTS) >= 0;
  return refuses || acceptBy === "bun" ? null : "Linux 6.16 refuses descriptors";
}

let known: boolean | undefined;
let trying: Promise<boolean> | null = null;

/** Whether it works: known at once, or after the trial. */
export function bunReportsAccepts(): boolean | Promise<boolean> {
  if (known !== undefined) return known;
  trying ??= attempt().then(
    (works) => (known = works),
    () => {
      trying = null; // out of descriptors, for example: it is tried again
      return false;
    },
  );
  return trying;
}

/** Turns of the loop within which Bun must have accepted. */
const MAX_TURNS = 64;

async function attempt(): Promise<boolean> {
  const server = process.getBuiltinModule("node:http").createServer();
  const name = `bunix-${crypto.randomUUID()}`;
  let works = false;
  let told = false;
  let which: WhichFd | null = null;
  const delegate = delegateOf(server as unknown as AnyServer, {
    accepted: (stream) => {
      told = true;
      const silent = (): boolean => stream.localFamily === undefined;
      const before = silent(); // else its answer for the other socket proves nothing
      const handle = handleOf(stream);
      const fd = handle === null ? -1 : (which?.of(handle) ?? -1);
      works = before && fd >= 0 && nameAtOtherEnd(fd) === name && silent();
      stream.destroy();
    },
    admitted: () => false,
    requested: () => {},
  });
  const end = Fd.adopt(check(socket(c.SOCK_STREAM), "socket"), "serveHttp");
  const { socket: listening, pathFd } = openPrivateSocket();
  try {
    const entry = startDelegate(delegate);
    which = new WhichFd({ epoll: entry.epoll, name: nameOf(listening.fd) });
    if (exchange(entry, listening.fd) !== null) return false;
    check(bind(end.fd, { kind: "abstract", name: new TextEncoder().encode(name) }), "bind");
    check(connect(end.fd, { kind: "path", path: pathOf(pathFd) }), "connect");
    for (let turn = 0; turn < MAX_TURNS && !told; turn++) {
      await nextTurn();
    }
    return works;
  } finally {
    stopDelegate(delegate);
    which?.close();
    for (const fd of [end, listening, pathFd]) fd.close();
  }
}

function nameOf(fd: number): Uint8Array {
  const name = rawName(fd);
  return typeof name === "number" ? new Uint8Array(0) : name;
}
