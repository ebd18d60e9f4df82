// FIFOs: pipes with a name in the file system. The shell's end is `echo text > path`.

import { toJson } from "../base/printable.ts";
import { fifoPath } from "./file.ts";
import { FifoReader, type FifoReaderOptions } from "./reader.ts";
import { FifoWriter, type FifoWriterOptions } from "./writer.ts";

/**
 * Open one end of a FIFO. Never waits for the other: a reader may be first, and a writer waits in
 * `write` only. A path that is no FIFO is refused without being opened.
 *
 * @throws TypeError before any call; UnixError ENOENT, EACCES, EMFILE
 * @throws NotAFifoError for a file, a directory, a device, …
 * @see fifo(7)
 */
export function openFifo(
  path: string | Uint8Array,
  access: "read",
  options?: FifoReaderOptions,
): FifoReader;
/** The same for the writing end, which needs no reader yet. */
export function openFifo(
  path: string | Uint8Array,
  access: "write",
  options?: FifoWriterOptions,
): FifoWriter;
/** @internal Both, as one. */
export function openFifo(
  path: string | Uint8Array,
  access: "read" | "write",
  options: FifoReaderOptions & FifoWriterOptions = {},
): FifoReader | FifoWriter {
  const where = fifoPath(path);
  if (access === "read") return FifoReader.open(where, options);
  if (access === "write") return FifoWriter.open(where, options);
  throw new TypeError(`a FIFO is opened to "read" or to "write", not ${toJson(access)}`);
}
