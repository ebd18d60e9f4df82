// The journal's native protocol: fields of any kind, and entries too large for a datagram as a
// sealed memfd. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
//
//   bun examples/journald.ts [socket]

import { openDatagram, SharedMemory, UnixError } from "bunix";

type Fields = Record<string, string | Uint8Array>;

/** NAME=text, or where that has a newline or is no text: NAME, the length in 64 bits, the bytes. */
function encode(fields: Fields): Buffer {
  const parts = Object.entries(fields).map(([name, value]) => {
    const bytes = Buffer.from(value);
    const plain = typeof value === "string" && !value.includes("\n");
    const length = Buffer.alloc(plain ? 0 : 8);
    if (!plain) length.writeBigUInt64LE(BigInt(bytes.length));
    return [Buffer.from(plain ? `${name}=` : `${name}\n`), length, bytes, Buffer.from("\n")];
  });
  return Buffer.concat(parts.flat());
}

async function log(fields: Fields): Promise<string> {
  const entry = encode(fields);
  try {
    await socket.send(entry, { to });
    return `${entry.length} bytes in a datagram`;
  } catch (error) {
    if (!(error instanceof UnixError) || error.code !== "EMSGSIZE") throw error;
  }
  using memory = SharedMemory.create(entry, { name: "journal-entry", seal: true });
  await socket.send("", { to, fds: [memory] });
  return `${entry.length} bytes in a memfd, sealed: ${memory.seals().join(" ")}`;
}

const to = process.argv[2] ?? "/run/systemd/journal/socket";
using socket = openDatagram();
const entries: Fields[] = [
  { MESSAGE: "started", ANSWER: "42" },
  { MESSAGE: "two\nlines", RAW: Buffer.from([0, 10, 255]) },
  { MESSAGE: "large", DUMP: "0123456789".repeat(50_000) },
];
for (const entry of entries) {
  console.log(await log({ ...entry, PRIORITY: "6", SYSLOG_IDENTIFIER: "bunix" }));
}
