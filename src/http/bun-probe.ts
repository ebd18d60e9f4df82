// Whether this Bun's node:http tells of each connection in the moment in which it is accepted, and
// whether it is found which one it is (facts: #http-tells-of-each-accept). Tried once, with a
// server and a client of ours, in the next turns of the loop.

import { system } from "../../native/platform.ts";
import { socket as c, option } from "../../native/socket.ts";
import { check } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { nameAtOtherEnd } from "../peer/stand-ins.ts";
import { exchange } from "../serve/epoll-entry.ts";
import { openHidden, through } from "../serve/hidden.ts";
import { keepsSettings } from "../serve/rules.ts";
import { bind, connect, getOption, rawName, socket } from "../syscalls/socket.ts";
import { startShadow, stopShadow } from "./bun-intake.ts";
import type { Hall } from "./hall.ts";
import type { AnyServer } from "./kinds.ts";
import { canHaveShadow, shadowOf } from "./shadow.ts";
import { WhichFd } from "./which-fd.ts";

/** Why Bun cannot accept for this service; null: it may, if it tells. */
export function whyNotBun(
  { kind, server, listener }: Hall,
  { acceptBy }: { readonly acceptBy?: "bun" | "bunix" | undefined },
): string | null {
  if (acceptBy === "bunix") return "as asked";
  if (system !== "linux") return "it takes epoll and /proc";
  if (kind !== "http" || !canHaveShadow(server)) return "it is for servers of node:http";
  if (!keepsSettings(listener.terms.settings)) return "the listener has options that Bun lacks";
  const { SO_PASSRIGHTS } = option;
  const refuses = SO_PASSRIGHTS !== null && getOption(listener.fd, SO_PASSRIGHTS) >= 0;
  return refuses || acceptBy === "bun" ? null : "Linux 6.16 refuses descriptors";
}

let known: boolean | undefined;
let trying: Promise<boolean> | null = null;

/** Whether it works: at once, or in a moment. */
export function bunTells(): boolean | Promise<boolean> {
  if (known !== undefined) return known;
  trying ??= attempt().then(
    (works) => (known = works),
    () => {
      trying = null; // out of descriptors, say: it is tried again
      return false;
    },
  );
  return trying;
}

/** The loop's turns until Bun must have accepted. */
const TURNS = 64;

async function attempt(): Promise<boolean> {
  const server = process.getBuiltinModule("node:http").createServer();
  const name = `bunix-${crypto.randomUUID()}`;
  let works = false;
  let told = false;
  let which: WhichFd | null = null;
  const shadow = shadowOf(server as unknown as AnyServer, {
    accepted: (stream) => {
      told = true;
      const silent = (): boolean => stream.localFamily === undefined;
      const before = silent(); // else what it says while another socket is there proves nothing
      const fd = which?.of(stream) ?? -1;
      works = before && fd >= 0 && nameAtOtherEnd(fd) === name && silent();
      stream.destroy();
    },
    admitted: () => false,
    requested: () => {},
  });
  const end = Fd.adopt(check(socket(c.SOCK_STREAM), "socket"), "serveHttp");
  const { socket: hidden, way } = openHidden();
  try {
    const entry = startShadow(shadow);
    which = new WhichFd({ epoll: entry.epoll, name: nameOf(hidden.fd) });
    if (exchange(entry, hidden.fd) !== null) return false;
    check(bind(end.fd, { kind: "abstract", name: new TextEncoder().encode(name) }), "bind");
    check(connect(end.fd, { kind: "path", path: through(way) }), "connect");
    for (let turn = 0; turn < TURNS && !told; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    return works;
  } finally {
    stopShadow(shadow);
    which?.close();
    for (const fd of [end, hidden, way]) fd.close();
  }
}

function nameOf(fd: number): Uint8Array {
  const name = rawName(fd);
  return typeof name === "number" ? new Uint8Array(0) : name;
}
