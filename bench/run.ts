// npm run bench: every *.bench.ts in turn. In-process ones run pinned to the first processor.

import { Glob } from "bun";
import { folder, pinned } from "./harness.ts";

console.log(
  `Bun ${Bun.version}, ${process.platform} ${process.arch}, ${new Date().toISOString()}\n`,
);
for (const name of [...new Glob("*.bench.ts").scanSync(folder)].sort()) {
  const wholeProcesses = name.startsWith("echo");
  const command = [process.execPath, `${folder}/${name}`];
  const run = Bun.spawn(wholeProcesses ? command : pinned(0, command), {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((await run.exited) !== 0) process.exitCode = 1;
  console.log();
}
