// A server that knows which process and which user has connected, because the kernel says so.
//
//   bun examples/who-is-calling.ts

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, listen } from "bunix";

const directory = mkdtempSync(join(tmpdir(), "bunix-"));
const address = join(directory, "door");

using listener = listen(address, { mode: 0o600, allow: ({ uid }) => uid === process.getuid?.() });

using client = await connect(address);
using socket = await listener.accept();

const { pid, uid, gid } = socket.peerCredentials(); // as they were at connect
console.log(`pid ${pid}, uid ${uid}, gid ${gid}`);

using peer = socket.peer(); // more, read from /proc under the peer's pidfd
console.log(`${peer.executable} (${peer.source}), groups: ${peer.groups?.join(" ") || "none"}`);

await socket.send("hello");
console.log("the client got:", (await client.receive())?.text());
rmSync(directory, { recursive: true });
