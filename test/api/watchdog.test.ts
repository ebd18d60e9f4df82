// Signs of life: when they are wanted, when they are sent, and what keeps them back.

import { describe, expect, test } from "bun:test";
import { type DatagramSocket, Watchdog, type WatchdogOptions, watchdog } from "../../src/index.ts";
import { run, succeeded } from "../support/child.ts";
import { cleanEnvironment, manager, program } from "./managers.ts";
import { freshPath } from "./pairs.ts";
import {
  codeOf,
  eventually,
  failure,
  fillReceiver,
  leakFree,
  must,
  thrown,
  turns,
} from "./tools.ts";

cleanEnvironment();

const SHORT = "20000"; // µs: a sign of life every 10 ms

function wanted(options?: WatchdogOptions, usec = SHORT): Watchdog {
  process.env["WATCHDOG_USEC"] = usec;
  const made = watchdog(options);
  if (made === null) throw new Error("no watchdog is wanted");
  return made;
}

async function hear(socket: DatagramSocket): Promise<string> {
  using message = must(await socket.receive());
  return message.text();
}

describe("whether one is wanted", () => {
  test("not without WATCHDOG_USEC, nor for another process", () => {
    expect(watchdog()).toBeNull();
    process.env["WATCHDOG_USEC"] = SHORT;
    process.env["WATCHDOG_PID"] = String(process.pid + 1);
    expect(watchdog()).toBeNull();
  });

  test("for this process, or for none in particular; in milliseconds", () => {
    expect(wanted({}, "3000001")).toMatchObject({ timeoutMs: 3000.001, intervalMs: 1500 });
    process.env["WATCHDOG_PID"] = String(process.pid);
    expect(wanted()).toMatchObject({ timeoutMs: 20, intervalMs: 10 });
    expect(wanted()).toBeInstanceOf(Watchdog); // asked again: the variables are still there
  });

  test("however short or long", () => {
    expect(wanted({}, "1").intervalMs).toBe(1);
    expect(wanted({}, "18446744073709551614").intervalMs).toBe(2 ** 31 - 1); // as timers have it
  });

  test.each([["x"], [""], ["-1"], ["0"], ["18446744073709551615"], ["1s"]])(
    "WATCHDOG_USEC %j is refused",
    async (usec) => {
      const error = await failure(() => wanted({}, usec));
      expect(error.code).toBe("EINVAL");
      expect(error.message).toContain(`WATCHDOG_USEC is ${JSON.stringify(usec)}`);
    },
  );

  test("so is a WATCHDOG_PID that is no number, and a callback that is none", async () => {
    process.env["WATCHDOG_PID"] = "me";
    expect((await failure(() => wanted())).message).toContain('WATCHDOG_PID is "me"');
    expect(() => watchdog({ healthy: true as never })).toThrow(TypeError);
    expect(() => watchdog({ onError: "log" as never })).toThrow(TypeError);
  });
});

describe("signs of life", () => {
  test("at once, and again and again, until it is closed", () =>
    leakFree(async () => {
      using socket = manager();
      const dog = wanted();
      expect(dog.start()).toBe(dog);
      expect(dog.start()).toBe(dog); // one timer
      for (let i = 0; i < 5; i++) expect(await hear(socket)).toBe("WATCHDOG=1");
      dog.close();
      dog.close();
      expect(dog.closed).toBe(true);
      await turns();
      while (socket.tryReceive()) {}
      await Bun.sleep(3 * dog.intervalMs); // nothing may come
      expect(socket.tryReceive()).toBeUndefined();
      expect(await codeOf(() => dog.start())).toBe("ERR_CLOSED");
      expect(await codeOf(() => dog.ping())).toBe("ERR_CLOSED");
      expect(await codeOf(() => dog.trigger())).toBe("ERR_CLOSED");
    }));

  test("by hand, whatever `healthy` says", async () => {
    using socket = manager();
    using dog = wanted({ healthy: () => false });
    expect(await dog.ping()).toBe(true);
    expect(await hear(socket)).toBe("WATCHDOG=1");
    expect(await dog.trigger()).toBe(true);
    expect(await hear(socket)).toBe("WATCHDOG=trigger");
    delete process.env["NOTIFY_SOCKET"];
    expect(await dog.ping()).toBe(false);
  });

  test("none while `healthy` says no", async () => {
    using socket = manager();
    let asked = 0;
    using dog = wanted({ healthy: async () => ++asked > 3 });
    dog.start();
    expect(await hear(socket)).toBe("WATCHDOG=1");
    expect(asked).toBeGreaterThan(3);
  });

  test("none while `healthy` throws, and the error is told", async () => {
    using socket = manager();
    const errors: unknown[] = [];
    let asked = 0;
    const healthy = (): boolean => {
      if (++asked <= 2) throw new Error(`sick ${asked}`);
      return true;
    };
    using dog = wanted({ healthy, onError: (error) => errors.push(error) });
    dog.start();
    expect(await hear(socket)).toBe("WATCHDOG=1");
    expect(errors.map(String)).toEqual(["Error: sick 1", "Error: sick 2"]);
  });

  test("none while `healthy` has not answered, and it is not asked again", async () => {
    using socket = manager();
    let asked = 0;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    using dog = wanted({
      healthy: () => {
        asked += 1;
        return promise;
      },
    });
    dog.start();
    await Bun.sleep(3 * dog.intervalMs); // nothing may come
    expect([asked, socket.tryReceive()]).toEqual([1, undefined]);
    resolve(true);
    expect(await hear(socket)).toBe("WATCHDOG=1");
    await eventually(() => asked > 1, "healthy is asked again");
  });

  test("a manager that is gone is told of, and found again", async () => {
    const path = freshPath();
    process.env["NOTIFY_SOCKET"] = path;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    using dog = wanted({ onError: resolve });
    dog.start();
    expect(await promise).toMatchObject({ code: "ENOENT", path });
    using socket = manager(path);
    expect(await hear(socket)).toBe("WATCHDOG=1");
  });

  // Not in leakFree: the first waiter that is not referenced starts a thread, which stays.
  test("a full queue: one waits, and they do not pile up; close ends the wait", async () => {
    using socket = manager();
    let asked = 0;
    const errors: unknown[] = [];
    const options: WatchdogOptions = {
      healthy: () => ++asked > 0,
      onError: (error) => errors.push(error),
    };
    fillReceiver(process.env["NOTIFY_SOCKET"]!);
    using dog = wanted(options);
    dog.start();
    await Bun.sleep(3 * dog.intervalMs);
    expect(asked).toBe(1);
    const byHand = thrown(() => dog.ping());
    await turns();
    dog.close();
    expect(await byHand).toMatchObject({ code: "ERR_CLOSED" });
    expect(errors).toEqual([]);
    while (socket.tryReceive()) {}
  });
});

describe("the process", () => {
  test("is not kept alive, not even by a full queue", async () => {
    using _socket = manager();
    fillReceiver(process.env["NOTIFY_SOCKET"]!);
    process.env["WATCHDOG_USEC"] = SHORT;
    const source = `
import { watchdog } from "@/src/index.ts";
watchdog().start();
setTimeout(() => console.log("end"), 50);`;
    expect(succeeded(await run(program(source)))).toBe("end\n");
  });

  test("is warned once of what goes wrong", async () => {
    const source = `
import { watchdog } from "@/src/index.ts";
let asked = 0;
process.on("warning", ({ name, message }) => console.log(name, message));
const healthy = () => {
  if (++asked === 4) dog.close();
  throw new Error("sick");
};
const dog = watchdog({ healthy });
dog.start();
const wait = setInterval(() => asked >= 4 && clearInterval(wait), 5);`;
    const env = { WATCHDOG_USEC: SHORT, NOTIFY_SOCKET: "@nobody", NODE_NO_WARNINGS: "1" };
    const said = succeeded(await run(program(source), { env }));
    expect(said).toBe("WatchdogWarning no sign of life was sent: Error: sick\n");
  });
});
