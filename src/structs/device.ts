// Device numbers: st_dev ↔ major and minor (makedev(3)), and the kernel's own form.

import { KERNEL_MINOR_BITS } from "../../native/netlink.ts";

const MINOR_MASK = (1 << KERNEL_MINOR_BITS) - 1;

/** `st_dev` of a major and a minor number: the minor's low byte stands apart. */
export function deviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** The major and minor number of an `st_dev`. */
export function deviceParts(device: number): { major: number; minor: number } {
  const major = (device >>> 8) & 0xfff;
  return { major, minor: (device & 0xff) | ((device >>> 12) & ~0xff) };
}

/** The kernel's own device number, which sock_diag tells, as `st_dev` has it. */
export function statDevice(kernel: number): number {
  return deviceNumber(kernel >>> KERNEL_MINOR_BITS, kernel & MINOR_MASK);
}
