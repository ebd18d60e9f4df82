// time limit: 180 s
// docs/development.md with the real thing: bun --hot, --watch and test, and what containers are
// made of: a process 1, a read-only root, the profiles of Docker and of systemd as filters.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { connect, type StreamSocket } from "../../src/index.ts";
import { families, refused, unknown } from "../fixtures/docker-profile.ts";
import { type Child, run, slower, start, succeeded, writeSource } from "../support/child.ts";
import { writeConfig, writePrograms } from "../support/markdown.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { writeUntil } from "../support/rewrite.ts";
import { tempDir } from "../support/tmp.ts";
import { noListeningOnFds, testUnless } from "../support/unless.ts";

setDefaultTimeout(60_000 * slower);

const LIFE = { timeoutMs: 60_000 };

const dir = tempDir();
afterAll(() => dir.remove());
const programs = writePrograms("docs/development.md", dir).map(({ path }) => path);
writeConfig(dir);
const withText = (text: string): string => {
  const found = programs.filter((path) => readFileSync(path, "utf8").includes(text));
  if (found.length !== 1) throw new Error(`${found.length} programs with ${text}`);
  return found[0]!;
};

/** Have the watcher see another text. */
const rewrite = (path: string, text: string, done: () => Promise<unknown>): Promise<void> =>
  writeUntil(() => writeFileSync(path, text), done);

async function ask(socket: StreamSocket): Promise<string | undefined> {
  await socket.send("x");
  return (await socket.receive())?.text();
}

test("bun --hot: nobody is refused, and connections go on", async () => {
  const program = withText("kept.handle");
  const address = dir.file("hot");
  await using child = start(
    [process.execPath, "--hot", "--no-clear-screen", program, address],
    LIFE,
  );
  await child.lineWith("serving");
  using early = await connect(address);
  expect(await ask(early)).toBe("one: x");
  const changed = readFileSync(program, "utf8").replaceAll("`one:", "`two:");
  await rewrite(program, changed, async () => {
    for (let answer: string | undefined; answer !== "two: x"; ) {
      using late = await connect(address); // throws where it is refused
      answer = await ask(late);
      expect(answer).toMatch(/^(one|two): x$/);
    }
  });
  expect(await ask(early)).toBe("one: x");
});

test("bun --watch: the same pid, no exit, SIGTERM's listeners, its file taken over", async () => {
  const address = dir.file("watched");
  const text = (round: number): string => `import { listen } from "bunix";
process.on("exit", () => console.log("exit"));
process.on("SIGTERM", () => console.log("SIGTERM"));
const server = listen(${JSON.stringify(address)});
console.log("round ${round}.", process.pid);
await server.serve(() => {}); // connections stay open`;
  const program = dir.file("watch.ts");
  writeFileSync(program, text(0));
  await using child = start([process.execPath, "--watch", "--no-clear-screen", program], LIFE);
  await child.lineWith(`round 0. ${child.pid}`);
  const early = await connect(address);
  await rewrite(program, text(1), () => child.lineWith(`round 1. ${child.pid}`));
  await early.receive().catch(() => null); // the end, or a reset
  early.close();
  (await connect(address)).close();
  child.kill("SIGKILL");
  const { stdout } = await child.exited;
  expect(stdout).toContain("SIGTERM");
  expect(stdout).not.toContain("exit");
});

testUnless(noListeningOnFds(), "a handover for every change: nobody is refused", async () => {
  const home = tempDir();
  using _ = home;
  const server = home.file("server.ts");
  const text = readFileSync(withText("Handover.open"), "utf8");
  const version = (said: string): string =>
    text.replace('"one"', `"${said}"`).replace("serving one", `serving ${said}`);
  writeFileSync(server, text);
  cpSync(dir.file("tsconfig.json"), home.file("tsconfig.json"));
  const command = [process.execPath, withText("bun dev.ts"), server, home.file("control")];
  await using runner = start(command, LIFE);
  const url = (await runner.lineWith("serving one")).split(" ").at(-1)!;
  const ask = async (): Promise<string> => (await fetch(url, { keepalive: false })).text();
  const until = (wanted: string) => async (): Promise<void> => {
    while ((await ask()) !== wanted); // throws where it is refused
  };
  try {
    await rewrite(server, version("two"), until("two"));
    await rewrite(server, "console.log('broken'); throw new Error();", () =>
      runner.lineWith("broken"),
    );
    expect(await ask()).toBe("two");
    await rewrite(server, version("three"), until("three"));
  } finally {
    await endAll(runner, home.path);
  }
});

/** The runner's servers outlive it. */
async function endAll(runner: Child, with_: string): Promise<void> {
  runner.kill("SIGKILL");
  for (let left = true; left; ) {
    const pids = (await run(["ps", "-eo", "pid=,args="])).stdout.split("\n");
    const ours = pids
      .filter((line) => line.includes(with_))
      .map((line) => Number.parseInt(line, 10));
    for (const pid of ours) process.kill(pid, "SIGKILL");
    left = ours.length > 0;
  }
}

describe("bun test", () => {
  const program = withText("bun:test");

  test("two files at once, and one that forgets a listener", async () => {
    const [one, two, leaky] = ["one", "two", "leaky"].map((name) => dir.file(`${name}.test.ts`));
    cpSync(program, one!);
    cpSync(program, two!);
    const both = await run([process.execPath, "test", "--parallel=2", one!, two!], {
      cwd: dir.path,
    });
    expect(both.stderr).toContain(" 2 pass");
    expect(both.code).toBe(0);
    const text = readFileSync(program, "utf8");
    writeFileSync(leaky!, text.replace("using server", "const server"));
    const leaking = await run([process.execPath, "test", leaky!], { cwd: dir.path });
    expect(leaking.stderr).toContain(" 1 fail"); // and it ended
  });
});

const program = (source: string): string => writeSource(dir, source, `p${Bun.hash(source)}.ts`);

describe("in a container", () => {
  const apart = ["root", "unshare"];

  peerTest("process 1: SIGTERM needs a listener, orphans stay", [...apart, "ps"], async () => {
    const source = (listener: string): string => `import { listen } from "@/src/index.ts";
using server = listen(${JSON.stringify(dir.file("first"))});
${listener}
Bun.spawnSync(["sh", "-c", "sleep 0 & exec true"]);
while (!Bun.spawnSync(["ps", "-eo", "stat="]).stdout.toString().includes("Z")) await Bun.sleep(20);
console.log("ready", process.pid);
process.stdin.on("data", () => { console.log("here"); process.exit(3); });`;
    for (const [listener, code] of [
      ["", 3],
      ['process.once("SIGTERM", () => process.exit(5));', 5],
    ] as const) {
      const command = ["unshare", "-fp", "--mount-proc", process.execPath];
      await using child = start([...command, program(source(listener))], LIFE);
      expect(await child.lineWith("ready")).toBe("ready 1");
      const [first] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").split(
        " ",
      );
      process.kill(Number(first), "SIGTERM");
      if (listener === "") child.write("x\n"); // it is still there
      expect((await child.exited).code).toBe(code);
    }
  });

  peerTest(
    "a read-only root: paths need a place, all else works",
    [...apart, "mount"],
    async () => {
      const source = `import { listen, lockFile, MessageQueue, SharedMemory } from "@/src/index.ts";
const code = async (call) => {
  try { (await call()).close(); return "works"; } catch (error) { return error.code; }
};
const name = "/bunix-ro-" + process.pid;
const tries = [
  () => listen("/tmp/ro-" + process.pid), () => listen("/run/ro"),
  () => listen("@ro-" + process.pid),
  () => lockFile("/tmp/ro-lock"), () => lockFile("/run/lock-ro"),
  () => SharedMemory.create(4096), () => {
    const queue = MessageQueue.open(name, { create: true });
    queue.unlink();
    return queue;
  },
];
const found = [];
for (const one of tries) found.push(await code(one));
console.log(found.join(" "));
process.exit(0);`;
      const script = `mount --make-rprivate /
mount -t tmpfs none /run
findmnt -rno TARGET | while read -r at; do
  case "$at" in
    /run | /proc* | /sys* | /dev*) ;;
    *) mount -o remount,bind,ro "$at" 2>/dev/null ;;
  esac
done
exec "$@"`;
      const command = [
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        "sh",
        process.execPath,
        program(source),
      ];
      const said = succeeded(await run(command));
      expect(said.trim()).toBe("EROFS works works EROFS works works works");
    },
  );

  const asked = program(`import { capabilities } from "@/src/index.ts";
const all = Object.entries(capabilities());
const missing = all.filter(([, one]) => one.available === false);
console.log(JSON.stringify(missing.map(([name]) => name)));`);
  const lacking = async (prefix: readonly string[]): Promise<string[]> =>
    JSON.parse(succeeded(await run([...prefix, process.execPath, asked])));
  const doctor = async (prefix: readonly string[]): Promise<string[]> => {
    const said = await run([...prefix, process.execPath, "src/cli/main.ts", "doctor", "--json"]);
    const { checks } = JSON.parse(succeeded(said));
    return checks.flatMap((one: { name: string; result: string }) =>
      one.result === "works" ? [] : [one.name],
    );
  };
  const by = (action: string | number, calls: readonly string[]): string[] => [
    ...[compileC("test/fixtures/seccomp.c"), String(action), calls.join(",")],
  ];

  async function expectOnlyByPid(filter: readonly string[]): Promise<void> {
    const plain = await lacking([]);
    const more = (await lacking(filter)).filter((name) => !plain.includes(name));
    expect(more).toEqual(["pidfdGetfd", "sendFd"]);
    const before = await doctor([]);
    const left = (await doctor(filter)).filter((name) => !before.includes(name));
    expect(left).toEqual(["a descriptor handed over by pid"]);
  }

  peerTest("Docker's profile: no descriptors by pid, all else works", ["cc"], async () => {
    const numbers = await callNumbers();
    const numberOf = (name: string): string[] => (numbers.has(name) ? [numbers.get(name)!] : []);
    const socket = families.map((family) => `${numbers.get("socket")}:${family}`);
    expect(refused.flatMap(numberOf).length).toBeGreaterThan(40);
    await expectOnlyByPid([
      ...by(errno.ENOSYS, unknown.flatMap(numberOf)),
      ...by(errno.EPERM, [...refused.flatMap(numberOf), ...socket]),
    ]);
  });

  peerTest("systemd's @system-service: the same", ["cc", "systemd-analyze"], async () => {
    const allowed = await systemService();
    const numbers = [...(await callNumbers())].filter(([name]) => !allowed.has(name));
    expect(numbers.length).toBeGreaterThan(40);
    await expectOnlyByPid(
      by(
        "kill",
        numbers.map(([, number]) => number),
      ),
    );
  });
});

/** The numbers of this machine's system calls. */
async function callNumbers(): Promise<Map<string, string>> {
  const input = "#include <sys/syscall.h>\n";
  const said = succeeded(await run(["cc", "-E", "-dM", "-x", "c", "-"], { input }));
  return new Map(Array.from(said.matchAll(/^#define __NR_(\w+) (\d+)$/gm), ([, a, b]) => [a!, b!]));
}

/** What SystemCallFilter=@system-service allows, as this machine's systemd has it. */
async function systemService(): Promise<Set<string>> {
  const said = succeeded(await run(["systemd-analyze", "syscall-filter"]));
  const groups = new Map<string, string[]>();
  let group: string[] = [];
  for (const line of said.split("\n")) {
    if (/^[@#]/.test(line)) groups.set(line.trim(), (group = []));
    else if (/^ +[@\w]/.test(line)) group.push(line.trim());
  }
  const calls = (name: string): string[] =>
    groups.get(name)!.flatMap((one) => (one.startsWith("@") ? calls(one) : [one]));
  return new Set([...calls("@system-service"), "execve"]);
}
