// A listening socket to which nobody but this process can find the way: its file is gone before it
// listens, and is reached through a descriptor. (An abstract name would not do: /proc/net/unix
// shows it to everybody, and it has no permissions.)

import { mkdtempSync, rmdirSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { file } from "../../native/file.ts";
import { socket as c } from "../../native/socket.ts";
import { check, fileCall, UnixError, UnsupportedError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { close, open } from "../syscalls/fd.ts";
import { bind, listen, socket } from "../syscalls/socket.ts";

/** The socket, and the way to it: an O_PATH descriptor. Both are the caller's. */
export interface Hidden {
  readonly socket: Fd;
  readonly way: Fd;
}

/** What connects to it. */
export const through = (way: Fd): string => `/proc/self/fd/${way.fd}`;

/** Where a directory of this user's own can be made. */
function places(): string[] {
  const runtime = process.env["XDG_RUNTIME_DIR"];
  return [...(runtime === undefined ? [] : [runtime]), tmpdir(), "/dev/shm", "/tmp"];
}

/**
 * Open one.
 * @throws UnsupportedError where no directory can be made for a moment; UnixError EMFILE, …
 */
export function openHidden(): Hidden {
  const socketFd = Fd.adopt(check(socket(c.SOCK_STREAM), "socket"), "serveOn");
  try {
    const way = Fd.adopt(bindUnseen(socketFd.fd), "serveOn");
    try {
      check(listen(socketFd.fd, c.SOMAXCONN), "listen");
    } catch (error) {
      way.close();
      throw error;
    }
    return { socket: socketFd, way };
  } catch (error) {
    socketFd.close();
    throw error;
  }
}

/** The way to where it is bound from now on. */
function bindUnseen(fd: number): number {
  const problems = new Set<string>();
  for (const place of places()) {
    let directory: string;
    try {
      directory = fileCall(() => mkdtempSync(`${place}/bunix-`)); // for this user alone
    } catch (error) {
      problems.add(String(error));
      continue;
    }
    const way = bindIn(directory, fd);
    if (typeof way === "number") return way;
    problems.add(way.message);
  }
  const why = [...problems].join("; ");
  throw new UnsupportedError("serveOn", `a listener's rules need a directory: ${why}`);
}

const NAME = "s";

/** The way, once the file and the directory are gone again; or why not. */
function bindIn(path: string, fd: number): number | UnixError {
  const directory = open(path, (file.O_PATH ?? 0) | file.O_DIRECTORY);
  try {
    check(directory, "open");
    const name = `/proc/self/fd/${directory}/${NAME}`; // however long the path is
    check(bind(fd, { kind: "path", path: name }), "bind");
    return check(open(name, file.O_PATH ?? 0), "open");
  } catch (error) {
    if (error instanceof UnixError) return error;
    throw error;
  } finally {
    remove(() => unlinkSync(`${path}/${NAME}`));
    remove(() => rmdirSync(path));
    if (directory >= 0) close(directory);
  }
}

function remove(call: () => void): void {
  try {
    call();
  } catch {
    // it was not made
  }
}
