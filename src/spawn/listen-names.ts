// Named descriptors: systemd's LISTEN_… variables, which must hold the child's own pid.

import { existsSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { UnixError, UnsupportedError } from "../base/errors.ts";
import { toJson } from "../base/printable.ts";
import { joinFdNames } from "../structs/fd-name.ts";

/** A child's environment as Bun takes it. */
export type Environment = Record<string, string | undefined>;

const SHELL = "/bin/sh";
const ENV = "/usr/bin/env";
/** exec keeps the pid. The command is in the arguments: nothing of it is parsed. */
const SCRIPT = 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"';
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Why a child cannot be told the names of its descriptors; null if it can. */
export function whyNoNames(): string | null {
  return existsSync(SHELL) ? null : `LISTEN_PID takes a ${SHELL} to set; give numbers, or an array`;
}

/** The variables for these names, but the pid. @see sd_listen_fds(3) */
export function listenVariables(names: readonly string[]): Environment {
  return {
    LISTEN_FDS: String(names.length),
    LISTEN_FDNAMES: joinFdNames(names),
    LISTEN_PID: undefined,
    LISTEN_PIDFDID: undefined,
  };
}

/** How Bun looks for a command. */
export interface Search {
  readonly cwd: string | undefined;
  readonly env: Environment;
}

/**
 * `command`, started by a shell that sets LISTEN_PID to its own pid and becomes it.
 * @throws UnixError ENOENT; UnsupportedError if there is no shell
 */
export function withListenPid(command: readonly string[], { cwd, env }: Search): string[] {
  const why = whyNoNames();
  if (why !== null) throw new UnsupportedError("listenNames", why);
  const [name = "", ...rest] = command;
  const program = Bun.which(name, {
    PATH: env["PATH"] ?? process.env["PATH"] ?? "",
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (program === null) {
    throw new UnixError("execve", -errno.ENOENT, { hint: `no executable "${name}"` });
  }
  return [SHELL, "-c", SCRIPT, SHELL, ...keeping(env, program), program, ...rest];
}

/** env(1) if there are variables that some shells would drop, their names being none to them. */
function keeping(env: Environment, program: string): string[] {
  const odd = Object.entries(env).filter(
    ([name, value]) => value !== undefined && !VARIABLE.test(name),
  );
  if (odd.length === 0) return [];
  if (program.includes("=")) {
    const why = `${ENV} would take ${toJson(program)} for a variable`;
    throw new RangeError(`${why}: start it by another path`);
  }
  return [ENV, "--", ...odd.map(([name, value]) => `${name}=${value}`)];
}
