// The others: what each is called, how it is built, and how it is started. One that is not here is
// named once and left out.

import { join } from "node:path";
import { folder, output, scratch } from "./harness.ts";

/** A command for a server that listens at `path`. */
export type Start = (path: string) => readonly string[];

const peers = join(folder, "peers");
const told = new Set<string>();

function here(command: string, install: string): boolean {
  if (Bun.which(command) !== null) return true;
  if (!told.has(command)) console.log(`(no ${command} here: apt-get install ${install})`);
  told.add(command);
  return false;
}

const built = new Set<string>();

/** One of peers/c, built; the clients are in C, so nothing goes without a compiler. */
export function c(name: "client" | "server" | "pair" | "driver"): string {
  const program = join(scratch, name);
  if (built.has(name)) return program;
  if (!here("cc", "gcc libc6-dev") || !here("make", "make")) process.exit(1);
  output(["make", "-s", "-C", join(peers, "c"), `OUT=${scratch}`, program]);
  built.add(name);
  return program;
}

/** A server of ours: bench/servers/NAME.ts PATH ARGS. */
export function ours(name: string, ...args: readonly (string | number)[]): Start {
  return (path) => [process.execPath, join(folder, "servers", `${name}.ts`), path, ...texts(args)];
}

/** The same work on Bun's own sockets: bench/peers/bun/NAME.ts PATH ARGS. */
export function bun(name: string, ...args: readonly (string | number)[]): Start {
  return (path) => [process.execPath, join(peers, "bun", `${name}.ts`), path, ...texts(args)];
}

/** peers/c/server.c in one of its modes. */
export function cServer(mode: string, ...args: readonly (string | number)[]): Start {
  const server = c("server");
  return (path) => [server, mode, path, ...texts(args)];
}

const texts = (args: readonly (string | number)[]): string[] => args.map(String);

/** Echo servers in other languages, as far as they are here. */
export function foreignEchoes(): Record<string, Start> {
  const found: Record<string, Start> = {};
  if (here("go", "golang-go")) {
    const program = join(scratch, "go-echo");
    output(["go", "build", "-o", program, "."], { cwd: join(peers, "go") });
    found["Go net"] = (path) => [program, path];
  }
  if (here("node", "nodejs")) {
    found["node net"] = (path) => ["node", join(peers, "node/echo.mjs"), path];
  }
  if (here("python3", "python3")) {
    found["python asyncio"] = (path) => ["python3", join(peers, "python/echo.py"), path];
  }
  return found;
}
