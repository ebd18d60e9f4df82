// systemd as PID 1 of a machine in which nothing is at stake (test/kernels/run.ts): units are
// written, started, asked, and taken away again.

import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, run, slower, start, succeeded } from "../support/child.ts";

const UNITS = "/run/systemd/system";

/** Why nothing of this can be tried here; null where it can. */
export const whyNot: string | null =
  process.env["BUNIX_RIG"] === "kernels" && existsSync(UNITS)
    ? null
    : "takes a virtual machine with systemd: npm run test:kernels -- 6.1 kernels/units";

export const LIMIT_MS = 120_000 * slower;

/** systemd's own limits are for machines that are not emulated. */
export const PATIENT = "TimeoutStartSec=900\nTimeoutStopSec=900";

/** What systemctl says; where it fails, what it and the units' processes said. */
export async function systemctl(...args: string[]): Promise<string> {
  const done = await run(["systemctl", ...args]);
  if (done.code === 0) return done.stdout.trim();
  const log = await run(["journalctl", "-n", "60", "--no-pager", "-o", "cat"]);
  throw new Error(`systemctl ${args.join(" ")}: ${done.stderr}\n${log.stdout}`);
}

/** A property of a unit: "NRestarts". */
export const property = (unit: string, name: string): Promise<string> =>
  systemctl("show", "-P", name, unit);

/** Wait until a property has this value. A test's time limit ends it. */
export async function propertyIs(unit: string, name: string, value: string): Promise<void> {
  while ((await property(unit, name)) !== value) await Bun.sleep(1_000);
}

/** Units by name. Disposing of them stops them and takes them away. */
export async function units(all: Readonly<Record<string, string>>): Promise<AsyncDisposable> {
  mkdirSync(UNITS, { recursive: true });
  const names = Object.keys(all);
  for (const name of names) writeFileSync(join(UNITS, name), all[name]!);
  await systemctl("daemon-reload");
  return {
    async [Symbol.asyncDispose]() {
      const running = names.filter((name) => !name.includes("@."));
      await run(["systemctl", "stop", ...running]);
      await run(["systemctl", "reset-failed", ...running]);
      for (const name of names) rmSync(join(UNITS, name), { force: true });
      await run(["systemctl", "daemon-reload"]);
    },
  };
}

/** A program where every user may read it; "@/" at the start of an import is this project. */
export function program(name: string, source: string): string {
  const file = join("/opt", name);
  writeFileSync(file, source.replaceAll(/(["'])@\//g, `$1${root}/`));
  chmodSync(file, 0o644);
  return file;
}

/** A GET over a Unix socket by curl. */
export const get = async (socket: string, path = "/"): Promise<string> =>
  succeeded(await run(["curl", "-sS", "--unix-socket", socket, `http://localhost${path}`]));

export interface Load {
  /** Stop, and how many were answered. Throws if one was not. */
  end(): Promise<number>;
}

/** A client in Python that connects again and again, each time for one request. */
const CLIENT = `
import select, socket, sys
answered, lost = 0, []
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(sys.argv[1])
            s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
            got = b""
            while True:
                piece = s.recv(65536)
                if not piece: break
                got += piece
        if got.startswith(b"HTTP/1.1 200"): answered += 1
        else: lost.append(repr(got[:60]))
    except OSError as error:
        lost.append(repr(error))
print("end", answered, len(lost), *lost[:5], flush=True)
`;

/** Have a socket asked all the time, by two clients. */
export async function load(socket: string): Promise<Load> {
  const clients = [1, 2].map(() =>
    start(["python3", "-c", CLIENT, socket], { timeoutMs: LIMIT_MS }),
  );
  for (const client of clients) await client.lineWith("begun");
  return {
    async end() {
      let all = 0;
      for (const client of clients) client.endInput();
      for (const client of clients) {
        const said = (await client.lineWith("end")).split(" ");
        if (said[2] !== "0") throw new Error(`lost: ${said.slice(2).join(" ")}`);
        all += Number(said[1]);
        succeeded(await client.exited);
      }
      return all;
    },
  };
}
