// bunix graph: a tree, three languages of pictures, JSON; names that would break out of them.

import { describe, expect, test } from "bun:test";
import { asDot, asMermaid } from "../../src/cli/graph/languages.ts";
import { type Drawing, draw } from "../../src/cli/graph/model.ts";
import { asSvg } from "../../src/cli/graph/svg.ts";
import { asText } from "../../src/cli/graph/text.ts";
import { connect, listen, socketPair } from "../../src/index.ts";
import type { SocketGraph } from "../../src/inspect/graph.ts";
import { leaveStale } from "../exclusive/crew.ts";
import { run, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noSockDiag, testUnless } from "../support/unless.ts";
import { bunix, ownCommand } from "./tools.ts";

const NASTY = `<b a='"'>&]|{}\\"\n\u202e--#;`;

const path = (text: string) => ({ kind: "path", path: text }) as const;
const user = { uid: 0, user: "root", container: { runtime: "docker", id: "0123456789ab" } };

const graph: SocketGraph = {
  processes: [
    { pid: 1, command: "server", ...user },
    { pid: 2, command: "worker", ...user },
    { pid: 3, command: NASTY, uid: 1000, user: null, container: null },
    { pid: 4, command: "alone", uid: null, user: null, container: null },
  ],
  listeners: [
    { inode: 10, type: "stream", address: path("/s"), waiting: 1, backlog: 8, pids: [1, 2] },
    {
      inode: 11,
      type: "datagram",
      address: path(`/${NASTY}`),
      waiting: 9,
      backlog: null,
      pids: [],
    },
  ],
  connections: [20, 30]
    .map((inode) => ({
      ...({ type: "stream", kind: "client", address: path("/s") } as const),
      from: { inode, pids: [3], queue: 5 },
      to: { inode: inode + 1, pids: [2], queue: 0 },
    }))
    .concat([
      {
        ...{ type: "stream", kind: "client", address: path("/s") },
        from: { inode: 40, pids: [], queue: 0 },
        to: { inode: 41, pids: [1, 2], queue: 0 },
      },
    ])
    .concat([
      {
        type: "stream",
        kind: "pair",
        address: null,
        from: { inode: 50, pids: [1], queue: 0 },
        to: { inode: 51, pids: [2], queue: 3 },
      } as never,
      {
        type: "seqpacket",
        kind: "pair",
        address: null,
        from: { inode: 60, pids: [4], queue: 0 },
        to: { inode: 61, pids: [4], queue: 0 },
      } as never,
    ]),
  stale: [`/tmp/${NASTY}`],
};

test("as text: servers first, connections of the same two are one line", () => {
  const text = asText(draw(graph));
  expect(text).toContain(`server[1]  root, docker 0123456789ab
├─ /s  stream, 1 of 8 wait
└─ ⇄ worker[2]  stream pair, 3 B wait there`);
  expect(text).toMatch(/worker\[2\].*\n├─ \/s .*\n│ {3}├─ ← .*stream ×2, 10 B wait there\n/);
  expect(text).toContain("│   └─ ← not to be seen  stream\n");
  expect(text).toContain("alone[4]  unknown user\n└─ ⟲ 1 with itself");
  expect(text).toContain("uid 1000");
  expect(text).not.toContain("\u202e");
  expect(text.split("\n").at(-1)).toStartWith("└─ /tmp/<b");
});

test("a text selects processes and addresses, and what they are tied to", () => {
  const titles = (text: string): string[] => draw(graph, text).boxes.map(({ title }) => title);
  expect(titles("alone")).toEqual(["alone[4]"]);
  expect(titles("/s")).toHaveLength(4);
  expect(titles("nothing of it")).toEqual([]);
  expect(asText(draw(graph, "nothing of it"))).toBe("no Unix sockets");
});

const drawing: Drawing = draw(graph);

peerTest("as SVG: well-formed, whatever names there are", ["python3"], async () => {
  const code = `import sys, xml.dom.minidom as m
d = m.parse(sys.stdin.buffer)
print(len(d.getElementsByTagName("rect")), len(d.getElementsByTagName("path")))
print("\\n".join(t.firstChild.data for t in d.getElementsByTagName("text")))`;
  const said = succeeded(await run(["python3", "-c", code], { input: asSvg(drawing) }));
  expect(said).toStartWith("5 4\n"); // a box each, and "not to be seen"; 3 lines and an arrow
  for (const text of [
    "server[1]",
    "◉ /s (stream, 1 of 8 wait)",
    "stream ×2, 10 B wait at its start",
  ]) {
    expect(said).toContain(text);
  }
  expect(said).toContain("<b a='\"'>&]|{}");
});

test("boxes of the picture do not overlap, and lie within it", () => {
  const svg = asSvg(drawing);
  const number = (text: string, name: string): number =>
    Number(new RegExp(` ${name}="([\\d.]+)"`).exec(text)![1]);
  const boxes = Array.from(svg.matchAll(/<rect [^>]*>/g), ([text]) => ({
    ...{ x: number(text, "x"), y: number(text, "y") },
    ...{ w: number(text, "width"), h: number(text, "height") },
  }));
  const [width, height] = [number(svg, "width"), number(svg, "height")];
  for (const [i, a] of boxes.entries()) {
    expect([a.x >= 0, a.y >= 0, a.x + a.w <= width, a.y + a.h <= height]).not.toContain(false);
    for (const b of boxes.slice(i + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      expect(apart).toBe(true);
    }
  }
});

test("as dot and as Mermaid: texts cannot end where they stand", () => {
  const dot = asDot(drawing);
  for (const line of dot.split("\n").filter((one) => one.includes("label="))) {
    expect(line).toMatch(/^ {2}[\w ->]+ \[label="(?:[^"\\]|\\.)*"(?:, [\w=]+)?\];$/);
  }
  expect(dot).toContain('p3 -> p2 [label="stream ×2 /s, 10 B wait at its start"];');
  const mermaid = asMermaid(drawing);
  expect(mermaid).toContain('p3 -->|"stream ×2 /s, 10 B wait at its start"| p2');
  expect(mermaid).not.toMatch(/[<>&{}']b a/);
  for (const line of mermaid.split("\n").filter((one) => one.includes('"'))) {
    expect(line.match(/"/g)).toHaveLength(2);
  }
});

describe("the command", () => {
  testUnless(noSockDiag(), "shows this process, in each form", async () => {
    using dir = tempDir();
    using server = listen(dir.file("s"));
    using client = await connect(dir.file("s"));
    using accepted = await server.accept();
    const [a, b] = socketPair("seqpacket");
    leaveStale(dir.file("stale"));
    const { stdout, stderr, code } = await bunix(["graph", dir.path]);
    expect([stderr, code]).toEqual(["", 0]);
    expect(stdout).toContain(`${ownCommand}[${process.pid}]`);
    expect(stdout).toContain(`├─ ${dir.file("s")}  stream, 0 of `);
    expect(stdout).toContain(`└─ ${dir.file("stale")}\n`);
    expect((await bunix(["graph", dir.path, "--no-stale"])).stdout).not.toContain("stale");
    const found = JSON.parse((await bunix(["graph", "--json", "--no-stale"])).stdout);
    expect(found.listeners.map((one: { address: string }) => one.address)).toContain(dir.file("s"));
    expect((await bunix(["graph", "--dot", "--no-stale", dir.path])).stdout).toStartWith(
      "digraph sockets {",
    );
    expect((await bunix(["graph", "--mermaid", "--no-stale", dir.path])).stdout).toStartWith(
      "flowchart LR",
    );
    expect((await bunix(["graph", "--svg", "--no-stale", dir.path])).stdout).toContain(
      `[${process.pid}]</text>`,
    );
    for (const one of [client, accepted, a, b]) one.close();
  });

  test("one form at a time", async () => {
    expect(await bunix(["graph", "--dot", "--svg"])).toMatchObject({ code: 64, stdout: "" });
    expect(await bunix(["graph", "--dot", "--json"])).toMatchObject({ code: 64, stdout: "" });
  });
});

testUnless(noSockDiag(), "bunix ls --watch prints what comes and goes", async () => {
  using dir = tempDir();
  for (const [json, came, went] of [
    [[], /^\+ stream {2}listening /, /^- stream {2}listening /],
    [["--json"], /"event":"here"/, /"event":"gone"/],
  ] as const) {
    using first = listen(dir.file("first"));
    const command = [process.execPath, "src/cli/main.ts", "ls", dir.path, "--watch", ...json];
    await using child = start(command);
    expect(await child.lineWith(dir.file("first"))).toMatch(came);
    const second = listen(dir.file("second"));
    expect(await child.lineWith(dir.file("second"))).toMatch(came);
    second.close();
    expect(await child.lineWith(dir.file("second"))).toMatch(went);
    child.kill("SIGTERM");
    expect(await child.exited).toMatchObject({ code: 0, stderr: "" });
    first.close();
  }
});
