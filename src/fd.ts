// Descriptors: who owns a number, and what it stands for.

export type { FdDescription } from "./fd/description.ts";
export { Fd, type FdLike } from "./fd/fd.ts";
export { type Pipe, type PipeOptions, pipe } from "./fd/pipe.ts";
