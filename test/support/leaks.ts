// Preloaded into every test file (bunfig.toml): a descriptor that is open after a file's tests and
// was not before them fails the run, and so does one that was open before and is gone. Garbage
// collection does not count as closing: a finalizer that had to close is a failure too.

import { afterAll } from "bun:test";
import { existsSync, fstatSync, readdirSync, readlinkSync } from "node:fs";
import { resolve } from "node:path";
import { capabilities, socketPair } from "../../src/index.ts";
import { endAll } from "./at-end.ts";

/** What a number stands for: "socket:[4711]", "anon_inode:[eventfd]", a path. */
type Open = Map<number, string>;

const FDS = "/proc/self/fd";

/** Every descriptor and what it stands for; none where there is no such list (macOS). */
function* links(): Generator<[fd: number, link: string]> {
  if (!existsSync(FDS)) return;
  for (const name of readdirSync(FDS)) {
    try {
      yield [Number(name), readlinkSync(`${FDS}/${name}`)];
    } catch {
      // the descriptor that listed the directory
    }
  }
}

function isFolder(fd: number): boolean {
  try {
    return fstatSync(fd).isDirectory();
  } catch {
    return false; // closed meanwhile, by a thread of Bun's
  }
}
const repository = resolve(import.meta.dir, "../..");

/** Bun 1.3 keeps the folders open that it looked for modules in: this file's are seen here. */
const keepsFolders = [...links()].some(([fd, link]) => link.startsWith(repository) && isFolder(fd));

/** What Bun 1.3 opens for itself: those folders, and three timers per thread. We make no timers. */
const isBuns = (fd: number, link: string): boolean =>
  link === "anon_inode:[timerfd]" || (keepsFolders && isFolder(fd));

function listOpen(): Open {
  const open: Open = new Map();
  for (const [fd, link] of links()) if (!isBuns(fd, link)) open.set(fd, link);
  return open;
}

/** What `later` has and `earlier` has not. Numbers may differ: two eventfds are as good as two. */
function more(later: Open, earlier: Open): string[] {
  const spare = [...earlier.values()];
  const surplus: string[] = [];
  for (const [fd, link] of later) {
    const at = spare.indexOf(link);
    if (at >= 0) spare.splice(at, 1);
    else surplus.push(`${fd} → ${link}`);
  }
  return surplus;
}

/** Bun's own threads may have to wait for a processor; a test of this check need not. */
const PATIENCE_MS = Number(process.env["BUNIX_LEAK_PATIENCE_MS"] ?? 15_000);
const STEP_MS = 5;
const QUIET_STEPS = 20;

const step = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, STEP_MS));

/** Until the list has not changed for a while: Bun closes some of its own a little later. */
async function settled(): Promise<Open> {
  let last = listOpen();
  const deadline = performance.now() + PATIENCE_MS;
  for (let quiet = 0; quiet < QUIET_STEPS && performance.now() < deadline; quiet++) {
    await step();
    const now = listOpen();
    if (more(now, last).length + more(last, now).length > 0) quiet = -1;
    last = now;
  }
  return last;
}

/** Start what stays open until the process ends: this library's loop, Bun's loop for spawnSync. */
async function warmUp(): Promise<void> {
  void [process.stdout, process.stderr]; // Bun has descriptors of its own for them, when asked
  if (capabilities().waker === null) return;
  const [a, b] = socketPair("stream");
  const received = a.receive();
  await new Promise((resolve) => setImmediate(resolve)); // let it wait, and so start the loop
  await b.send("x");
  await received;
  a.close();
  b.close();
  // nothing piped: the socket of a pipe may be closed late, and would count as open before
  Bun.spawnSync([process.execPath, "--version"], { stdio: ["ignore", "ignore", "ignore"] });
}

/**
 * Start the thread that serves unreferenced waiters, which also stays: a file may or may not have
 * needed it, so each is brought to have it.
 */
function startBackground(): Disposable {
  const [a, b] = socketPair("stream");
  a.unref();
  a.receive().catch(() => {});
  return {
    [Symbol.dispose]() {
      a.close();
      b.close();
    },
  };
}

/** What that thread has: Bun's epoll and eventfd for it, and the eventfd of its commands. */
const background = ["anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[eventfd]"];

const forgotten: string[] = [];
let forgiven = false;

/** Call in a test that forgets a descriptor on purpose. */
export function expectForgotten(): void {
  forgiven = true;
}

process.on("warning", (warning: Error & { code?: string }) => {
  if (warning.code === "BUNIX_FORGOTTEN_FD") forgotten.push(`forgotten: ${warning.message}`);
});

await warmUp();
const before = await settled();

function expected(): Open {
  const open = new Map(before);
  if (capabilities().waker?.kind !== "aio") return open;
  for (const [i, link] of background.entries()) open.set(-1 - i, link);
  return open;
}

function complaint(open: Open): string {
  const wanted = expected();
  const lost = more(wanted, open);
  const leaked = more(open, wanted);
  const lines = leaked.map((entry) => `leaked: descriptor ${entry}`);
  for (const entry of lost) lines.push(`closed by someone who does not own it: ${entry}`);
  return lines.join("\n");
}

afterAll(async () => {
  endAll();
  if (capabilities().waker === null) return;
  let wrong = "";
  const deadline = performance.now() + PATIENCE_MS;
  const waiting = startBackground();
  while (more(expected(), listOpen()).length > 0 && performance.now() < deadline) await step();
  waiting[Symbol.dispose]();
  do {
    wrong = complaint(listOpen());
    if (wrong !== "") await step();
  } while (wrong !== "" && performance.now() < deadline);
  if (!forgiven) wrong = [wrong, ...forgotten].filter((line) => line !== "").join("\n");
  if (wrong !== "")
    throw new Error(`descriptors are not what they were before the tests\n${wrong}`);
});
