// What a file is, by what stat(2) says.

import type { Stats } from "node:fs";

export type FileKind =
  | "fifo"
  | "file"
  | "directory"
  | "socket"
  | "symlink"
  | "character-device"
  | "block-device"
  | "other";

export function fileKind(stats: Stats): FileKind {
  if (stats.isFIFO()) return "fifo";
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  if (stats.isSocket()) return "socket";
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isCharacterDevice()) return "character-device";
  return stats.isBlockDevice() ? "block-device" : "other";
}

const words: Readonly<Record<FileKind, string>> = {
  fifo: "a FIFO",
  file: "a regular file",
  directory: "a directory",
  socket: "a socket",
  symlink: "a symbolic link",
  "character-device": "a device",
  "block-device": "a device",
  other: "something else",
};

/** The same in words, for messages. */
export const fileKindInWords = (stats: Stats): string => words[fileKind(stats)];
