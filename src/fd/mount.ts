// The mount that a file is on.

import { readFileSync } from "node:fs";
import type { deviceParts } from "../structs/device.ts";

/**
 * The device of an open file's mount, which is the kernel's own: stat(2) says another one on btrfs
 * and on overlayfs over several file systems (facts: #stat-may-say-another-device). null without
 * /proc.
 */
export function mountDevice(fd: number): ReturnType<typeof deviceParts> | null {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
    const mount = /^mnt_id:\s+(\d+)$/m.exec(info)?.[1];
    if (mount === undefined) return null;
    const mounts = readFileSync("/proc/self/mountinfo", "utf8");
    const device = new RegExp(`^${mount} \\d+ (\\d+):(\\d+) `, "m").exec(mounts);
    return device && { major: Number(device[1]), minor: Number(device[2]) };
  } catch {
    return null; // no /proc
  }
}
