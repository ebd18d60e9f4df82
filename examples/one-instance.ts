// One instance only: the second start says who is running, and since when.
//
//   bun examples/one-instance.ts

import { lockHolders, tryLockFile } from "bunix";

const path = process.env["LOCK"] ?? `/tmp/one-instance-${process.pid}.lock`;
const lock = tryLockFile(path, { unlinkOnRelease: true });
if (lock === null) {
  const [holder] = lockHolders(path);
  console.log(`already running: process ${holder?.pid}, ${holder?.command}`);
  console.log(`since ${holder?.since?.toISOString()}`);
} else {
  console.log(`running as process ${process.pid}`);
  const env = { ...process.env, LOCK: path };
  const second = Bun.spawn([process.execPath, import.meta.path], { env });
  console.log((await second.stdout.text()).trimEnd());
  lock.release(); // so would the kernel, however this process ended
}
