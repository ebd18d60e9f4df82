// What others chose (names of processes and files, messages) never reaches a terminal as it is.

import { describe, expect, test } from "bun:test";
import { connect, Handover, listen } from "../../src/index.ts";
import { encodeFrame } from "../../src/structs/handover-frame.ts";
import { freshPath } from "../api/pairs.ts";
import { failure, leakFree } from "../api/tools.ts";
import { bunix } from "../cli/tools.ts";
import { type Child, type Outcome, run, start, startScript } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

/** Colour, a C1 control, a turned line, an end of line for some. */
const BAD = "\x1b[31m\u007f\u009b\u202e\u2066\u200f\u061c\u2028";
const obeyed = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

function clean(text: string): void {
  for (const line of text.split("\n")) expect(line).not.toMatch(obeyed);
}

const python = (...args: string[]): string[] => [
  "python3",
  "test/fixtures/hostile-terminal.py",
  ...args,
];

async function holder(path: string): Promise<Child> {
  const child = start(python("listen", path));
  await child.lineWith("listening");
  return child;
}

describe("a process with a name like that, at a path like that", () => {
  peerTest("AddressInUseError, uncaught", ["python3"], async () => {
    using dir = tempDir();
    const path = dir.file(`s${BAD}`);
    await using _holder = await holder(path);
    const code = `
      import { listen } from "${process.cwd()}/src/index.ts";
      const path = JSON.parse(process.env["AT"] ?? "");
      try { listen(path); } catch (error) { console.error(error.message); }
      listen(path);
    `;
    const env = { AT: JSON.stringify(path) };
    const { stderr, code: exit } = await run([process.execPath, "-e", code], { env });
    expect(exit).toBe(1);
    expect(stderr).toContain("EADDRINUSE");
    expect(stderr).toContain("(\\x1b[31m\\xc2\\x9b"); // the holder's name
    clean(stderr);
  });

  peerTest("probe and ls, as text and as JSON", ["python3"], async () => {
    using dir = tempDir();
    const path = dir.file(`s${BAD}`);
    await using held = await holder(path);
    const ask: [string[], (outcome: Outcome) => unknown][] = [
      [["probe", path], ({ stdout }) => expect(stdout).toContain(`held by   ${held.pid} \\x1b`)],
      [["ls", dir.path], ({ stdout }) => expect(stdout).toContain("\\x1b[31m")],
      [
        ["probe", "--json", path],
        ({ stdout }) =>
          expect(JSON.parse(stdout).holders[0].command).toBe("\x1b[31m\x9b\u202e\x7f"),
      ],
      [
        ["ls", "--json", dir.path],
        ({ stdout }) =>
          expect(JSON.parse(stdout)[0].holders[0].command).toBe("\x1b[31m\x9b\u202e\x7f"),
      ],
    ];
    for (const [args, check] of ask) {
      const outcome = await bunix(args);
      check(outcome);
      clean(outcome.stdout + outcome.stderr);
    }
  });

  peerTest("listen, as text and as JSON", ["python3"], async () => {
    for (const more of [[], ["--json"]]) {
      using dir = tempDir();
      const path = dir.file("s");
      await using server = startScript("src/cli/main.ts", ["listen", "--once", ...more, path]);
      await server.lineWith("listening");
      expect((await run(python("send", path, BAD))).code).toBe(0);
      const { stdout, stderr, code } = await server.exited;
      expect(code).toBe(0);
      expect(stdout).toContain(more.length > 0 ? "\\u202e" : "\\xe2\\x80\\xae");
      clean(stdout + stderr);
    }
  });
});

describe("what the predecessor in a handover says", () => {
  /** A predecessor that says no, and what the newcomer shows. */
  async function refusal(allow: boolean): Promise<string> {
    const address = freshPath();
    using server = listen(address, { type: "seqpacket" });
    const serve = (async () => {
      using socket = await server.accept();
      (await socket.receive())?.close();
      await socket.send(encodeFrame({ kind: "refused", reason: `reason ${BAD}` }));
      await socket.receive().catch(() => null);
    })();
    const error = await failure(() => Handover.open(address, { allow: () => allow }));
    await serve;
    expect(error.code).toBe("EACCES");
    return error.message;
  }

  test("is not shown before `allow` was asked", () =>
    leakFree(async () => {
      const shown = await refusal(false);
      expect(shown).toContain("nothing is taken from there");
      expect(shown).not.toContain("reason");
    }));

  test("is shown escaped", () =>
    leakFree(async () => {
      const shown = await refusal(true);
      expect(shown).toContain("reason \\x1b[31m\\x7f");
      clean(shown);
    }));
});

test("an address that is repeated in an error", async () => {
  const error = await failure(() => connect(`/nowhere/${BAD}`));
  expect(error.code).toBe("ENOENT");
  clean(error.message + error.address + error.path);
});
