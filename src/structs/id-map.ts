// /proc/PID/uid_map and gid_map (user_namespaces(7)): text → how much it maps.

import { NO_ID } from "../../native/file.ts";

const LINE = /^\s*\d+\s+\d+\s+(\d+)\s*$/;

/**
 * What a namespace knows: "all" ids there are, only "some" of them, or "none" yet (the map has not
 * been written). null: the text is no map.
 */
export function decodeIdMap(text: string): "all" | "some" | "none" | null {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  let count = 0;
  for (const line of lines) {
    const found = LINE.exec(line);
    if (found === null) return null;
    count += Number(found[1]);
  }
  if (count === 0) return "none";
  return count >= NO_ID ? "all" : "some";
}
