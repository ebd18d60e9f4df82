// A listening socket that only this process can connect to: its file is removed before it listens,
// and is reached through a descriptor. (An abstract name would not do: /proc/net/unix shows it to
// every process, and it has no permissions.)

import { mkdtempSync, rmdirSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { file } from "../../native/file.ts";
import { socket as c } from "../../native/socket.ts";
import { check, fileCall, UnixError, UnsupportedError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { close, open } from "../syscalls/fd.ts";
import { bind, listen, socket } from "../syscalls/socket.ts";

/** The socket, and an O_PATH descriptor of its removed file. The caller owns both. */
export interface PrivateSocket {
  readonly socket: Fd;
  readonly pathFd: Fd;
}

/** The path to connect to. */
export const pathOf = (pathFd: Fd): string => `/proc/self/fd/${pathFd.fd}`;

/** In which this user can most likely make a directory. */
function directories(): string[] {
  const runtime = process.env["XDG_RUNTIME_DIR"];
  return [...(runtime === undefined ? [] : [runtime]), tmpdir(), "/dev/shm", "/tmp"];
}

/**
 * Open one.
 * @throws UnsupportedError if no temporary directory can be made; UnixError EMFILE, …
 */
export function openPrivateSocket(): PrivateSocket {
  const socketFd = Fd.adopt(check(socket(c.SOCK_STREAM), "socket"), "serveOn");
  try {
    const pathFd = Fd.adopt(bindPrivately(socketFd.fd), "serveOn");
    try {
      check(listen(socketFd.fd, c.SOMAXCONN), "listen");
    } catch (error) {
      pathFd.close();
      throw error;
    }
    return { socket: socketFd, pathFd };
  } catch (error) {
    socketFd.close();
    throw error;
  }
}

/** Bind in a temporary directory. The result is a descriptor of the socket's file. */
function bindPrivately(fd: number): number {
  const problems = new Set<string>();
  for (const parent of directories()) {
    let directory: string;
    try {
      directory = fileCall(() => mkdtempSync(`${parent}/bunix-`)); // for this user alone
    } catch (error) {
      problems.add(String(error));
      continue;
    }
    const pathFd = bindIn(directory, fd);
    if (typeof pathFd === "number") return pathFd;
    problems.add(pathFd.message);
  }
  const why = [...problems].join("; ");
  throw new UnsupportedError("serveOn", `a listener's rules need a temporary directory: ${why}`);
}

const NAME = "s";

/** The same in that directory, which is removed together with the file; or why it failed. */
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
    ignoringErrors(() => unlinkSync(`${path}/${NAME}`));
    ignoringErrors(() => rmdirSync(path));
    if (directory >= 0) close(directory);
  }
}

function ignoringErrors(call: () => void): void {
  try {
    call();
  } catch {
    // it was not made
  }
}
