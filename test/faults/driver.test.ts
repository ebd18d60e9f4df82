// The driver finds what it looks for: operations that are wrong in one way each.

import { expect, test } from "bun:test";
import { closeSync, readdirSync, readlinkSync } from "node:fs";
import { memfd } from "../../native/file.ts";
import { UnixError } from "../../src/index.ts";
import { close, memfdCreate, statusFlags } from "../../src/syscalls/fd.ts";
import { drive, type Operation, setUp } from "./driver.ts";

setUp();

const make = (): number => {
  const fd = memfdCreate("driver", memfd.MFD_CLOEXEC ?? 0);
  if (fd < 0) throw new UnixError("memfd_create", fd);
  return fd;
};

/** What it does, and what is said of it; the first two runs are without a fault. */
const rows: readonly (readonly [name: string, Operation<unknown>, said: RegExp])[] = [
  ["leaks", { run: () => void make(), hangsMs: 50 }, /leaked: \d+ /],
  [
    "closes twice",
    {
      run: () => {
        const fd = make();
        close(fd);
        close(fd);
      },
    },
    /closed, which is not open/,
  ],
  [
    "uses what it closed",
    {
      run: () => {
        const fd = make();
        close(fd);
        statusFlags(fd);
      },
    },
    /fcntl on descriptor \d+, which was closed/,
  ],
  [
    "tells of another call",
    {
      run: () => {
        const fd = memfdCreate("driver", memfd.MFD_CLOEXEC ?? 0);
        if (fd < 0) throw new UnixError("open", fd);
        close(fd);
      },
    },
    /memfd_create #0 EMFILE: threw open EMFILE/,
  ],
  [
    "leaks on failure",
    {
      run: () => {
        const first = make();
        close(make());
        close(first);
      },
      hangsMs: 50,
    },
    /memfd_create #1 EMFILE: leaked: /,
  ],
  ["hangs", { run: () => new Promise(() => {}), hangsMs: 50 }, /it hangs/],
  [
    "throws on close",
    {
      run: (_, keep) => {
        keep({
          close: () => {
            throw new Error("no");
          },
        });
      },
    },
    /close\(\) threw/,
  ],
  ["is not usable", { run: () => close(make()), after: () => Promise.reject(1) }, /not usable/],
];

for (const [name, operation, said] of rows) {
  test(name, async () => {
    const complaints = await drive(name, operation);
    for (const fd of readdirSync("/proc/self/fd")) if (isOurs(fd)) closeSync(Number(fd));
    expect(complaints.join("\n")).toMatch(said);
  });
}

function isOurs(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).includes("memfd:driver");
  } catch {
    return false;
  }
}
