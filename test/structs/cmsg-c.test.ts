// Byte for byte against the CMSG_* macros of this machine's libc.

import { describe, expect } from "bun:test";
import {
  cmsgLength,
  cmsgSpace,
  controlBytes,
  decodeControl,
  encodeControl,
} from "../../src/structs/cmsg.ts";
import { run, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { decodeWatched } from "./control.ts";

async function c(...args: (string | number)[]): Promise<string> {
  return succeeded(await run([compileC("test/fixtures/control.c"), ...args.map(String)]));
}

const MAX_BYTES = 2_000;

peerTest(`CMSG_LEN and CMSG_SPACE of 0 to ${MAX_BYTES}`, ["cc"], async () => {
  const lines = (await c("sizes", MAX_BYTES)).trim().split("\n");
  const ours = lines.map((_, i) => `${cmsgLength(i)} ${cmsgSpace(i)}`);
  expect(ours).toEqual(lines);
  expect(lines).toHaveLength(MAX_BYTES + 1);
});

const people = [
  undefined,
  { pid: 4711, uid: 1000, gid: 1001 },
  { pid: 1, uid: 0, gid: 0 },
  { pid: 0x7fffffff, uid: 0xfffffffe, gid: 0xffffffff },
] as const;

describe("encodeControl writes what C writes", () => {
  for (const credentials of people) {
    for (const count of [0, 1, 2, 3, 252, 253]) {
      const who = credentials === undefined ? [] : Object.values(credentials);
      const name = `${count} descriptors${who.length > 0 ? ` as ${who.join(", ")}` : ""}`;
      peerTest(name, ["cc"], async () => {
        const theirs = await c("encode", count, ...who);
        const fds = Array.from({ length: count }, (_, i) => 100 + i);
        const out = { fds, credentials };
        const view = new DataView(new ArrayBuffer(controlBytes(out)));
        expect(encodeControl(view, out)).toBe(view.byteLength);
        expect(new Uint8Array(view.buffer).toHex()).toBe(theirs);
        const bytes = Uint8Array.fromHex(theirs);
        const read = decodeControl(new DataView(bytes.buffer), bytes.length);
        expect(read).toEqual({
          fds,
          credentials: credentials ?? null,
          pidfd: null,
          security: null,
        });
        expect(decodeWatched(new DataView(bytes.buffer), bytes.length)).toEqual(read);
      });
    }
  }
});
