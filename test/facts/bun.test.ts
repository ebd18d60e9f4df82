// What Bun does with descriptors, servers, children and signals of a program.

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { Duplex } from "node:stream";
import { file as c } from "../../native/file.ts";
import { whyNoServing } from "../../src/http/probe.ts";
import { descriptorFlags, duplicate, open, setCloseOnExec } from "../../src/syscalls/fd.ts";
import { done, fresh, Raw, send } from "../cases/raw.ts";
import { runSource, start, succeeded } from "../support/child.ts";
import { fact } from "../support/facts.ts";
import { noListeningOnFds, noServeHttp, noSpawnGaps } from "../support/unless.ts";
import { SOCK_STREAM } from "../syscalls/sockets.ts";

fact(
  "bun-drops-ancillary-data",
  "Bun.connect({ fd }): the bytes come, the descriptors are closed",
  async () => {
    using raw = new Raw();
    const [near, far] = raw.pair(SOCK_STREAM);
    const [reading, writing] = raw.pipe();
    const data = Promise.withResolvers<string>();
    const closed = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      ...({ fd: duplicate(far) } as object as { unix: string }),
      socket: {
        data: (_, bytes) => data.resolve(bytes.toString()),
        close: () => closed.resolve(),
      },
    });
    expect(send(near, { data: "bytes", fds: [writing] })).toBe(5);
    raw.close(writing);
    expect(await data.promise).toBe("bytes");
    expect(raw.receive(far).result).toBe("EAGAIN");
    // nobody has the writing end any more
    expect(readFileSync(`/proc/self/fd/${reading}`, "utf8")).toBe("");
    socket.terminate();
    await closed.promise;
  },
  noListeningOnFds(),
);

/** What a node:http server writes to a connection that it is given, call by call. */
class Recorder extends Duplex {
  server: unknown = null;
  readonly calls: string[] = [];

  override _read(): void {}
  override _write(chunk: Buffer, _encoding: unknown, done: () => void): void {
    this.calls.push(String(chunk));
    done();
  }
  setTimeout(): this {
    return this;
  }
}

fact(
  "http-server-writes-head-and-body",
  "an answer of a node:http server to a connection that it was given",
  async () => {
    const server = http.createServer((_, response) => response.end("body"));
    const stream = new Recorder();
    server.emit("connection", stream);
    expect(stream.server).toBe(server);
    stream.push(Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    while (stream.calls.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(stream.calls[0]).toStartWith("HTTP/1.1 200 OK");
    expect(stream.calls.slice(1)).toEqual(["body"]);
    stream.destroy();
  },
  noServeHttp(),
);

const LIST = `for (const fd of [3, 4, 5, 6]) {
  const flags = descriptorFlags(fd);
  console.log(fd, flags < 0 ? "free" : flags === 0 ? "inherited" : "close-on-exec");
}`;

fact(
  "close-on-exec-from-4-at-start",
  "three descriptors that Bun inherits",
  async () => {
    using raw = new Raw();
    const fds = [raw.own(duplicate(0)), raw.own(duplicate(0)), raw.own(duplicate(0))];
    const program = `import { descriptorFlags } from "@/src/syscalls/fd.ts";\n${LIST}`;
    const lines = succeeded(await runSource(program, { fds })).split("\n");
    expect(lines.slice(0, 3)).toEqual(["3 inherited", "4 close-on-exec", "5 close-on-exec"]);
  },
  Bun.semver.satisfies(Bun.version, "<1.4.0") ? `Bun ${Bun.version} leaves them as they are` : null,
);

/** The descriptors from 3 on of a child that is no Bun. */
async function childHas(stdio: readonly (number | "ignore")[]): Promise<string[]> {
  // what the shell opens to list them is gone when the loop begins
  const script = "cd /proc/self/fd; for f in *; do [ ! -e $f ] || echo $f; done";
  const child = Bun.spawn(["sh", "-c", script], {
    stdio: ["ignore", "pipe", "inherit", ...stdio],
  });
  const text = await new Response(child.stdout as ReadableStream).text();
  await child.exited;
  return text.split("\n").filter((line) => Number(line) > 2);
}

fact(
  "spawn-passes-listed-slots-only",
  "what stands in stdio, and nothing else, close-on-exec or not",
  async () => {
    using raw = new Raw();
    const other = raw.own(duplicate(0, 40));
    expect(setCloseOnExec(other, false)).toBe(0);
    const listed = raw.own(duplicate(0, 50));
    expect(descriptorFlags(listed)).toBe(c.FD_CLOEXEC);
    expect(await childHas([listed])).toEqual(["3"]);
    expect(await childHas([listed, listed])).toEqual(["3", "4"]);
    expect(descriptorFlags(listed)).toBe(c.FD_CLOEXEC); // it is still the parent's
  },
);

fact(
  "spawn-takes-0-as-it-is",
  "0 in a slot from 3 on: the parent's descriptor of that number, if any",
  async () => {
    const program = `
      import { readlinkSync } from "node:fs";
      const child = Bun.spawn(["readlink", "/proc/self/fd/4"], {
        stdio: ["ignore", "pipe", "ignore", "ignore", 0],
      });
      const theirs = (await new Response(child.stdout).text()).trim();
      const mine = (fd) => readlinkSync("/proc/self/fd/" + fd);
      console.log(mine(0), theirs === mine(4) ? "4" : theirs);`;
    using raw = new Raw();
    const fds = [raw.own(duplicate(0)), raw.own(done(open("/dev/zero", c.O_RDONLY)))];
    await using parent = start(
      ["sh", "-c", 'exec "$0" -e "$1" < /etc/passwd', process.execPath, program],
      { fds },
    );
    expect((await parent.exited).stdout).toBe("/etc/passwd 4\n");
  },
  noSpawnGaps(),
);

fact("serve-listens-elsewhere", "Bun.serve({ fd }) takes no descriptor", async () => {
  using raw = new Raw();
  const listener = raw.at(fresh("abstract"), SOCK_STREAM, 4);
  const options = { hostname: "127.0.0.1", port: 0, fd: listener, fetch: () => new Response("") };
  const server = Bun.serve(options as Parameters<typeof Bun.serve>[0]);
  const { port } = server;
  await server.stop(true);
  expect(port).toBeGreaterThan(0);
  expect(descriptorFlags(listener)).toBe(c.FD_CLOEXEC); // not Bun's, and not closed by it
});

fact("http-serves-handed-connections", "by emit, since 1.4; plainly on https; no limits", () => {
  const works = !Bun.semver.satisfies(Bun.version, "<1.4.0");
  expect(whyNoServing() === null).toBe(works);
  const heard: string[] = [];
  const stream = new Duplex({
    read() {},
    write: (chunk, _, done) => done(void heard.push(String(chunk))),
  });
  const server = https.createServer({}, (_, response) => response.end());
  server.emit("connection", stream);
  stream.emit("data", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"));
  expect(heard.join("").startsWith("HTTP/1.1 200")).toBe(works);
  const open = Object.getOwnPropertySymbols(stream).find(
    ({ description }) => description === "http1MessageOpen",
  );
  expect(open !== undefined && Reflect.get(stream, open)).toBe(works);
  stream.destroy();
});

fact("bun-watches-listeners-in-an-epoll", "its entry in /proc/self/fdinfo", async () => {
  const program = `
    import { readdirSync, readFileSync, readlinkSync, fstatSync } from "node:fs";
    const line = /^tfd:\\s+(\\d+) events:\\s+\\w+ data:\\s+\\w+.* ino:(\\w+)/gm;
    const watched = () => readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        if (readlinkSync("/proc/self/fd/" + fd) !== "anon_inode:[eventpoll]") return [];
        const info = readFileSync("/proc/self/fdinfo/" + fd, "utf8");
        return [...info.matchAll(line)].map(([, tfd, ino]) => tfd + ":" + parseInt(ino, 16));
      } catch { return []; }
    });
    const before = new Set(watched());
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("") });
    const more = watched().filter((one) => !before.has(one));
    const sockets = more.filter((one) => {
      const [fd, ino] = one.split(":").map(Number);
      return fstatSync(fd).isSocket() && fstatSync(fd).ino === ino;
    });
    console.log(sockets.length);
    process.exit(0);`;
  expect(succeeded(await runSource(program))).toBe("1\n");
});

/** A program's `handler(signal)`: the address of what handles it; 0n: the default. */
const HANDLER = `
  import { sigaction } from "@/native/signal.ts";
  import { libc } from "@/src/syscalls/libc.ts";
  import { Memory } from "@/src/syscalls/memory.ts";
  const handler = (signal) => {
    const now = new Memory(sigaction.size);
    libc.sigaction(signal, null, now.address);
    return now.view.getBigUint64(sigaction.at.sa_sigaction, true);
  };`;

fact("eintr-in-bursts", "SIGPWR is JavaScriptCore's", async () => {
  const program = `${HANDLER}
    console.log(handler(30) > 1n ? "handled" : "not handled");`;
  expect(succeeded(await runSource(program))).toBe("handled\n");
});

fact(
  "listeners-install-a-handler",
  "first listener: Bun's handler; last one gone: default",
  async () => {
    const program = `${HANDLER}
    const said = [handler(12) > 1n];
    const listener = () => {};
    process.on("SIGUSR2", listener);
    said.push(handler(12) > 1n);
    process.off("SIGUSR2", listener);
    said.push(handler(12) > 1n);
    console.log(said.join(" "));`;
    expect(succeeded(await runSource(program))).toBe("false true false\n");
  },
);
