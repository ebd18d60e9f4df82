// systemd's own programs as clients and servers of the examples: varlinkctl, busctl, systemd-run,
// systemd-socket-proxyd, and the journal of this machine.

import { expect, setDefaultTimeout } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../api/tools.ts";
import { root, run, runScript, start, startScript, succeeded } from "../../support/child.ts";
import { tempDir } from "../../support/tmp.ts";
import { testUnless } from "../../support/unless.ts";
import { get, LIMIT_MS, load, PATIENT, program, systemctl, units, whyNot } from "../systemd.ts";

setDefaultTimeout(LIMIT_MS);

const example = (name: string): string => join(root, `examples/${name}.ts`);

const noVarlinkctl =
  whyNot ?? (Bun.which("varlinkctl") === null ? "varlinkctl came with systemd 255" : null);

const varlinkctl = (...args: string[]) => run(["varlinkctl", ...args]);

testUnless(noVarlinkctl, "varlinkctl calls our service", async () => {
  using dir = tempDir();
  const address = dir.file("notes");
  await using server = startScript(example("varlink/server"), [address]);
  await server.lineWith("ready");
  const info = succeeded(await varlinkctl("info", address, "--json=short"));
  expect(JSON.parse(info)).toMatchObject({
    product: "notes",
    interfaces: ["org.example.Notes", "org.varlink.service"],
  });
  // it reads our description, and writes it as it has understood it
  const described = succeeded(await varlinkctl("introspect", address, "org.example.Notes"));
  expect(described.replace(/\s+/g, "")).toContain("methodNote(line:string)->()");
  expect(described).toContain("error Full");
  const methods = succeeded(await varlinkctl("list-methods", address, "org.example.Notes"));
  expect(methods.trim().split("\n")).toEqual(
    ["Export", "Import", "List", "Note"].map((name) => `org.example.Notes.${name}`),
  );
  const notes = (method: string, parameters: object, ...options: string[]) =>
    varlinkctl(
      ...["--json=short", ...options, "call", address],
      ...[`org.example.Notes.${method}`, JSON.stringify(parameters)],
    );
  expect(JSON.parse(succeeded(await notes("Note", { line: "first" })))).toEqual({});
  succeeded(await notes("Note", { line: "second" }, "--oneway"));
  const all = [
    { line: "first", number: 0 },
    { line: "second", number: 1 },
  ];
  const listed = succeeded(await notes("List", {}, "--more"));
  expect(listed.match(/\{"line".*?\}/g)?.map((line) => JSON.parse(line))).toEqual(all);
  expect(JSON.parse(succeeded(await notes("List", {}, "--collect")))).toEqual(all);
  // a descriptor that comes with the reply is not for it
  expect(JSON.parse(succeeded(await notes("Export", {})))).toEqual({ file: 0 });
  for (const [method, parameters, error] of [
    ["Note", { line: 4 }, "InvalidParameter"],
    ["Sing", {}, "MethodNotFound"],
    ["List", {}, "ExpectedMore"],
  ] as const) {
    const failed = await notes(method, parameters);
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toContain(`org.varlink.service.${error}`);
  }
  expect(JSON.parse(succeeded(await notes("Note", { line: "third" })))).toEqual({});
});

const DYNAMIC_USERS = "/run/systemd/userdb/io.systemd.DynamicUser";

const noUserdb = (): string | null =>
  existsSync(DYNAMIC_USERS) ? null : "this systemd answers no questions about users";

testUnless(whyNot ?? noUserdb(), "our varlink client asks systemd itself", async () => {
  await using _units = await units({
    "dynamic.service": "[Service]\nDynamicUser=yes\nExecStart=/bin/sleep infinity\n",
  });
  await systemctl("start", "dynamic.service");
  const caller = `
import { Caller } from "@/examples/varlink/caller.ts";
using service = await Caller.to("${DYNAMIC_USERS}");
// before systemd 253 that method is not there, and says so
const { interfaces } = await service.call("org.varlink.service.GetInfo").catch((error) => {
  if (error.message !== "org.varlink.service.MethodNotImplemented") throw error;
  return { interfaces: ["io.systemd.UserDatabase"] };
});
const asked = { userName: "dynamic", service: "io.systemd.DynamicUser" };
const { record } = await service.call("io.systemd.UserDatabase.GetUserRecord", asked);
const all = [];
const of = { service: "io.systemd.DynamicUser" };
for await (const { record } of service.more("io.systemd.UserDatabase.GetUserRecord", of)) {
  all.push(record.userName);
}
const refused = await service.call("io.systemd.UserDatabase.GetUserRecord", {
  ...asked, userName: "nobody-has-this",
}).catch((error) => error.message);
console.log(JSON.stringify({ interfaces, uid: record.uid, all, refused }));`;
  const file = join(root, "dynamic-users.ts"); // examples import "bunix" by this project's name
  writeFileSync(file, caller.replaceAll("@/", `${root}/`));
  const said = JSON.parse(succeeded(await runScript(file)));
  expect(said.interfaces).toContain("io.systemd.UserDatabase");
  expect(said.uid).toBeGreaterThan(60_000);
  expect(said.all).toContain("dynamic");
  expect(said.refused).toBe("io.systemd.UserDatabase.NoRecordFound");
});

const BUS = "/run/dbus/system_bus_socket";
const POLICY = `<busconfig><policy context="default">
<allow own="org.example.Files"/><allow send_destination="org.example.Files"/>
</policy></busconfig>`;

testUnless(whyNot, "busctl calls our service on the system's bus, and we call ours", async () => {
  mkdirSync("/etc/dbus-1/system.d", { recursive: true });
  writeFileSync("/etc/dbus-1/system.d/org.example.Files.conf", POLICY);
  await systemctl("start", "dbus.service");
  await systemctl("reload", "dbus.service");
  const env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${BUS}` };
  await using service = startScript(example("dbus"), ["serve"], { env });
  await service.lineWith("on the bus");
  const where = ["org.example.Files", "/org/example/Files", "org.example.Files"];
  const open = (name: string) => run(["busctl", "call", ...where, "Open", "s", name]);
  expect(succeeded(await open("/etc/hostname"))).toMatch(/^h \d+\n$/);
  const refused = await open("/etc/there-is-none");
  expect(refused.code).not.toBe(0);
  expect(succeeded(await run(["busctl", "status", "org.example.Files"]))).toContain(
    `PID=${service.pid}`,
  );
  const ours = await runScript(example("dbus"), ["call", "/etc/hostname"], { env });
  expect(succeeded(ours)).toBe("bunix\n");
});

testUnless(whyNot, "systemd-run makes a socket and a service of an example", async () => {
  const env = Object.entries({ HOME: "/tmp" }).map(([name, value]) => `--setenv=${name}=${value}`);
  const socket = ["ListenStream=/run/transient.sock", "FileDescriptorName=web"];
  const about = ["--unit=transient", "-p", "TimeoutStartSec=900", "--service-type=notify"];
  const options = [...about, ...socket.map((line) => `--socket-property=${line}`), ...env];
  succeeded(await run(["systemd-run", ...options, process.execPath, example("service")]));
  try {
    expect(JSON.parse(await get("/run/transient.sock")).request).toBe(1);
    expect(JSON.parse(await get("/run/transient.sock")).request).toBe(2);
  } finally {
    await run(["systemctl", "stop", "transient.socket", "transient.service"]);
  }
});

const PROXY = "/usr/lib/systemd/systemd-socket-proxyd";

testUnless(
  whyNot,
  "systemd-socket-proxyd in front of a service, restarted under load",
  async () => {
    const file = example("service");
    await using _units = await units({
      "behind.socket": "[Socket]\nListenStream=/run/behind.sock\nFileDescriptorName=web\n",
      "behind.service": `[Service]
Type=notify
ExecStart=${process.execPath} ${file}
${PATIENT}
`,
      "front.socket": "[Socket]\nListenStream=/run/front.sock\nListenStream=127.0.0.1:8099\n",
      "front.service": `[Service]\nType=notify\nExecStart=${PROXY} /run/behind.sock\n`,
    });
    await systemctl("start", "behind.socket", "front.socket");
    expect(JSON.parse(await get("/run/front.sock")).request).toBe(1);
    const loaded = await load("/run/front.sock");
    await systemctl("restart", "behind.service");
    const answered = await loaded.end();
    expect(answered).toBeGreaterThan(0);
    const tcp = succeeded(await run(["curl", "-sS", "http://127.0.0.1:8099/"]));
    expect(JSON.parse(tcp).pid).toBe(JSON.parse(await get("/run/behind.sock")).pid);
  },
);

testUnless(whyNot, "the journal has what the examples log, and knows their unit", async () => {
  // it stays: whose cgroup the journal is to look at must not be gone by then
  const both = ["journald", "syslog"].map((name) => `await import("${example(name)}");`).join("\n");
  const file = program("log.ts", `${both}\nsetInterval(() => {}, 60_000);`);
  await using _units = await units({
    "log.service": `[Service]\nExecStart=${process.execPath} ${file}\n`,
  });
  await using reader = start(
    ["journalctl", "--unit=log", "--output=json", "--all", "--follow", "--lines=all"],
    { timeoutMs: LIMIT_MS },
  );
  await systemctl("start", "log.service");
  const entries: Record<string, unknown>[] = [];
  await eventually(
    async () => {
      const line = await reader.line();
      if (line !== null) entries.push(JSON.parse(line));
      return ["large", "π is not 3"].every((text) =>
        entries.some((one) => one["MESSAGE"] === text),
      );
    },
    "all has come",
    60_000,
  );
  const by = (field: string, value: string) => entries.filter((entry) => entry[field] === value);
  const native = by("_TRANSPORT", "journal").filter(
    (entry) => entry["SYSLOG_IDENTIFIER"] === "bunix",
  );
  expect(native.map((entry) => entry["MESSAGE"])).toEqual(["started", "two\nlines", "large"]);
  expect(String(native[2]?.["DUMP"])).toHaveLength(500_000);
  const syslog = by("_TRANSPORT", "syslog").map((entry) => [entry["MESSAGE"], entry["PRIORITY"]]);
  expect(syslog).toEqual([
    ["started", "6"],
    ["the disk is nearly full: 97 %", "4"],
    ["π is not 3", "3"],
  ]);
  for (const entry of [...native, ...by("_TRANSPORT", "syslog")]) {
    expect(entry["_SYSTEMD_UNIT"]).toBe("log.service");
  }
});
