// A container that gets a single socket as a mount: nobody can put another in its place.

import { expect } from "bun:test";
import { root, run, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { setMode, tempDir } from "../support/tmp.ts";
import { leaveStale } from "./crew.ts";

peerTest("stale or live, the error says what to mount", ["root", "unshare", "mount"], async () => {
  using dir = tempDir();
  const [outside, inside] = [dir.file("outside"), dir.file("inside")];
  setMode(dir.path, 0o700);
  leaveStale(outside);
  await Bun.write(inside, "");
  const source = `
    import { listen } from "${root}/src/index.ts";
    for (const options of [{}, { takeOver: true }]) {
      try { listen(process.env.AT, options).close(); }
      catch (error) { console.log(error.code, error.syscall, error.message); }
    }
    try { listen(process.env.AT + "-live", { replace: true }).close(); } catch (error) {
      console.log(error.code, error.syscall, error.message);
    }`;
  const mounts = 'mount --bind "$1" "$2" && : > "$2-live" && mount --bind "$3" "$2-live"';
  const line = `${mounts} && exec "$4" -e "$5"`;
  const live = Bun.listen({ unix: dir.file("live"), socket: { data() {} } });
  const args = [outside, inside, dir.file("live"), process.execPath, source];
  const outcome = await run(["unshare", "-m", "sh", "-c", line, "sh", ...args], {
    env: { AT: inside },
  });
  live.stop(true);
  const lines = succeeded(outcome).trim().split("\n");
  expect(lines.map((one) => one.split(" ").slice(0, 2).join(" "))).toEqual([
    "EBUSY unlink",
    "EBUSY unlink",
    "EBUSY rename",
  ]);
  for (const one of lines) expect(one).toContain("mount its directory instead");
});
