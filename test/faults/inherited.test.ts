// What a process is given at its start: each program tries every fault in turn, and then none. A
// try that fails leaves everything as it was, so that the last one gets it all.

import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { socketPair } from "../../src/index.ts";
import { program, runActivated } from "../api/managers.ts";
import { leakFree, marked } from "../api/tools.ts";
import { run, succeeded } from "../support/child.ts";

/** Tries `TAKE`, a function's body, with each call of `CALLS` failing. */
const drive = (take: string, calls: readonly string[]): string => `
import { inheritedFds, parentChannel, UnixError } from "@/src/index.ts";
import { isCloseOnExec, isOpen } from "@/test/api/tools.ts";
import { faultsOf } from "@/test/faults/calls.ts";
import { Injector } from "@/test/faults/injector.ts";
const take = () => { ${take} };
const wrong = [];
let tried = 0;
{
  using injector = new Injector();
  for (const name of ${JSON.stringify(calls)}) {
    const [call, index] = name.split("#");
    for (const fault of faultsOf(call)) {
      const point = { call, index: Number(index), fault };
      injector.start(point);
      let said = "nothing was thrown";
      try {
        take();
      } catch (error) {
        said = error instanceof UnixError ? error.code : String(error);
      }
      injector.stop();
      tried += 1;
      if (said !== fault || !injector.reached || !isOpen(3)) wrong.push([name, fault, said]);
    }
  }
  wrong.push(...injector.complaints);
}
console.log(JSON.stringify({ tried, wrong, got: take() }));
process.exit(0);
`;

test("inheritedFds", () =>
  leakFree(async () => {
    using file = marked("file");
    const [a, b] = socketPair("stream");
    using _a = a;
    using _b = b;
    const calls = ["fcntl F_GETFD#2", "getsockopt#0", "getsockopt#1", "getsockopt#2"];
    const source = drive("return inheritedFds().map(({ fd }) => fd.fd);", [
      ...calls,
      "fcntl F_SETFD#0",
      "fcntl F_SETFD#1",
    ]);
    const said = JSON.parse(succeeded(await runActivated(source, { fds: [a.fd, file.fd] })));
    expect(said).toEqual({ tried: 12, wrong: [], got: [3, 4] });
  }));

test("parentChannel", () =>
  leakFree(async () => {
    const [a, b] = socketPair("seqpacket");
    using _a = a;
    using _b = b;
    const calls = ["getsockopt#0", "getsockopt#1", "getsockopt#2", "getsockopt#3"];
    const source = drive("return parentChannel()?.fd;", [...calls, "fcntl F_SETFD#0"]);
    const env = { BUNIX_CHANNEL: `3:${fstatSync(b.fd).ino}` };
    const said = JSON.parse(succeeded(await run(program(source), { fds: [b.fd], env })));
    expect(said).toEqual({ tried: 13, wrong: [], got: 3 });
  }));
