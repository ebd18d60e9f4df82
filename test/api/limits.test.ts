// At the limit of open files: data arrives, descriptors that fit are right, nothing leaks, and it
// goes on when there is room again. Each case has a process of its own with a small limit.

import { expect, test } from "bun:test";
import { system } from "../../native/platform.ts";
import { run, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noPidfds, testUnless } from "../support/unless.ts";
import { kinds } from "./pairs.ts";

const LIMIT = 64;

/** The fixture's answer, from a process that may open 64 files. */
async function limited(what: string, kind: string, argument: string): Promise<unknown> {
  const file = new URL("../fixtures/limits.ts", import.meta.url).pathname;
  const shell = `ulimit -n ${LIMIT}; exec "$0" "$@"`;
  const command = ["sh", "-c", shell, process.execPath, file, what, kind, argument];
  return JSON.parse(succeeded(await run(command)).trim());
}

for (const kind of kinds) {
  for (const room of [0, 2]) {
    test(`${kind}: room for ${room} of 5 descriptors`, async () => {
      expect(await limited("receiving", kind, `${room}`)).toEqual({
        seen: [
          ["cut", system === "darwin" ? 0 : room, true, false], // XNU: all or none
          ["whole", 5, false, false],
        ],
        leaked: 0,
      });
    });
  }

  const pidfdName = `${kind}: an errno in a pidfd's place is no descriptor and is never closed`;
  testUnless(noPidfds(), pidfdName, async () => {
    expect(await limited("pidfd", kind, "")).toEqual({
      seen: [
        ["x", true, false],
        ["y", true, true],
      ],
      negative: [],
    });
  });
}

test("accept waits, warns once, does not spin, and recovers", async () => {
  using dir = tempDir();
  expect(await limited("accepting", "stream", dir.file("s"))).toEqual({
    refused: "accept EMFILE",
    texts: ["first", "second"],
    warnings: ["AcceptWarning"],
    busy: false,
  });
});

/** What of the peer: its pidfd, and all there is to say. XNU tells that without a descriptor. */
const asked =
  system === "darwin"
    ? [expect.stringContaining("peerPidfd is not available"), "none"]
    : ["getsockopt EMFILE", "getsockopt EMFILE"];

test("what needs a descriptor says EMFILE and leaves nothing behind", async () => {
  using dir = tempDir();
  expect(await limited("making", "stream", dir.file("s"))).toEqual({
    queued: "EMFILE",
    after: 0,
    codes: ["socketpair EMFILE", "socket EMFILE", "socket EMFILE", "socket EMFILE", ...asked],
    listening: true,
  });
});

peerTest(
  "too many descriptors in flight: ETOOMANYREFS, and the socket goes on",
  ["root"],
  async () => {
    for (const kind of kinds) {
      const answer = (await limited("inFlight", kind, "")) as Record<string, unknown>;
      expect(answer["code"]).toBe("sendmsg ETOOMANYREFS");
      expect(answer["sent"]).toBe(answer["got"]);
      expect(answer["sent"]).toBeGreaterThanOrEqual(LIMIT);
      expect(answer["again"]).toBe(1);
    }
  },
);
