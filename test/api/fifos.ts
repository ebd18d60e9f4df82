// A FIFO in a directory of its own, with a reader of ours.

import { expect } from "bun:test";
import { makeFifo } from "../../src/fifo/file.ts";
import { openFifo } from "../../src/fifo/open.ts";
import type { FifoReader, FifoReaderOptions } from "../../src/fifo/reader.ts";
import type { FifoWriter, FifoWriterOptions } from "../../src/fifo/writer.ts";
import { tempDir } from "../support/tmp.ts";
import { turns } from "./tools.ts";

/** Disposing of it closes all. */
export interface Pipe extends Disposable {
  readonly path: string;
  readonly reader: FifoReader;
  writer(options?: FifoWriterOptions): FifoWriter;
}

/** Made, and opened to be read. */
export function fifo(options?: FifoReaderOptions): Pipe {
  const dir = tempDir();
  const path = dir.file("f");
  makeFifo(path);
  const reader = openFifo(path, "read", options);
  const writers: FifoWriter[] = [];
  return {
    path,
    reader,
    writer(how) {
      const writer = openFifo(path, "write", how);
      writers.push(writer);
      return writer;
    },
    [Symbol.dispose]() {
      reader.close();
      for (const writer of writers) writer.close();
      dir.remove();
    },
  };
}

/** Bytes as text; "null" and "undefined" for those. */
export const text = (bytes: Uint8Array | null | undefined): string =>
  bytes ? Buffer.from(bytes).toString() : String(bytes);

/** Fails if `promise` settles by itself. */
export async function stillWaits(promise: Promise<unknown>): Promise<void> {
  let over = false;
  const end = (): void => {
    over = true;
  };
  promise.then(end, end);
  await turns();
  expect(over).toBe(false);
}
