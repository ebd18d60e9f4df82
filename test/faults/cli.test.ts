// The commands of bunx bunix, each in this process, under every fault: nothing stays open, and it
// ends with a code of its own or an error that `main` turns into one. (`main` itself ends the
// process; test/cli starts it.)

import { afterAll, beforeAll, mock } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { checks } from "../../src/cli/checks.ts";
import { listenCommand } from "../../src/cli/listen.ts";
import { ls } from "../../src/cli/ls.ts";
import { postbox } from "../../src/cli/postbox/postbox.ts";
import { probeCommand } from "../../src/cli/probe.ts";
import { send } from "../../src/cli/send.ts";
import { Stop } from "../../src/cli/terminal.ts";
import { connect, listen, UnixError } from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { removeQueue } from "../api/queues.ts";
import { eventually, turns } from "../api/tools.ts";
import { type Keep, same, setUp, underFaults } from "./driver.ts";

setUp();

/** What the commands print. */
let printed = "";
const note = (text: unknown): void => void (printed += `${text}\n`);

/** Not the process's own: Bun makes descriptors for those when they are first asked for. */
class Output implements Disposable {
  readonly gone = new Promise<void>(() => {});
  readonly line = note;
  readonly bytes = note;
  [Symbol.dispose](): void {}
}

/** Nothing comes in. */
class Input implements Disposable {
  readonly next = (): Promise<null> => new Promise(() => {});
  [Symbol.dispose](): void {}
}

mock.module("../../src/cli/terminal.ts", () => ({ Stop, Output, Input }));

const { log, error } = console;
beforeAll(() => {
  console.log = note;
  console.error = note;
});
afterAll(() => {
  console.log = log;
  console.error = error;
});

const served = (keep: Keep) => {
  const address = freshPath();
  return { address, listener: keep(listen(address)) };
};

underFaults("bunix probe, bunix ls", {
  prepare: served,
  run: async ({ address }) => {
    same(await probeCommand([address]), 0);
    same(await ls([address, "--no-holders"]), 0);
  },
  right: (_error, { call }) => call === "lstatSync" || call === "connect", // other codes
});

underFaults("bunix send, with a descriptor", {
  prepare: served,
  run: async ({ address, listener }, keep) => {
    const accepting = listener.accept().then(keep);
    accepting.catch(() => {});
    same(await send([address, "hello", "--fd", "/dev/null", "--timeout", "5"]), 0);
    let text = "";
    const connection = await accepting;
    while (!text.endsWith("\n")) {
      const message = await connection.receive();
      if (message === null) throw new Error(`ended after ${text}`);
      text += message.text();
      message.close();
    }
    same(text, "hello\n");
  },
});

underFaults("bunix listen --once", {
  prepare: () => ({ address: freshPath() }),
  run: async ({ address }, keep) => {
    printed = "";
    const listening = listenCommand([address, "--once"]);
    let why: unknown;
    listening.catch((error: unknown) => {
      why = error;
    });
    const failed = listening.then(() => {});
    try {
      await Promise.race([failed, eventually(() => printed.includes("listening"), "it listens")]);
      const client = keep(await connect(address, { timeoutMs: 5_000 }));
      await client.send("hello").catch(async (error: unknown) => {
        await turns();
        throw why ?? error; // the command has failed, and says why
      });
      client.end();
      same(await listening, 0);
    } finally {
      process.emit("SIGHUP"); // to whatever still listens
      await listening.catch(() => {});
    }
  },
});

underFaults("bunix postbox", {
  prepare: () => ({ directory: freshPath() }),
  run: async ({ directory }, keep, point) => {
    printed = "";
    const patienceMs = point === null ? 20_000 : 1_000;
    const open = postbox([directory, "--json"]);
    open.catch(() => {});
    try {
      const begun = eventually(() => printed.includes('"box"'), "it is open");
      await Promise.race([open, begun]);
      const client = keep(await connect(`${directory}/socket`, { timeoutMs: 5_000 }));
      await client.send("hello\n");
      client.end();
      await Promise.race([
        open,
        eventually(() => printed.includes("hello"), "it came", patienceMs),
      ]);
    } finally {
      process.emit("SIGHUP");
      await open.catch(() => {});
    }
    same(await open, 0);
  },
  // a live box has the lock, then; who cannot be looked at is disconnected; and that a directory
  // cannot be opened is why a FIFO cannot be made there
  right: (error, { call }) =>
    (error instanceof UnixError &&
      (call === "flock" || (call === "open" && error.syscall === "mkfifo"))) ||
    /it came/.test(String(error)),
  // what it could not look at it has left, for the next one to take over
  atEnd: ({ directory }, point) => {
    if (point === null) same(existsSync(directory), false);
    const digest = createHash("sha256").update(directory).digest("hex");
    removeQueue(`/bunix-postbox-${digest.slice(0, 12)}`);
  },
});

/** Most of what it tries out stands in the other files, by itself. */
underFaults("bunix doctor: a process's end", {
  run: () => checks.find(({ name }) => name === "a process's end")!.run(),
  right: (error) => error instanceof Error && !/it hangs/.test(error.message), // "fails: why"
});
