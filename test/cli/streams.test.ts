// Standard streams that fail: a message and an exit code, no stack; a reader that has gone is fine.

import { describe, expect, test } from "bun:test";
import { commands } from "../../src/cli/commands.ts";
import { listen } from "../../src/index.ts";
import { type Outcome, root, run } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";

/** bunix with its streams as a line of shell has them: "$@" is the command. */
function through(line: string, ...args: string[]): Promise<Outcome> {
  return run(["sh", "-c", line, "sh", process.execPath, "src/cli/main.ts", ...args], { cwd: root });
}

const OSERR = 71;

describe("standard output that is full", () => {
  const lines: Readonly<Record<string, string[][]>> = {
    ls: [["ls"], ["ls", "--json"]],
    graph: [["graph"], ["graph", "--svg"]],
    probe: [["probe", "/nowhere"]],
    completion: [["completion", "bash"]],
    help: [["help"], ["ls", "--help"]],
    version: [["version"], ["version", "--json"]],
    doctor: [["doctor"]],
  };
  for (const args of Object.values(lines).flat()) {
    test(args.join(" "), async () => {
      const { stderr, code } = await through('exec "$@" > /dev/full', ...args);
      expect([stderr, code]).toEqual([expect.stringMatching(/^bunix: write ENOSPC: .*\n$/), OSERR]);
    }, 30_000);
  }

  test("these are all commands but those that print as things happen", () => {
    const others = ["listen", "send", "postbox"];
    const names = commands.map(({ name }) => name).filter((name) => !others.includes(name));
    expect(Object.keys(lines).sort()).toEqual(names.sort());
  });

  test("send, which prints as things happen", async () => {
    using dir = tempDir();
    using server = listen(dir.file("s"));
    const { stderr, code } = await through('exec "$@" > /dev/full', "send", dir.file("s"), "text");
    expect([stderr, code]).toEqual([expect.stringMatching(/^bunix: write ENOSPC: .*\n$/), OSERR]);
    expect(server.closed).toBe(false);
  });
});

test("a reader that has gone is no error", async () => {
  const { stdout, stderr } = await through('{ "$@"; echo "$?" >&2; } | true', "ls", "--json");
  expect([stdout, stderr]).toEqual(["", "0\n"]);
});

describe("standard input that cannot be read", () => {
  const inputs = { EISDIR: "/", EIO: "/proc/$$/mem" }; // nothing is mapped at 0 of the shell
  for (const [error, path] of Object.entries(inputs)) {
    for (const type of ["stream", "seqpacket"] as const) {
      test(`${error}, ${type}`, async () => {
        using dir = tempDir();
        using _server = listen<"stream" | "seqpacket">(dir.file("s"), { type });
        const how = type === "stream" ? [] : [`--${type}`];
        const { stderr, code } = await through(
          `"$@" < ${path}; exit $?`,
          "send",
          ...how,
          dir.file("s"),
        );
        expect([stderr, code]).toEqual([
          expect.stringMatching(new RegExp(`^bunix: read ${error}: .*standard input.*\\n$`)),
          OSERR,
        ]);
      });
    }
  }

  test("an empty one, and one that is a file, are read to their end", async () => {
    using dir = tempDir();
    for (const [line, came] of [
      ['exec "$@" < /dev/null', ""],
      ['printf "a\\nb" | "$@"', "a\nb"],
      ['printf "a\\nb" > "$D/f"; exec "$@" < "$D/f"', "a\nb"],
    ] as const) {
      using server = listen(dir.file("s"));
      const sent = through(`D='${dir.path}'; ${line}`, "send", dir.file("s"));
      using socket = await server.accept();
      let text = "";
      for await (const message of socket) text += message.text();
      expect([text, (await sent).code]).toEqual([came, 0]);
    }
  });
});
