// Names of Internet sockets, as getsockname writes them.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { sockaddrIn, sockaddrIn6, sockaddrUn, socket } from "../../native/socket.ts";
import { listenTcp } from "../../src/index.ts";
import { decodeInet, isLoopback, isWildcard } from "../../src/structs/sockaddr-in.ts";
import { rawName } from "../../src/syscalls/socket.ts";

function name(family: number, port: number, host: readonly number[]): Uint8Array {
  const layout = family === socket.AF_INET ? sockaddrIn : sockaddrIn6;
  const at = family === socket.AF_INET ? sockaddrIn.at.sin_addr : sockaddrIn6.at.sin6_addr;
  const bytes = new Uint8Array(layout.size);
  const view = new DataView(bytes.buffer);
  view.setUint16(sockaddrUn.at.sun_family, family, true);
  view.setUint16(sockaddrIn.at.sin_port, port);
  bytes.set(host, at);
  return bytes;
}

const byte = fc.nat({ max: 255 });
const port = fc.nat({ max: 65_535 });
const bytes = (count: number): fc.Arbitrary<number[]> =>
  fc.array(byte, { minLength: count, maxLength: count });

test("what the kernel says of a listener", () => {
  using fd = listenTcp({ hostname: "127.0.0.1", port: 0 });
  const raw = rawName(fd.fd);
  const found = typeof raw === "number" ? null : decodeInet(raw);
  expect(found).toMatchObject({ family: "inet", host: Uint8Array.of(127, 0, 0, 1) });
  expect(found?.port).toBeGreaterThan(0);
  expect(rawName(99_999)).toBeLessThan(0);
});

test("family, port and host", () => {
  fc.assert(
    fc.property(port, bytes(4), bytes(16), (port, four, sixteen) => {
      const inet = decodeInet(name(socket.AF_INET, port, four));
      expect(inet).toEqual({ family: "inet", port, host: Uint8Array.from(four) });
      const inet6 = decodeInet(name(socket.AF_INET6, port, sixteen));
      expect(inet6).toEqual({ family: "inet6", port, host: Uint8Array.from(sixteen) });
    }),
  );
});

test("another family, and anything that is too short", () => {
  expect(decodeInet(name(socket.AF_UNIX, 80, [1]))).toBeNull();
  for (const family of [socket.AF_INET, socket.AF_INET6]) {
    const whole = name(family, 80, [1, 2, 3, 4]);
    for (let length = 0; length < whole.length; length++) {
      expect(decodeInet(whole.subarray(0, length))).toBeNull();
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (any) => void decodeInet(any)));
});

test("loopback and wildcard", () => {
  const of = (family: number, host: readonly number[]) => decodeInet(name(family, 80, host))!;
  const six = (last: number): number[] => [...new Array(15).fill(0), last];
  expect(isWildcard(of(socket.AF_INET, [0, 0, 0, 0]))).toBe(true);
  expect(isWildcard(of(socket.AF_INET6, six(0)))).toBe(true);
  expect(isWildcard(of(socket.AF_INET6, six(1)))).toBe(false);
  expect(isLoopback(of(socket.AF_INET, [127, 0, 0, 1]))).toBe(true);
  expect(isLoopback(of(socket.AF_INET, [10, 0, 0, 1]))).toBe(false);
  expect(isLoopback(of(socket.AF_INET6, six(1)))).toBe(true);
  expect(isLoopback(of(socket.AF_INET6, six(0)))).toBe(false);
});
