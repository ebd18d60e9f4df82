// Foreign programs that tests need: is it here, and if not, what brings it? Where CI=true a missing
// one is a failure; elsewhere its tests are skipped and say what to install.

import { test } from "bun:test";
import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { root, slower } from "./child.ts";

export interface Peer {
  readonly available: boolean;
  /** What to install (a Debian package), or to do. */
  readonly remedy: string;
}

/** Debian packages whose name is not the command's. */
const packages: Readonly<Record<string, string>> = {
  cc: "gcc libc6-dev",
  go: "golang-go",
  nc: "netcat-openbsd",
  ip: "iproute2",
  unshare: "util-linux",
  setpriv: "util-linux",
  prlimit: "util-linux",
  ps: "procps",
  ss: "iproute2",
  nginx: "nginx-light",
  "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
  "musl-gcc": "musl-tools",
  "qemu-aarch64-static": "qemu-user-static",
  flock: "util-linux",
  "systemd-socket-activate": "systemd",
  "systemd-notify": "systemd",
  "systemd-analyze": "systemd",
  "/usr/lib/systemd/systemd-socket-proxyd": "systemd",
  ssh: "openssh-client",
  "/usr/sbin/sshd": "openssh-server",
  "/usr/lib/systemd/systemd-journald": "systemd",
  journalctl: "systemd",
  busctl: "systemd",
  Xvfb: "xvfb",
  docker: "docker.io",
  initdb: "postgresql",
  "wayland-scanner": "libwayland-dev",
  "varlink-go": "golang-github-varlink-go-dev",
};

/** Where Debian puts Go's libraries: a GOPATH. */
const GO_LIBRARIES = "/usr/share/gocode";
const VARLINK = "github.com/varlink/go";

const known = new Map<string, Peer>();

/** Whether a command is here and usable; "root" asks for the right to do what root may. */
export function peer(name: string): Peer {
  let found = known.get(name);
  if (found === undefined) {
    found = { available: usable(name), remedy: remedyFor(name) };
    known.set(name, found);
  }
  return found;
}

function remedyFor(name: string): string {
  if (name === "root") return "run the tests as root";
  return `apt-get install ${packages[name] ?? name}`;
}

function usable(name: string): boolean {
  if (name === "root") return process.getuid?.() === 0;
  if (name === "python3-gi") return works([debianPython, "-c", "from gi.repository import Gio"]);
  if (name === "initdb") return postgresTools() !== null;
  if (name === "varlink-go") return existsSync(`${GO_LIBRARIES}/src/${VARLINK}`);
  if (Bun.which(name) === null) return false;
  if (name === "cc") return works(["cc", "-E", "-include", "stdio.h", "-x", "c", "/dev/null"]);
  if (name === "nc") return works(["nc", "-h"], "OpenBSD");
  return true;
}

/** Where initdb and postgres are: Debian keeps them out of $PATH, a folder for each version. */
export function postgresTools(): string | null {
  const found = globSync("/usr/lib/postgresql/*/bin/initdb").sort().at(-1) ?? Bun.which("initdb");
  return found === null ? null : dirname(found);
}

/** The Python that Debian's packages of modules are for, whichever is first in $PATH. */
export const debianPython = "/usr/bin/python3";

function works(command: string[], saying = ""): boolean {
  const { success, stderr } = Bun.spawnSync(command, { stdout: "ignore", stderr: "pipe" });
  return saying === "" ? success : stderr.toString().includes(saying);
}

/** Of `needs`, what is missing, as a sentence; null where all is here. */
export function missing(needs: readonly string[]): string | null {
  const gone = needs.filter((name) => !peer(name).available);
  if (gone.length === 0) return null;
  return gone.map((name) => `needs ${name}: ${peer(name).remedy}`).join("; ");
}

/** A test that runs only where all of `needs` are here; see the top of this file. */
export function peerTest(
  name: string,
  needs: readonly string[],
  fn: () => void | Promise<void>,
  timeoutMs = 30_000,
): void {
  const reason = missing(needs);
  if (reason === null) {
    test(name, fn, timeoutMs * slower);
  } else if (process.env["CI"] === "true") {
    test(name, () => {
      throw new Error(`CI must not skip: ${reason}`);
    });
  } else {
    console.log(`skip: ${name} (${reason})`);
    // biome-ignore lint/suspicious/noSkippedTests: the reason has been printed
    test.skip(name, fn);
  }
}

const C_FLAGS = ["-D_GNU_SOURCE", "-O1", "-Wall", "-pthread"];

const cache = join(tmpdir(), `bunix-test-${process.getuid?.() ?? 0}`);

interface Build {
  readonly name: string;
  /** Everything that the result depends on. */
  readonly inputs: readonly (string | Uint8Array)[];
  readonly command: (output: string) => string[];
  readonly env?: Record<string, string>;
  /** The compiler's standard input. */
  readonly input?: string;
}

/** Build once per content. Two processes may do it at once: the last rename wins. */
function build({ name, inputs, command, env = {}, input = "" }: Build): string {
  const hash = createHash("sha256");
  for (const input of [...command(""), ...inputs]) hash.update(input).update("\0");
  const output = join(cache, `${name}-${hash.digest("hex").slice(0, 24)}`);
  if (existsSync(output)) return output;
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const unfinished = `${output}.${process.pid}`;
  const made = Bun.spawnSync(command(unfinished), {
    env: { ...process.env, ...env },
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  if (!made.success) {
    rmSync(unfinished, { force: true });
    throw new Error(`${name} does not compile:\n${made.stdout}${made.stderr}`);
  }
  renameSync(unfinished, output);
  return output;
}

/** Compile a C file (a relative path starts at the root); the result is the program's path. */
export function compileC(source: string, flags: readonly string[] = []): string {
  const file = resolve(root, source);
  const headers = globSync("*.h", { cwd: dirname(file) }).map((name) => join(dirname(file), name));
  return build({
    name: basename(file, ".c"),
    inputs: [file, ...headers].map((one) => readFileSync(one)),
    command: (output) => ["cc", ...C_FLAGS, "-o", output, file, ...flags],
  });
}

/** Compile C given as text; the text goes to the compiler's standard input. */
export function compileCSource(
  name: string,
  source: string,
  flags: readonly string[] = [],
  compiler = "cc",
): string {
  return build({
    name,
    inputs: [source],
    input: source,
    command: (output) => [compiler, ...C_FLAGS, "-x", "c", "-o", output, "-", ...flags],
  });
}

/** Build a Go file, or a directory of them, without modules or network (Go ≥ 1.19). */
export function buildGo(source: string): string {
  const path = resolve(root, source);
  const files = path.endsWith(".go")
    ? [path]
    : readdirSync(path)
        .filter((name) => name.endsWith(".go"))
        .sort()
        .map((name) => join(path, name));
  return build({
    name: basename(path, ".go"),
    inputs: files.map((file) => readFileSync(file)),
    command: (output) => ["go", "build", "-o", output, ...files],
    env: { GO111MODULE: "off", GOFLAGS: "", CGO_ENABLED: "0", GOTOOLCHAIN: "local" },
  });
}

/** Build the certification that Debian's Go library for Varlink brings: client and server. */
export function buildVarlinkCertification(): string {
  const folder = `${VARLINK}/cmd/varlink-go-certification`;
  return build({
    name: "varlink-go-certification",
    inputs: [readFileSync(`${GO_LIBRARIES}/src/${folder}/main.go`)],
    command: (output) => ["go", "build", "-o", output, folder],
    env: {
      GO111MODULE: "off",
      GOPATH: GO_LIBRARIES,
      GOFLAGS: "",
      CGO_ENABLED: "0",
      GOTOOLCHAIN: "local",
    },
  });
}
