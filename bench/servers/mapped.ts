// mapped.ts: maps every memory that its parent hands over, looks at its ends, and says so.

import { parentChannel, SharedMemory } from "../../src/index.ts";

const channel = parentChannel();
if (channel === null) throw new Error("memory.bench.ts starts this");

for await (const message of channel) {
  const [fd] = message.takeFds();
  if (fd === undefined) break;
  const memory = SharedMemory.map(fd);
  fd.close();
  channel.sendSync(`${memory.size} ${memory.bytes[0]} ${memory.bytes.at(-1)}`);
  memory.close();
}
