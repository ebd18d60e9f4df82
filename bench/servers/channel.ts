// The child of a channel: takes messages one way, or answers each.
//
//   channel.ts messages|bytes|raw|raw-json|ipc take|answer

import { parentChannel, parentMessages } from "../../src/spawn.ts";

const [kind, work] = process.argv.slice(2);
const answers = work === "answer";

/** The last message of a run is empty in its kind: say that all have come. */
async function messages(codec: "json" | "bytes"): Promise<void> {
  const parent = parentMessages({ codec })!;
  if (answers) {
    await parent.serve(({ value }) => value);
    return;
  }
  const isLast = (value: unknown): boolean =>
    codec === "json" ? value === 0 : (value as Uint8Array).length === 1;
  await parent.consume(({ value }) => {
    if (isLast(value)) void parent.send(codec === "json" ? 0 : "0");
  });
}

async function raw(): Promise<void> {
  const parent = parentChannel()!;
  await parent.consume(({ data }) => {
    if (answers || data.length === 1) void parent.send(data);
  });
}

/** The same with the JSON that a channel writes and reads. */
async function rawJson(): Promise<void> {
  const parent = parentChannel()!;
  await parent.consume((message) => {
    const value = message.json();
    if (answers || value === 0) void parent.send(JSON.stringify(value));
  });
}

function ipc(): void {
  process.on("message", (value) => {
    if (answers || value === 0) process.send!(value);
  });
  process.on("disconnect", () => process.exit());
}

if (kind === "messages") await messages("json");
else if (kind === "bytes") await messages("bytes");
else if (kind === "raw") await raw();
else if (kind === "raw-json") await rawJson();
else ipc();
