// In which container a process is, by its control group.

import { readFileSync } from "node:fs";

/** A container, as the name of a control group tells it. */
export interface Container {
  /** "docker", "podman", "containerd", "cri-o", "lxc", "nspawn", "kubernetes". */
  readonly runtime: string;
  /** Its id, 12 digits as `docker ps` has them, or its name. */
  readonly id: string;
}

const HEX = "([0-9a-f]{12})[0-9a-f]{52}";

/** What managers call the control groups of their containers; the first that matches. */
const patterns: readonly (readonly [pattern: RegExp, runtime: string])[] = [
  [new RegExp(`/docker[-/]${HEX}`), "docker"],
  [new RegExp(`/libpod-${HEX}`), "podman"],
  [new RegExp(`/cri-containerd-${HEX}`), "containerd"],
  [new RegExp(`/crio-${HEX}`), "cri-o"],
  [/\/lxc(?:\.payload)?[./]([^/]+)/, "lxc"],
  [/\/systemd-nspawn@([^/]+)\.service/, "nspawn"],
  [/\/machine-([^/]+)\.scope/, "nspawn"],
  [new RegExp(`/kubepods.*[-/]${HEX}`), "kubernetes"],
];

/** The container that a text like /proc/PID/cgroup names; null: none that is known. */
export function containerIn(cgroup: string): Container | null {
  for (const [pattern, runtime] of patterns) {
    const [, id] = pattern.exec(cgroup) ?? [];
    if (id !== undefined) return { runtime, id };
  }
  return null;
}

/** The container of a process, as this one sees its control group. @see cgroups(7) */
export function containerOf(pid: number): Container | null {
  try {
    return containerIn(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  } catch {
    return null; // gone meanwhile
  }
}
