// A FIFO: any program that can write a file can write here, and no writer is missed.
//
//   bun examples/fifo.ts

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeFifo, openFifo } from "bunix";

const directory = mkdtempSync(join(tmpdir(), "bunix-"));
const path = join(directory, "fifo");
makeFifo(path, { mode: 0o600 }); // exactly, whatever the umask

using reader = openFifo(path, "read"); // waits for nobody
const shell = Bun.spawn(["sh", "-c", `echo one > ${path}; printf 'two\nthree\n' > ${path}`]);

let count = 0;
for await (const line of reader.lines()) {
  console.log(line); // one, two, three: writers come and go, the reader stays
  if (++count === 3) break;
}
process.exitCode = await shell.exited;

using writer = openFifo(path, "write");
await writer.write("and from here\n"); // would wait if there were no reader
console.log(new TextDecoder().decode((await reader.read()) ?? undefined).trimEnd());
rmSync(directory, { recursive: true });
