// Named descriptors: systemd's variables, set for the child's own pid.

import { describe, expect, mock, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { chmodSync, writeFileSync } from "node:fs";
import type { Fd } from "../../src/index.ts";
import { UnsupportedError } from "../../src/index.ts";
import { spawn, spawnSync } from "../../src/spawn/spawn.ts";
import { root, slower } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noSpawnGaps, testUnless } from "../support/unless.ts";
import { expected, identity, inventory, listers } from "./spawns.ts";
import { closeAll, failure, leakFree, marked, markedMany, thrown } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const echo = (variables: string): string[] => ["sh", "-c", `echo "${variables}"`];
const said = (command: string[], options: Parameters<typeof spawnSync>[1]): string => {
  const { stdout, exitCode } = spawnSync(command, options);
  expect(exitCode).toBe(0);
  return (stdout as Buffer).toString();
};

describe("the variables", () => {
  test("number, names in their order, the child's pid", () =>
    leakFree(async () => {
      const [a, b, c] = markedMany(3) as [Fd, Fd, Fd];
      const child = spawn(echo("$$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES"), {
        fds: { web: a, "admin socket": b, "x.y-z@1": c },
      });
      const { pid } = child;
      expect(await child.stdout.text()).toBe(`${pid} ${pid} 3 web:admin socket:x.y-z@1\n`);
      expect(await child.exited).toBe(0);
      closeAll([a, b, c]);
    }));

  testUnless(
    noSpawnGaps(),
    "numbers beside names: those that count from 3 are the named ones",
    () =>
      leakFree(() => {
        const [a, b, c] = markedMany(3) as [Fd, Fd, Fd];
        const fds = { 20: a, one: b, 5: c, two: a };
        const { stdout } = spawnSync(listers.sh(), { fds });
        expect(inventory(stdout.toString()).fds).toEqual({
          3: identity(b),
          4: identity(a),
          5: identity(c),
          20: identity(a),
        });
        expect(said(echo("$LISTEN_FDS $LISTEN_FDNAMES"), { fds })).toBe("2 one:two\n");
        closeAll([a, b, c]);
      }),
  );

  test("a backslash arrives as one, in the middle and at the end", () =>
    leakFree(async () => {
      const [a, b, c] = markedMany(3) as [Fd, Fd, Fd];
      const source = `import { inheritedFds } from ${JSON.stringify(`${root}/src/index.ts`)};
console.log(JSON.stringify(inheritedFds().map(({ name }) => name)));`;
      const fds = { "a\\b": a, "end\\": b, "\\\\": c };
      const child = spawn([process.execPath, "-e", source], { fds });
      expect(JSON.parse(await child.stdout.text())).toEqual(Object.keys(fds));
      expect(await child.exited).toBe(0);
      closeAll([a, b, c]);
    }));

  test("instead of those that this process, or env, has", () => {
    using fd = marked("x");
    const env = {
      ...process.env,
      LISTEN_PID: "1",
      LISTEN_FDS: "9",
      LISTEN_FDNAMES: "theirs",
      LISTEN_PIDFDID: "4711",
    };
    const variables = "$LISTEN_FDS $LISTEN_FDNAMES [$LISTEN_PIDFDID]";
    expect(said(echo(variables), { env, fds: { ours: fd } })).toBe("1 ours []\n");
    expect(said(echo("$LISTEN_PID"), { env, fds: [fd] })).toBe("1\n"); // not asked to
  });

  test("numbers alone set none", () => {
    using fd = marked("x");
    expect(said(echo("[$LISTEN_FDS$LISTEN_PID]"), { fds: { 3: fd } })).toBe("[]\n");
  });
});

describe("the command", () => {
  test("is not parsed by the shell", () => {
    using fd = marked("x");
    const words = ["a b", "$HOME", "`id`", "'\"\\", "", "-x", "*", "é\n;", "--"];
    const out = said(["printf", "%s|", ...words], { fds: { x: fd } });
    expect(out).toBe(words.map((word) => `${word}|`).join(""));
  });

  test("is looked for as Bun does: PATH of env or ours, cwd", () => {
    using fd = marked("x");
    using dir = tempDir();
    writeFileSync(dir.file("-tool"), "#!/bin/sh\necho ran $0\n");
    chmodSync(dir.file("-tool"), 0o755);
    const fds = { x: fd };
    expect(said(["./-tool"], { fds, cwd: dir.path })).toContain("ran ");
    const env = { PATH: `${dir.path}:${process.env["PATH"]}` };
    expect(said(["-tool"], { fds, env })).toBe(`ran ${dir.file("-tool")}\n`);
    expect(said(["echo", "found"], { fds, env: {} })).toBe("found\n");
  });

  test("that is not there", () =>
    leakFree(async () => {
      using fd = marked("x");
      const error = await failure(() => spawn(["no-such-program"], { fds: { x: fd } }));
      expect(error).toMatchObject({ code: "ENOENT", syscall: "execve" });
      expect(error.message).toContain('no executable "no-such-program"');
    }));

  test("that ends by itself, or by a signal", async () => {
    using fd = marked("x");
    expect(await spawn(["sh", "-c", "exit 9"], { fds: { x: fd } }).exited).toBe(9);
    const child = spawn(["sleep", "30"], { fds: { x: fd } });
    child.kill();
    await child.exited;
    expect(child.signalCode).toBe("SIGTERM");
  });

  test("argv0 cannot go with it", async () => {
    using fd = marked("x");
    const error = await thrown(() => spawn(["true"], { fds: { x: fd }, argv0: "false" }));
    expect(error).toBeInstanceOf(TypeError);
  });
});

describe("the environment", () => {
  peerTest("arrives whole, also what is no variable to a shell", ["python3"], () => {
    using fd = marked("x");
    const odd = { "foo.bar": "a b\n", "-x": "$y", "a-b": "'", "%": "", "1": "=" };
    const program = "import json, os; print(json.dumps(dict(os.environ)))";
    const env = { PATH: process.env["PATH"], PLAIN: "p\n'", GONE: undefined, ...odd };
    const got = JSON.parse(said(["python3", "-c", program], { fds: { x: fd }, env }));
    expect(got).toMatchObject({ PLAIN: "p\n'", ...odd, LISTEN_FDS: "1" });
    expect("GONE" in got || "BUNIX_CHANNEL" in got).toBe(false);
  });

  test("whose odd variables and an odd path do not go together", async () => {
    using fd = marked("x");
    using dir = tempDir();
    writeFileSync(dir.file("a=b"), "#!/bin/sh\necho ran\n");
    chmodSync(dir.file("a=b"), 0o755);
    const command = [dir.file("a=b")];
    expect(said(command, { fds: { x: fd }, env: { PATH: "/bin" } })).toBe("ran\n");
    const odd = { fds: { x: fd }, env: { "foo.bar": "1" } };
    expect(await thrown(() => spawnSync(command, odd))).toBeInstanceOf(RangeError);
  });
});

test("without /bin/sh: says so, and numbers still work", () =>
  leakFree(async () => {
    using fd = marked("x");
    const real = { ...fs };
    mock.module("node:fs", () => ({ ...real, existsSync: () => false }));
    try {
      const error = await thrown(() => spawn(["true"], { fds: { x: fd }, channel: "messages" }));
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(String(error)).toContain("listenNames is not available here");
      expect(await spawn(["true"], { fds: [fd] }).exited).toBe(0);
    } finally {
      mock.module("node:fs", () => real);
    }
  }));

for (const [name, needs] of [
  ["c", ["cc"]],
  ["python3", ["python3"]],
  ["bun", []],
] as const) {
  peerTest(`${name} finds the pid to be its own`, needs, () => {
    using fd = marked("x");
    const command = listers[name]([3, 4]);
    const { stdout } = spawnSync(command, { fds: { one: fd, two: 0 } });
    const { fds, rest } = inventory(stdout.toString());
    expect(fds).toEqual(expected({ one: fd, two: 0 }));
    expect(rest.filter((line) => !line.startsWith("bun "))).toEqual(["mine 2 one:two"]);
  });
}
