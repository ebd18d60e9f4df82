// The demo's last part: bunx bunix postbox, and programs in other languages that write to it.

import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { dim, fact, heading } from "./print.ts";

/** What "bunx bunix" runs. */
const bunix = join(import.meta.dir, "../../src/cli/main.ts");
const folder = import.meta.dir;

/** Somebody who sends one message. */
interface Sender {
  readonly who: string;
  readonly command: readonly string[];
  /** What the box must print of it. */
  readonly prints: RegExp;
}

interface Box {
  readonly pid: number;
  readonly directory: string;
  readonly queue: string;
}

/** The senders that this machine has, and for the others what is missing. */
function senders({ pid, directory, queue }: Box): (Sender | string)[] {
  const fifo = `${directory}/fifo`;
  const uid = process.getuid?.();
  const shell = (who: string, script: string, prints: RegExp): Sender => ({
    who,
    command: ["sh", "-c", script],
    prints,
  });
  const socat = `echo "hello, socket" | socat -u - UNIX-CONNECT:${directory}/socket`;
  return [
    has("sh")
      ? shell("echo", `echo "hello, FIFO" > ${fifo}`, /^fifo: hello, FIFO$/)
      : "sh is not here: no message by the FIFO",
    has("sh") && has("socat")
      ? shell(
          "socat",
          socat,
          new RegExp(`^socket\\[pid=\\d+,uid=${uid},gid=\\d+\\]: hello, socket$`),
        )
      : "socat is not here: no message by the socket",
    canQueueSignals()
      ? {
          who: "kill",
          command: ["kill", "-USR1", "-q", "3", String(pid)],
          prints: new RegExp(`^signal\\[SIGUSR1,pid=\\d+,uid=${uid}\\]: 3$`),
        }
      : "no kill here has -q: no queued signal",
    queueSender(directory, queue) ??
      "neither a C compiler nor python3 is here: no message by the queue",
  ];
}

const has = (name: string): boolean => Bun.which(name) !== null;

const quiet = { stdout: "ignore", stderr: "ignore" } as const;

/** Signal 0 goes to nobody: whether the option is there is all that is asked. */
function canQueueSignals(): boolean {
  return (
    has("kill") && Bun.spawnSync(["kill", "-0", "-q", "3", String(process.pid)], quiet).success
  );
}

function queueSender(directory: string, queue: string): Sender | null {
  const text = "hello, queue";
  const prints = /^queue\[priority=5\]: hello, queue$/;
  const program = join(directory, "mq-send");
  const compile = ["cc", "-o", program, join(folder, "mq-send.c"), "-lrt"];
  if (has("cc") && Bun.spawnSync(compile, quiet).success) {
    return { who: "C", command: [program, queue, text], prints };
  }
  const works = ["python3", "-c", "import ctypes"];
  if (!has("python3") || !Bun.spawnSync(works, quiet).success) return null;
  return { who: "Python", command: ["python3", join(folder, "mq-send.py"), queue, text], prints };
}

/** Open the box, have each send its message, close it: it must print them and leave nothing. */
export async function postBox(
  directory: string,
  { insist, children }: { insist: (is: boolean, what: string) => void; children: Bun.Subprocess[] },
): Promise<void> {
  mkdirSync(directory, { mode: 0o700 });
  const box = Bun.spawn([process.execPath, bunix, "postbox", directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(box);
  const said = createInterface({ input: Readable.fromWeb(box.stdout as never) });
  const lines = said[Symbol.asyncIterator]();
  const next = async (): Promise<string> => (await lines.next()).value ?? "(it has ended)";
  heading("Post box", `is pid ${box.pid}: a FIFO, two sockets, signals and a message queue`);
  let queue = "";
  for (let line = await next(); line !== ""; line = await next()) {
    queue = / mq_send\(3\) to (.*)$/.exec(line)?.[1] ?? queue;
    insist(line !== "(it has ended)", "the post box opens");
  }
  for (const sender of senders({ pid: box.pid, directory, queue })) {
    if (typeof sender === "string") console.log(dim(`    left out: ${sender}`));
    else await send(sender, { next, insist });
  }
  box.kill("SIGTERM");
  insist((await box.exited) === 0, "the post box ends well when it is told to");
  const left = readdirSync(directory).filter((name) => name !== "mq-send");
  insist(left.length === 0, "the post box leaves nothing behind");
}

async function send(
  { who, command, prints }: Sender,
  box: { next: () => Promise<string>; insist: (is: boolean, what: string) => void },
): Promise<void> {
  const child = Bun.spawn([...command], { stdio: ["ignore", "inherit", "inherit"] });
  box.insist((await child.exited) === 0, `${who} can send`);
  const line = await box.next();
  fact(who, line);
  box.insist(prints.test(line), `the post box prints what ${who} sent`);
}
