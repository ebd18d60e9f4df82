// Names of users and groups, as libc finds them.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { groupId, groupName, isInGroup, userId, userName } from "../../src/index.ts";
import { root, run, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { failure, thrown } from "./tools.ts";

const FREE_ID = 3_999_999_999;

describe("names and numbers", () => {
  test("root is 0, and what nobody has is null", () => {
    expect([userName(0), userId("root")]).toEqual(["root", 0]);
    expect([userName(FREE_ID), groupName(FREE_ID)]).toEqual([null, null]);
    expect([userName(null), groupName(null)]).toEqual([null, null]);
    for (const name of ["", "no such one", "root:x:0", "röot", "x".repeat(70_000)]) {
      expect([userId(name), groupId(name)]).toEqual([null, null]);
    }
  });

  peerTest("all of this machine are as python3 has them, which asks libc, too", ["python3"], () => {
    const program = `import grp, json, pwd
print(json.dumps([[[e.pw_name, e.pw_uid] for e in pwd.getpwall()],
  [[e.gr_name, e.gr_gid] for e in grp.getgrall()]]))`;
    const { stdout } = Bun.spawnSync(["python3", "-c", program]);
    const [users, groups] = JSON.parse(stdout.toString()) as [string, number][][];
    expect(users!.length).toBeGreaterThan(1);
    expect(users!.map(([name]) => userId(name))).toEqual(users!.map(([, id]) => id));
    expect(groups!.map(([name]) => groupId(name))).toEqual(groups!.map(([, id]) => id));
    const first = (all: [string, number][], id: number): string | undefined =>
      all.find((one) => one[1] === id)?.[0];
    for (const [, id] of users!) expect(userName(id)).toBe(first(users!, id) ?? null);
    for (const [, id] of groups!) expect(groupName(id)).toBe(first(groups!, id) ?? null);
  });

  test("what is no name and no id is refused before libc is asked", async () => {
    using looks = fake("getpwuid_r", []);
    for (const id of [-1, 1.5, 2 ** 32 - 1, Number.NaN]) {
      expect(await thrown(() => userName(id))).toBeInstanceOf(RangeError);
      expect(await thrown(() => groupName(id))).toBeInstanceOf(RangeError);
      expect(await thrown(() => isInGroup({ gid: 0, groups: [] }, id))).toBeInstanceOf(RangeError);
    }
    for (const odd of ["0", 0n, undefined, {}]) {
      expect(await thrown(() => userName(odd as number))).toBeInstanceOf(TypeError);
    }
    for (const odd of [0, null, undefined, "a\0b"]) {
      expect(await thrown(() => userId(odd as string))).toBeInstanceOf(TypeError);
      expect(await thrown(() => groupId(odd as string))).toBeInstanceOf(TypeError);
    }
    expect(looks.calls).toEqual([]);
  });
});

describe("the search", () => {
  test("gets more room until it has enough, and goes on when it was interrupted", () => {
    const { ERANGE, EINTR } = errno;
    using looks = fake("getgrnam_r", [() => ERANGE, () => EINTR, () => ERANGE]);
    expect(groupId("root")).toBe(0);
    expect(looks.calls.map(([, , , bytes]) => bytes)).toEqual([1024, 2048, 2048, 4096]);
  });

  test("that fails is an error, and not an absence", async () => {
    for (const code of ["EIO", "EMFILE", "ENOMEM", "ERANGE"] as const) {
      using _ = fake(
        "getgrnam_r",
        Array(64).fill(() => errno[code]),
      );
      expect(await failure(() => groupId("docker"))).toMatchObject({ code, syscall: "getgrnam_r" });
    }
    for (const code of ["ENOENT", "ESRCH"] as const) {
      using _ = fake("getpwuid_r", [() => errno[code]]);
      expect(userName(0)).toBeNull();
    }
  });

  peerTest(
    "a group with thousands of members, a name that is not ASCII",
    ["root", "unshare"],
    async () => {
      using dir = tempDir();
      const members = Array.from({ length: 20_000 }, (_, i) => `member${i}`).join();
      writeFileSync(dir.file("group"), `root:x:0:\nmany:x:4711:${members}\ngrüße:x:4712:\n`);
      const program = dir.file("main.ts");
      writeFileSync(
        program,
        `import { groupId, groupName } from "${root}/src/index.ts";
const names = [groupName(4711), groupName(4712)];
console.log(groupId("many"), groupId("grüße"), groupId("daemon"), ...names);`,
      );
      const mounted = `mount --bind ${dir.file("group")} /etc/group && exec "$@"`;
      const command = ["unshare", "-m", "sh", "-c", mounted, "sh", process.execPath, program];
      expect(succeeded(await run(command)).trim()).toBe("4711 4712 null many grüße");
    },
  );
});

test("who is in a group: by the effective one or a supplementary one", () => {
  const who = { gid: 5, groups: () => [7, 0] };
  expect([5, 7, 0, 6].map((gid) => isInGroup(who, gid))).toEqual([true, true, true, false]);
  expect(isInGroup(who, "root")).toBeTrue();
  expect(isInGroup(who, "no such group")).toBeFalse();
  expect(isInGroup({ gid: null, groups: null }, 0)).toBeFalse();
  expect(isInGroup({ gid: 0, groups: null }, "root")).toBeTrue();
  const closed = (): never => {
    throw new Error("closed");
  };
  expect(() => isInGroup({ gid: 5, groups: closed }, 7)).toThrow("closed");
});
