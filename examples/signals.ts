// Signals that say who sent them, and carry a value.
//
//   bun examples/signals.ts

import { sendSignal, watchSignals } from "bunix";

if (process.argv[2] === "child") {
  for (const value of [1, 2, 3]) sendSignal(process.ppid, "SIGRTMIN+1", { value });
  sendSignal(process.ppid, "SIGUSR1");
} else {
  using watcher = watchSignals(["SIGUSR1", "SIGRTMIN+1"]); // the default action is off meanwhile
  const child = Bun.spawn([process.execPath, import.meta.path, "child"]);
  const values: number[] = [];
  let plain: string | null = null;
  while (values.length < 3 || plain === null) {
    const { signal, origin, pid, value } = await watcher.receive();
    if (pid !== child.pid) throw new Error(`who is ${pid}?`);
    if (value === undefined) plain = `${signal} by ${origin}`;
    else values.push(value); // real-time signals queue up: none is merged away
  }
  console.log(`from ${child.pid}: ${values.sort().join(", ")}`);
  console.log(plain);
  process.exitCode = await child.exited;
}
