// docs/beyond-one-machine.md: its commands are started as they stand there, with its server at the
// far end. What goes through: bytes, and both ends. What does not: descriptors, and who it is.

import { expect } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, probe } from "../../src/index.ts";
import { eventually } from "../api/tools.ts";
import { type Child, run, start, startScript, succeeded } from "../support/child.ts";
import { blocksOf, writeConfig, writePrograms } from "../support/markdown.ts";
import { peerTest } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";

const DOCUMENT = "docs/beyond-one-machine.md";

/** The block that has `part` in it. */
function command(part: string): string {
  const block = blocksOf(DOCUMENT).find(({ code }) => code.includes(part));
  if (block === undefined) throw new Error(`${DOCUMENT} has no command with ${part}`);
  return block.code;
}

/** What the commands' variables stand for. */
interface Places {
  readonly SOCKET: string;
  readonly LOCAL: string;
  readonly PORT: string;
}

function places(dir: TempDir): Places {
  const port = freePort();
  return { SOCKET: dir.file("socket"), LOCAL: dir.file("local"), PORT: String(port) };
}

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop();
  return port;
}

const startTool = (part: string, env: Places & Record<string, string>): Child =>
  start(["sh", "-c", `exec ${command(part)}`], { env });

const listening = (path: string): Promise<void> =>
  eventually(() => probe(path).state === "listening", `somebody listens at ${path}`);

/** Without connecting, which these tools pass on. */
function listeningOnPort(port: string): Promise<void> {
  const entry = new RegExp(`:${Number(port).toString(16).padStart(4, "0")} \\S+ 0A `, "i");
  const found = (): boolean => entry.test(readFileSync("/proc/net/tcp", "utf8"));
  return eventually(found, `somebody listens on port ${port}`);
}

async function startServer(dir: TempDir, env: Places): Promise<Child> {
  const [program] = writePrograms(DOCUMENT, dir);
  writeConfig(dir); // says where "bunix" is
  const server = startScript(program!.path, [], { env: { ...env } });
  await listening(env.SOCKET);
  return server;
}

/** A conversation with the server through whatever listens at `LOCAL`; who the server has seen. */
async function talk({ LOCAL }: Places, server: Child): Promise<string> {
  using client = await connect(LOCAL);
  await client.send("hello", { fds: [0] });
  expect((await client.receive())?.text()).toBe("got hello");
  client.end();
  expect(await client.receive()).toBeNull();
  const [from, message, ...more] = succeeded(await server.exited)
    .trimEnd()
    .split("\n");
  expect([message, ...more]).toEqual(["hello 0"]); // no descriptor
  return from ?? "";
}

peerTest("socat, over TCP", ["socat"], async () => {
  using dir = tempDir();
  const env = places(dir);
  await using server = await startServer(dir, env);
  await using far = startTool("TCP-LISTEN", { ...env });
  await using near = startTool("UNIX-LISTEN", { ...env });
  await Promise.all([listeningOnPort(env.PORT), listening(env.LOCAL)]);
  expect(await talk(env, server)).toMatch(/^from \/.*\/socat/);
  expect(far.pid).not.toBe(near.pid);
});

const proxyd = "/usr/lib/systemd/systemd-socket-proxyd";

peerTest("systemd-socket-proxyd", ["systemd-socket-activate", proxyd], async () => {
  using dir = tempDir();
  const env = places(dir);
  await using server = await startServer(dir, env);
  await using tool = startTool("systemd-socket-activate", { ...env });
  await listening(env.LOCAL);
  expect(await talk(env, server)).toBe(`from ${proxyd}`);
  expect(tool.pid).toBeGreaterThan(0);
});

const sshd = "/usr/sbin/sshd";

/** A daemon of the test's own, on `PORT`, with keys of its own; what ssh needs to get in. */
async function startSshd(dir: TempDir, PORT: string): Promise<{ sshd: Child; server: string }> {
  for (const key of ["host", "user"]) {
    const made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir.file(key)];
    succeeded(await run(made));
  }
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  writeFileSync(
    dir.file("sshd_config"),
    [
      `ListenAddress 127.0.0.1:${PORT}`,
      `HostKey ${dir.file("host")}`,
      `AuthorizedKeysFile ${dir.file("user.pub")}`,
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin prohibit-password",
      "PidFile none\n",
    ].join("\n"),
  );
  const child = start([sshd, "-D", "-e", "-f", dir.file("sshd_config")]);
  await listeningOnPort(PORT);
  const [type, key] = readFileSync(dir.file("host.pub"), "utf8").split(" ");
  writeFileSync(dir.file("known_hosts"), `[127.0.0.1]:${PORT} ${type} ${key}\n`);
  const options = [
    "-F /dev/null",
    "-o BatchMode=yes",
    "-o IdentitiesOnly=yes",
    `-i ${dir.file("user")}`,
  ];
  options.push(`-o UserKnownHostsFile=${dir.file("known_hosts")}`, `-p ${PORT}`);
  return { sshd: child, server: `${options.join(" ")} root@127.0.0.1` };
}

peerTest("ssh", ["ssh", sshd, "root"], async () => {
  using dir = tempDir();
  const env = places(dir);
  await using server = await startServer(dir, env);
  const { sshd: daemon, server: SERVER } = await startSshd(dir, env.PORT);
  await using _daemon = daemon;
  await using tool = startTool("ssh -N", { ...env, SERVER });
  await listening(env.LOCAL);
  expect(await talk(env, server)).toMatch(/^from \/.*\/sshd/);
  expect(tool.pid).toBeGreaterThan(0);
});
