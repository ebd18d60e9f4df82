// Where nobody listens, the examples that talk to daemons end with an error that says where.

import { afterAll, expect, test } from "bun:test";
import { runScript, slower } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";

const TIMEOUT_MS = 30_000;
const NO_DISPLAY = "54321";

const dir = tempDir();
afterAll(() => dir.remove());
const nowhere = dir.file("nowhere");

const env = {
  DISPLAY: `:${NO_DISPLAY}`,
  WAYLAND_DISPLAY: nowhere,
  DBUS_SESSION_BUS_ADDRESS: `unix:path=${nowhere}`,
};

for (const name of ["dbus", "journald", "statsd", "syslog", "wayland", "x11-shm"]) {
  test(
    name,
    async () => {
      const { code, stdout, stderr } = await runScript(`examples/${name}.ts`, [nowhere], { env });
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toContain("ENOENT");
      expect(stderr).toContain(name === "x11-shm" ? `X${NO_DISPLAY}` : nowhere);
    },
    TIMEOUT_MS * slower,
  );
}
