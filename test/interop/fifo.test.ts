// FIFOs with the shell, Python and C at the other end.

import { expect, test } from "bun:test";
import { makeFifo } from "../../src/fifo/file.ts";
import { openFifo } from "../../src/fifo/open.ts";
import { pipeBuf } from "../../src/fifo/writer.ts";
import { run, start, succeeded } from "../support/child.ts";
import { compileCSource, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

test("1,000 times echo > fifo from a shell: every line, in order", async () => {
  using dir = tempDir();
  const path = dir.file("f");
  makeFifo(path, { mode: 0o622 });
  using reader = openFifo(path, "read");
  const script = 'for i in $(seq 1000); do echo "line $i" > "$1"; done';
  const shell = run(["sh", "-c", script, "sh", path]);
  let expected = 1;
  for await (const line of reader.lines()) {
    expect(line).toBe(`line ${expected}`);
    if (expected++ === 1000) break;
  }
  succeeded(await shell);
  expect(reader.tryRead()).toBeUndefined();
});

test("mkfifo from the shell, cat as the reader, which sees the end", async () => {
  using dir = tempDir();
  const path = dir.file("f");
  succeeded(await run(["mkfifo", path]));
  await using cat = start(["cat", path]);
  const writer = openFifo(path, "write");
  for (let i = 0; i < 1000; i++) await writer.write(`${i}\n`, { atomic: true });
  writer.close();
  const outcome = await cat.exited;
  expect(succeeded(outcome)).toBe(Array.from({ length: 1000 }, (_, i) => `${i}\n`).join(""));
});

test("our reader ends with the shell's writer", async () => {
  using dir = tempDir();
  const path = dir.file("f");
  makeFifo(path);
  using reader = openFifo(path, "read", { endWhenWritersLeave: true });
  const shell = run([
    "sh",
    "-c",
    'head -c 1000000 /dev/zero > "$1"; printf x > "$2"',
    "sh",
    path,
    dir.file("done"),
  ]);
  let bytes = 0;
  for await (const chunk of reader) bytes += chunk.length;
  expect(bytes).toBe(1_000_000);
  succeeded(await shell);
});

peerTest("Python at both ends", ["python3"], async () => {
  using dir = tempDir();
  const [there, back] = [dir.file("there"), dir.file("back")];
  makeFifo(there);
  makeFifo(back);
  const program = `
import sys
with open(sys.argv[1]) as f, open(sys.argv[2], "w") as b:
    for line in f:
        b.write(line.upper())
        b.flush()
`;
  await using python = start(["python3", "-c", program, there, back]);
  using writer = openFifo(there, "write");
  using reader = openFifo(back, "read", { endWhenWritersLeave: true });
  const lines = reader.lines();
  for (let i = 0; i < 200; i++) {
    await writer.write(`héllo ${i}\n`);
    expect((await lines.next()).value).toBe(`HÉLLO ${i}`);
  }
  writer.close();
  expect((await lines.next()).done).toBe(true);
  succeeded(await python.exited);
});

peerTest("four C programs and we write pieces of pipeBuf: none is torn", ["cc"], async () => {
  const program = compileCSource(
    "fifo-writer",
    `#include <fcntl.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char piece[4096];
  int fd = open(argv[1], O_WRONLY);
  memset(piece, argv[2][0], sizeof piece);
  for (int i = 0; i < 300; i++)
    if (write(fd, piece, sizeof piece) != sizeof piece) return 1;
  return 0;
}
`,
  );
  using dir = tempDir();
  const path = dir.file("f");
  makeFifo(path);
  using reader = openFifo(path, "read", { endWhenWritersLeave: true });
  const writer = openFifo(path, "write");
  const programs = ["a", "b", "c", "d"].map((letter) => run([program, path, letter]));
  const ours = (async () => {
    for (let i = 0; i < 300; i++) await writer.write(Buffer.alloc(pipeBuf, "e"), { atomic: true });
    await Promise.all(programs);
    writer.close();
  })();
  const parts: Uint8Array[] = [];
  for await (const chunk of reader) parts.push(chunk);
  await ours;
  for (const one of programs) succeeded(await one);
  const all = Buffer.concat(parts);
  const counts = new Map<string, number>();
  for (let at = 0; at < all.length; at += pipeBuf) {
    const piece = all.subarray(at, at + pipeBuf);
    const letter = String.fromCharCode(piece[0]!);
    expect(piece.equals(Buffer.alloc(pipeBuf, letter))).toBe(true);
    counts.set(letter, (counts.get(letter) ?? 0) + 1);
  }
  expect([...counts].sort()).toEqual([..."abcde"].map((letter) => [letter, 300]));
});

peerTest("idle after the last writer has left, it uses no processor time", [], async () => {
  using dir = tempDir();
  const path = dir.file("f");
  makeFifo(path);
  const program = `
    import { openFifo } from "bunix/fifo";
    const reader = openFifo(process.argv[1] ?? "", "read");
    for await (const line of reader.lines()) {
      const { user, system } = process.cpuUsage();
      console.log(line, user + system);
    }`;
  await using child = start([process.execPath, "-e", program, path]);
  const tell = async (): Promise<number> => {
    succeeded(await run(["sh", "-c", 'echo now > "$1"', "sh", path]));
    return Number((await child.lineWith("now")).split(" ")[1]);
  };
  await tell();
  const before = await tell();
  const began = performance.now();
  succeeded(await run(["sleep", "1"]));
  const used = ((await tell()) - before) / 1000;
  const passed = performance.now() - began;
  console.log(`note: ${used.toFixed(1)} ms of processor time in ${passed.toFixed(0)} ms`);
  expect(used).toBeLessThan(passed / 10);
});
