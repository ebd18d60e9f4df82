// Clients that speak HTTP by hand, so that it is certain what is on which connection; listeners.

import { expect } from "bun:test";
import net from "node:net";
import { connect, type Fd, formatAddress, type Listener, listen } from "../../src/index.ts";
import type { PlaceholderAddress } from "../../src/serve/adopt.ts";
import { listenTcp } from "../../src/serve/listen-tcp.ts";
import { decodeInet } from "../../src/structs/sockaddr-in.ts";
import { rawName } from "../../src/syscalls/socket.ts";
import { freshAddress } from "./pairs.ts";
import { codeOf } from "./tools.ts";

/** Where a client finds a server: a TCP port, or a Unix address. */
export type Target = { readonly host: string; readonly port: number } | { readonly path: string };

/** A listener that this process has opened, and the way to it. */
export interface Opened extends Disposable {
  readonly listening: Fd | Listener;
  readonly target: Target;
}

/** The port of a TCP listener. */
export function portOf(fd: number): number {
  const name = rawName(fd);
  const port = typeof name === "number" ? undefined : decodeInet(name)?.port;
  if (port === undefined) throw new Error("no TCP socket");
  return port;
}

function tcp(hostname: string, host = hostname): Opened {
  const listening = listenTcp({ hostname, port: 0 });
  const target = { host, port: portOf(listening.fd) };
  return { listening, target, [Symbol.dispose]: () => listening.close() };
}

function unix(route: "path" | "abstract"): Opened {
  const listening = listen(freshAddress(route), { allow: () => true });
  const path = formatAddress(listening.address).replace(/^@/, "\0");
  return { listening, target: { path }, [Symbol.dispose]: () => listening.close() };
}

const always: readonly { name: string; open: () => Opened }[] = [
  { name: "Unix path", open: () => unix("path") },
  { name: "abstract name", open: () => unix("abstract") },
  { name: "TCP", open: () => tcp("127.0.0.1") },
  { name: "TCP, every address", open: () => tcp("0.0.0.0", "127.0.0.1") },
];

const overIPv6: typeof always = [
  { name: "IPv6", open: () => tcp("::1") },
  { name: "IPv6, every address of both kinds", open: () => tcp("::", "127.0.0.1") },
];

function hasIPv6(): boolean {
  try {
    tcp("::1")[Symbol.dispose]();
    return true;
  } catch {
    console.log("skip: IPv6 (this machine has no ::1)");
    return false;
  }
}

/** Every kind of listener that a server can be put on. */
export const listeners = [...always, ...(hasIPv6() ? overIPv6 : [])];

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** One connection, on which requests follow each other. */
export class HttpClient implements Disposable {
  readonly #socket: net.Socket;
  #received = "";
  #ended = false;
  #wake: () => void = () => {};

  constructor(target: Target) {
    this.#socket = net.connect(target);
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (text: string) => {
      this.#received += text;
      this.#wake();
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    this.#socket.on("close", end);
    this.#socket.on("error", end);
  }

  connected(): Promise<void> {
    if (!this.#socket.connecting) return Promise.resolve();
    return new Promise((resolve) => this.#socket.once("connect", () => resolve()));
  }

  write(text: string): void {
    this.#socket.write(text);
  }

  ask(path = "/", headers = ""): void {
    this.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
  }

  /** The next answer; throws where the connection ends before it. */
  async answer(): Promise<Answer> {
    for (;;) {
      const found = this.#take();
      if (found !== null) return found;
      if (this.#ended) throw new Error(`ended; so far: ${JSON.stringify(this.#received)}`);
      await this.#more();
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #take(): Answer | null {
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return null;
    const [first = "", ...lines] = this.#received.slice(0, end).split("\r\n");
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const from = end + 4;
    const length = Number(headers["content-length"] ?? 0);
    if (this.#received.length < from + length) return null;
    const text = this.#received.slice(from, from + length);
    this.#received = this.#received.slice(from + length);
    return { status: Number(first.split(" ")[1]), headers, text };
  }

  /** Ask and get the answer. */
  get(path?: string, headers?: string): Promise<Answer> {
    this.ask(path, headers);
    return this.answer();
  }

  /** Until the other side has closed it. */
  async end(): Promise<void> {
    while (!this.#ended) await this.#more();
  }

  get ended(): boolean {
    return this.#ended;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** One request on a connection of its own. */
export async function fetchOnce(target: Target, path?: string): Promise<string> {
  using client = new HttpClient(target);
  return (await client.get(path, "Connection: close\r\n")).text;
}

/** Where servers were started. */
const places: PlaceholderAddress[] = [];

/** Answers "hello" and the path. */
export const hello = (where: PlaceholderAddress): Bun.Server<undefined> => {
  places.push(where);
  const fetch = (request: Request): Response =>
    new Response(`hello ${new URL(request.url).pathname}`);
  return Bun.serve({ ...where, fetch });
};

/** Nothing listens at any of those places. */
export async function nothingLeft(): Promise<void> {
  for (const where of places.splice(0)) {
    if ("unix" in where) {
      expect(where.unix).toStartWith("\0bunix-");
      expect(await codeOf(() => connect(where.unix))).toBe("ECONNREFUSED");
    }
  }
}

/** All that comes on a connection, until it ends. */
export async function readAll(target: Target): Promise<string> {
  const parts: Buffer[] = [];
  for await (const chunk of net.connect(target)) parts.push(chunk as Buffer);
  return Buffer.concat(parts).toString();
}
