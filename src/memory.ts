// Memory that processes share: made by one, handed over as a descriptor, mapped by the other.

export {
  type MapMemoryOptions,
  type Seal,
  SharedMemory,
  type SharedMemoryOptions,
} from "./memory/shared-memory.ts";
