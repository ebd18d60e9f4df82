// Under a filter for system calls: what is refused is not promised, and asking ends nobody.

import { describe, expect, setDefaultTimeout } from "bun:test";
import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { socket as c } from "../../native/socket.ts";
import { type Capabilities, sendFd, signalNumber } from "../../src/index.ts";
import { type Outcome, run, slower, start, succeeded, writeSource } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

setDefaultTimeout(60_000 * slower);

const numbers = {
  memfd_create: nr.SYS_memfd_create,
  mq_open: nr.SYS_mq_open,
  pidfd_open: nr.SYS_pidfd_open,
  pidfd_getfd: nr.SYS_pidfd_getfd,
  pidfd_send_signal: nr.SYS_pidfd_send_signal,
  io_setup: nr.SYS_io_setup,
  /** For netlink only. */
  socket: `${nr.SYS_socket}:${c.AF_NETLINK}`,
};
type Call = keyof typeof numbers;

const dir = tempDir();
const ask = writeSource(
  dir,
  `import { capabilities } from "@/src/index.ts";
   console.log(JSON.stringify(capabilities()));`,
  "ask.ts",
);

/** A program under a filter that does this to these calls; "none" has a filter and no call. */
function filtered(
  action: "kill" | number,
  calls: readonly Call[],
  [...args]: string[],
): Promise<Outcome> {
  const list = calls.map((call) => String(numbers[call])).join(",") || "-1";
  const command = [compileC("test/fixtures/seccomp.c"), String(action), list, process.execPath];
  return run([...command, ...args], { env: { BUNIX_WAKER: undefined, DIR: dir.path } });
}

async function found(action: "kill" | number, ...calls: Call[]): Promise<Capabilities> {
  return JSON.parse(succeeded(await filtered(action, calls, [ask])));
}

const yes = { available: true } as const;

describe("capabilities() under a filter", () => {
  peerTest("that refuses nothing of ours: all is there", ["cc"], async () => {
    const all = await found(errno.EPERM);
    const { pidfd, pidfdGetfd, pidfdSignals, messageQueues, sharedMemory, sendFd, sockDiag } = all;
    const asked = [pidfd, pidfdGetfd, pidfdSignals, messageQueues, sharedMemory, sendFd, sockDiag];
    for (const one of asked) expect(one).toEqual(yes);
    expect(all.waiting).toEqual(yes);
  });

  for (const action of ["kill", errno.EPERM, errno.ENOSYS] as const) {
    const why =
      action === "kill"
        ? /kills its caller/
        : /(EPERM|ENOSYS): .*seccomp filter.*SystemCallFilter=/;
    const no = (call: Call): object => ({
      available: false,
      reason: expect.stringMatching(new RegExp(`^${call}: .*${why.source}`)),
    });

    peerTest(`with ${action} for message queues and pidfd_getfd`, ["cc"], async () => {
      const all = await found(action, "mq_open", "pidfd_getfd");
      expect(all.messageQueues).toEqual(no("mq_open") as never);
      expect(all.pidfdGetfd).toEqual(no("pidfd_getfd") as never);
      expect(all.sendFd).toEqual(no("pidfd_getfd") as never);
      expect([all.pidfd, all.pidfdSignals, all.waiting]).toEqual([yes, yes, yes] as never);
    });
  }

  peerTest("that ends who calls io_setup: the thread waits", ["cc"], async () => {
    const { waiting, waker } = await found("kill", "io_setup");
    expect(waiting).toEqual(yes);
    expect(waker).toMatchObject({
      kind: "thread",
      reason: expect.stringMatching(/^io_setup: .*kills/),
    });
    const refused = await found(errno.EPERM, "io_setup");
    expect(refused.waker).toMatchObject({
      kind: "thread",
      reason: expect.stringMatching(/EPERM: .*filter/),
    });
  });

  peerTest("that ends who makes memory: nothing else is lost", ["cc"], async () => {
    const all = await found("kill", "memfd_create");
    expect(all.sharedMemory.reason).toMatch(/^memfd_create: .*kills its caller/);
    for (const one of [all.pidfd, all.messageQueues, all.signalSenders, all.waiting]) {
      expect(one).toEqual(yes);
    }
  });

  peerTest("that has no netlink: which sockets there are is not known", ["cc"], async () => {
    const killed = await found("kill", "socket");
    expect(killed.sockDiag.reason).toMatch(/^socket: .*kills its caller/);
    const refused = await found(errno.EAFNOSUPPORT, "socket");
    expect(refused.sockDiag.reason).toMatch(/RestrictAddressFamilies= .*AF_NETLINK/);
  });
});

/** What a program prints, each line a JSON text. */
async function says(
  action: "kill" | number,
  calls: readonly Call[],
  body: string,
): Promise<unknown[]> {
  const source = `import * as bunix from "@/src/index.ts";
    const text = (call) => { try { return typeof call(); } catch (error) {
      return error.name + ": " + error.message; } };
    const say = (value) => console.log(JSON.stringify(value));
    ${body}`;
  const file = writeSource(dir, source, `say-${Bun.hash(source)}.ts`);
  const stdout = succeeded(await filtered(action, calls, [file]));
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const everything = ["memfd_create", "mq_open", "pidfd_open", "pidfd_getfd", "socket"] as const;

describe("what only asks does not end the process", () => {
  peerTest("waiting, probing, owning an address, inheriting", ["cc"], async () => {
    const calls = ["io_setup", "pidfd_open", "pidfd_getfd", "socket"] as const;
    const said = await says(
      "kill",
      calls,
      `using listener = bunix.listen(process.env.DIR + "/asks.sock");
       using client = await bunix.connect(listener.address);
       using server = await listener.accept();
       await client.send("x");
       using got = await server.receive();
       say(got.text());
       say(bunix.probe(listener.address).state);
       process.env.LISTEN_PID = String(process.pid);
       process.env.LISTEN_FDS = "0";
       process.env.LISTEN_PIDFDID = "1";
       say(bunix.inheritedFds());
       process.exit(0);`,
    );
    expect(said).toEqual(["x", "listening", []]);
  });
});

describe("a call that a filter refuses says so", () => {
  for (const [name, number] of [
    ["EPERM", errno.EPERM],
    ["ENOSYS", errno.ENOSYS],
  ] as const) {
    peerTest(`with ${name}`, ["cc"], async () => {
      const said = await says(
        number,
        everything,
        `say(text(() => bunix.SharedMemory.create(1)));
         say(text(() => bunix.MessageQueue.open("/bunix-none")));
         say(text(() => bunix.ProcessHandle.open(process.pid)));
         say(text(() => bunix.receiveFds({ realtimeSignal: "SIGRTMIN+5" })));
         say(await bunix.sendFd(process.ppid, 0, { realtimeSignal: "SIGRTMIN+5" }).catch(String));`,
      );
      expect(said.length).toBe(5);
      for (const text of said) {
        expect(text).toMatch(
          new RegExp(`${name}.*seccomp filter in force refuses it.*SystemCallFilter=`),
        );
      }
    });
  }

  peerTest("pidfd_getfd and pidfd_send_signal of a process that is there", ["cc"], async () => {
    const said = await says(
      errno.EPERM,
      ["pidfd_getfd", "pidfd_send_signal"],
      `using handle = bunix.ProcessHandle.open(process.pid);
       say(text(() => handle.duplicateFd(0)));
       say(text(() => handle.signal(0)));`,
    );
    for (const text of said) expect(text).toMatch(/EPERM.*seccomp filter in force refuses it/);
    expect(said.length).toBe(2);
  });
});

peerTest(
  "sendFd says that its receiver's filter may be why it takes nothing",
  ["cc", "python3"],
  async () => {
    const number = signalNumber("SIGRTMIN+5"); // libcs differ in where those begin
    const script = `import signal, sys, time
signal.signal(${number}, lambda *_: None)
print("ready", flush=True)
while True: time.sleep(60)`;
    const command = [compileC("test/fixtures/seccomp.c"), "1", String(numbers.pidfd_getfd)];
    await using deaf = start([...command, "python3", "-c", script]);
    await deaf.lineWith("ready");
    const sent = sendFd(deaf.pid, 0, { realtimeSignal: "SIGRTMIN+5", timeoutMs: 300 });
    await expect(sent).rejects.toThrow(/took nothing for 300 ms; its seccomp filter may refuse/);
  },
);

peerTest("bunix doctor leaves out what a filter refuses", ["cc"], async () => {
  for (const action of ["kill", errno.EPERM] as const) {
    const calls = ["mq_open", "pidfd_getfd"] as const;
    const outcome = await filtered(action, calls, ["src/cli/main.ts", "doctor", "--json"]);
    const { checks, ok } = JSON.parse(succeeded(outcome));
    expect(ok).toBe(true);
    const left = checks.filter(({ result }: { result: string }) => result === "left out");
    const names = left.map(({ name }: { name: string }) => name);
    expect(names).toEqual([
      "a message queue",
      "sockets over message queues",
      "a descriptor handed over by pid",
    ]);
  }
});
