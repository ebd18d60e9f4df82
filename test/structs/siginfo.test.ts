// siginfo_t and mq_attr: what is read, and that nothing else is.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { infoBytes, origin, signals } from "../../native/signal.ts";
import { attributesRoom, decodeAttributes, encodeAttributes } from "../../src/structs/mq-attr.ts";
import { decodeSiginfo } from "../../src/structs/siginfo.ts";

/** signo @0, code @8, pid @16, uid @20, value @24. */
function siginfo(fields: {
  signo?: number;
  code?: number;
  pid?: number;
  value?: bigint;
}): DataView {
  const view = new DataView(new ArrayBuffer(infoBytes));
  view.setInt32(0, fields.signo ?? signals.SIGUSR1, true);
  view.setInt32(8, fields.code ?? 0, true);
  view.setInt32(16, fields.pid ?? 7, true);
  view.setUint32(20, 0xffff_fffe, true);
  view.setBigUint64(24, fields.value ?? 0n, true);
  return view;
}

describe("siginfo", () => {
  const none = { value: undefined, pointer: undefined, status: undefined };
  const nobody = { pid: undefined, uid: undefined };
  const sender = { pid: 7, uid: 0xffff_fffe };
  const value = 0xffff_fffd_0000_0003n;
  const valued = { value: 3, pointer: value, status: undefined };
  const cases: readonly (readonly [string, number | null, object])[] = [
    ["user", origin.SI_USER, { ...sender, ...none }],
    ["thread", origin.SI_TKILL, { ...sender, ...none }],
    ["queue", origin.SI_QUEUE, { ...sender, ...valued }],
    ["message-queue", origin.SI_MESGQ, { ...sender, ...valued }],
    ["async-io", origin.SI_ASYNCIO, { ...sender, ...valued }],
    ["timer", origin.SI_TIMER, { ...nobody, ...valued }],
    ["io", origin.SI_SIGIO, { ...nobody, ...none }],
    ["kernel", origin.SI_KERNEL, { ...nobody, ...none }],
    ["kernel", 1, { ...nobody, ...none }],
    ["other", -60, { ...sender, ...valued }],
  ];
  for (const [from, raw, rest] of cases) {
    if (raw === null) continue;
    test(`${from} (${raw})`, () => {
      const info = decodeSiginfo(siginfo({ code: raw, value }), 0);
      expect(info).toEqual({
        number: signals.SIGUSR1,
        origin: from,
        siCode: raw,
        ...rest,
      } as never);
    });
  }

  test("a child's status, a descriptor's readiness", () => {
    const child = siginfo({ signo: signals.SIGCHLD, code: 1, value: 9n });
    expect(decodeSiginfo(child, 0)).toMatchObject({ origin: "child", status: 9, value: undefined });
    const io = siginfo({ signo: signals.SIGIO, code: 1, pid: 1 });
    expect(decodeSiginfo(io, 0)).toMatchObject({ origin: "io", pid: undefined });
  });

  test("a negative value, and a sender that this namespace does not see", () => {
    const code = origin.SI_QUEUE;
    expect(decodeSiginfo(siginfo({ code, value: 0xffff_ffffn }), 0).value).toBe(-1);
    expect(decodeSiginfo(siginfo({ code, pid: 0 }), 0).pid).toBeUndefined();
  });

  test("whatever the bytes, wherever they begin: 32 of them are read, and none beside", () => {
    const bytes = fc.uint8Array({ minLength: infoBytes, maxLength: infoBytes });
    fc.assert(
      fc.property(bytes, fc.nat(64), fc.nat(255), (info, before, filler) => {
        const all = new Uint8Array(before + infoBytes + 8).fill(filler);
        all.set(info, before);
        const alone = decodeSiginfo(new DataView(info.buffer, info.byteOffset, infoBytes), 0);
        expect(decodeSiginfo(new DataView(all.buffer), before)).toEqual(alone);
        expect(alone.pid ?? 1).toBeGreaterThan(0);
        expect(alone.value === undefined).toBe(alone.pointer === undefined);
      }),
    );
  });

  test("less than that is refused", () => {
    const view = new DataView(new ArrayBuffer(infoBytes));
    view.setInt32(9, origin.SI_QUEUE, true);
    expect(() => decodeSiginfo(view, 1)).toThrow(RangeError);
  });
});

test("mq_attr comes back as it went, and the rest of it is zero", () => {
  const size = fc.record({ maxMessages: fc.integer({ min: 1 }), messageBytes: fc.nat() });
  fc.assert(
    fc.property(size, (asked) => {
      const bytes = new Uint8Array(attributesRoom).fill(0xff);
      const view = new DataView(bytes.buffer);
      encodeAttributes(asked, view);
      expect(decodeAttributes(view)).toEqual({ ...asked, currentMessages: 0 });
      const zero = bytes.filter((_, at) => at < 8 || at >= 24 || (at & 4) !== 0);
      expect(zero.every((byte) => byte === 0)).toBeTrue();
    }),
  );
});
