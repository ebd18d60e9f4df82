// The same conversation with peers in Python, C and Go: every kind of socket, both address forms,
// either side listening. The peers say what they saw, and send the descriptors back.

import { describe, expect } from "bun:test";
import { connect, listen, type Message, openDatagram, type SocketType } from "../../src/index.ts";
import { type AnySocket, freshAddress, kinds } from "../api/pairs.ts";
import { closeAll, leakFree, marked, markedMany, markOf, must } from "../api/tools.ts";
import { type Child, start } from "../support/child.ts";
import { buildGo, compileC, peerTest } from "../support/peers.ts";

interface Language {
  readonly name: string;
  readonly needs: string;
  readonly command: () => string[];
}

const languages: readonly Language[] = [
  { name: "python3", needs: "python3", command: () => ["python3", "test/fixtures/peer.py"] },
  { name: "C", needs: "cc", command: () => [compileC("test/fixtures/peer.c")] },
  { name: "Go", needs: "go", command: () => [buildGo("test/fixtures/peer-go")] },
];
const routes = ["path", "abstract"] as const;
const self = `${process.pid},${process.getuid?.()},${process.getgid?.()}`;

interface Talk {
  readonly child: Child;
  readonly socket: AnySocket;
  /** Send; the peer's answer. */
  ask(text: string, fds?: readonly number[]): Promise<Message>;
}

/** A conversation with a peer; it must end with exit code 0. */
async function talk(
  { command }: Language,
  {
    mode,
    kind,
    route,
  }: { mode: "listen" | "connect"; kind: SocketType; route: "path" | "abstract" },
  body: (talk: Talk) => Promise<void>,
): Promise<void> {
  const [theirs, ours] = [freshAddress(route), freshAddress(route)];
  const options = { passCredentials: true };
  const words = mode === "listen" ? [theirs] : kind === "datagram" ? [ours, theirs] : [ours];
  const begin = (): Child => start([...command(), mode, kind, ...words]);
  const open = async (): Promise<[Child, AnySocket]> => {
    if (mode === "listen") {
      const child = begin();
      await child.lineWith("ready");
      if (kind === "datagram") return [child, openDatagram(ours, { ...options, connect: theirs })];
      return [child, await connect(theirs, { ...options, type: kind })];
    }
    if (kind === "datagram") {
      const socket = openDatagram(ours, options);
      return [begin(), socket];
    }
    using server = listen(ours, { ...options, type: kind });
    const child = begin();
    return [child, await server.accept()];
  };
  const [child, socket] = await open();
  const gone = child.exited.then(({ code, stderr }) => {
    throw new Error(`the peer ended with ${code}: ${stderr}`);
  });
  gone.catch(() => {});
  const hear = async (): Promise<Message> => must(await Promise.race([socket.receive(), gone]));
  const ask = async (text: string, fds: readonly number[] = []): Promise<Message> => {
    await socket.send(text, { fds });
    return hear();
  };
  try {
    if (mode === "connect") await greet(await hear(), { socket, child, theirs });
    await body({ child, socket, ask });
    await socket.send("quit");
  } finally {
    socket.close();
  }
  const { code, stderr } = await child.exited;
  expect([code, stderr]).toEqual([0, ""]);
}

/** The peer's first message. */
async function greet(
  message: Message,
  { socket, child, theirs }: { socket: AnySocket; child: Child; theirs: string },
): Promise<void> {
  using hello = message;
  expect([hello.text(), hello.fds.map(markOf)]).toEqual(["hello", ["made-0", "made-1"]]);
  expect(hello.credentials?.pid).toBe(child.pid);
  if (socket.type === "datagram") socket.connect(theirs);
}

for (const language of languages) {
  describe(language.name, () => {
    for (const kind of kinds) {
      for (const route of routes) {
        for (const mode of ["listen", "connect"] as const) {
          const name = `${kind} over ${route}, the peer ${mode}s`;
          peerTest(name, [language.needs], () =>
            leakFree(() =>
              talk(language, { mode, kind, route }, async ({ child, ask }) => {
                using plain = await ask("plain € text");
                expect(plain.text()).toBe(`plain € text|0||${self}`);
                expect(plain.credentials?.pid).toBe(child.pid);
                const fds = markedMany(3);
                using three = await ask(
                  "three",
                  fds.map(({ fd }) => fd),
                );
                expect(three.text()).toBe(`three|3|fd 0,fd 1,fd 2|${self}`);
                expect(three.fds.map(markOf)).toEqual(["fd 0", "fd 1", "fd 2"]);
                closeAll(fds);
              }),
            ),
          );
        }
      }

      peerTest(`${kind}: 253 descriptors there and back`, [language.needs], () =>
        leakFree(() =>
          talk(language, { mode: "listen", kind, route: "path" }, async ({ ask }) => {
            const fds = markedMany(253);
            const marks = fds.map((_, i) => `fd ${i}`);
            using message = await ask(
              "all",
              fds.map(({ fd }) => fd),
            );
            expect(message.text()).toBe(`all|253|${marks.join()}|${self}`);
            expect(message.fds.map(markOf)).toEqual(marks);
            closeAll(fds);
          }),
        ),
      );
    }
  });
}

describe("what only C sends", () => {
  const c = languages[1]!;
  for (const kind of kinds) {
    for (const how of ["split", "creds-first", "creds-last"]) {
      peerTest(`${kind}: ${how}`, [c.needs], () =>
        leakFree(() =>
          talk(c, { mode: "listen", kind, route: "abstract" }, async ({ child, ask }) => {
            for (const count of [2, 5, 253]) {
              using fd = marked("m");
              using message = await ask(how, Array(count).fill(fd.fd));
              expect(message.text()).toBe(`${how}|${count}|${Array(count).fill("m")}|${self}`);
              expect(message.fds.map(markOf)).toEqual(Array(count).fill("m"));
              expect(message.credentials).toEqual({
                pid: child.pid,
                uid: process.getuid?.() ?? -1,
                gid: process.getgid?.() ?? -1,
              });
              expect(message.fdsTruncated).toBe(false);
            }
          }),
        ),
      );
    }
  }
});
