// FIFOs: pipes with a name in the file system. The shell's end is `echo text > path`.

export type { FifoWaitOptions } from "./fifo/end.ts";
export { type MakeFifoOptions, makeFifo } from "./fifo/file.ts";
export { type NotAFifo, NotAFifoError } from "./fifo/not-a-fifo.ts";
export { openFifo } from "./fifo/open.ts";
export { FifoReader, type FifoReaderOptions, type LinesOptions } from "./fifo/reader.ts";
export {
  type FifoWriteOptions,
  FifoWriter,
  type FifoWriterOptions,
  pipeBuf,
} from "./fifo/writer.ts";
