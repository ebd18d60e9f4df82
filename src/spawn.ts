// Bun.spawn with descriptors for the child, and a channel to it.

export { parentChannel } from "./spawn/channel.ts";
export type { SpawnFds } from "./spawn/descriptors.ts";
export { type BunSocket, detachBunSocket } from "./spawn/detach.ts";
export { parentMessages } from "./spawn/messages.ts";
export {
  type MessagesOptions,
  type SpawnChannel,
  type SpawnExtras,
  type SpawnedProcess,
  type SpawnOptions,
  type SpawnSyncOptions,
  spawn,
  spawnSync,
} from "./spawn/spawn.ts";
