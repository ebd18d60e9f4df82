// A Varlink service: notes, read one by one or through a descriptor, written by calls or from one.
//
//   bun examples/varlink/server.ts ADDRESS

import { readFileSync } from "node:fs";
import { type Fd, listen, SharedMemory } from "bunix";
import { VarlinkError } from "./messages.ts";
import { type Interface, Service } from "./service.ts";

const MAX_NOTES = 1000;
const notes: string[] = [];

function note(line: unknown): void {
  if (typeof line !== "string") {
    throw new VarlinkError("org.varlink.service.InvalidParameter", { parameter: "line" });
  }
  if (notes.length === MAX_NOTES) throw new VarlinkError("org.example.Notes.Full");
  notes.push(line);
}

const Notes: Interface = {
  description: `interface org.example.Notes
# A line more. Oneway, if nobody wants to know whether there was room.
method Note(line: string) -> ()
# All of them, a reply each.
method List() -> (line: string, number: int)
# The lines of a file: the index of its descriptor in the message.
method Import(file: int) -> (lines: int)
# All of them, in a file.
method Export() -> (file: int)
error Full ()
`,
  methods: {
    Note: {
      run({ line }) {
        note(line);
        return {};
      },
    },
    List: {
      async *run() {
        const last = notes.length - 1;
        for (let i = 0; i < last; i++) yield { line: notes[i], number: i };
        return last < 0 ? {} : { line: notes[last], number: last };
      },
    },
    Import: {
      fds: ["file"],
      run({ file }) {
        const lines = readFileSync(`/proc/self/fd/${(file as Fd).fd}`, "utf8")
          .trimEnd()
          .split("\n");
        for (const line of lines) note(line);
        return { lines: lines.length };
      },
    },
    Export: { run: () => ({ file: SharedMemory.create(notes.join("\n")) }) },
  },
};

const info = { vendor: "bunix", product: "notes", version: "1", url: "https://varlink.org" };
const address = process.argv[2] ?? "";
await using listener = listen(address);
console.log("ready");
await new Service(info, { "org.example.Notes": Notes }).listen(listener);
