// A D-Bus service whose method opens a file, and its caller, who reads it through the descriptor.
//
//   bun examples/dbus.ts serve
//   bun examples/dbus.ts call FILE …

import { closeSync, openSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { Bus, type Received } from "./wire/bus.ts";
import { types } from "./wire/dbus.ts";

const NAME = "org.example.Files";
const OPEN = { path: "/org/example/Files", interface: NAME, member: "Open" };

/** Open(s) → h: the descriptor of the file of that name. */
function answer({ serial, sender, interface: from, member, body: [name] = [] }: Received): void {
  const head = { replySerial: serial, ...(sender !== undefined && { destination: sender }) };
  const refuse = (errorName: string, why: string): unknown =>
    bus.send({ ...head, type: types.error, errorName, signature: "s", body: [why] });
  if (from !== NAME || member !== OPEN.member || typeof name !== "string") {
    refuse("org.freedesktop.DBus.Error.UnknownMethod", `there is ${OPEN.member}(s) alone`);
    return;
  }
  try {
    const file = openSync(name, "r");
    bus.send({ ...head, type: types.answer, signature: "h", body: [0] }, [file]);
    closeSync(file); // the answer has a duplicate
  } catch (error) {
    refuse("org.freedesktop.DBus.Error.FileNotFound", String(error));
  }
}

async function serve(): Promise<void> {
  await bus.ask("RequestName", "su", [NAME, 0]);
  console.log(`${NAME} is on the bus`);
  for (;;) {
    const message = await bus.receive();
    if (message.type === types.call) answer(message);
  }
}

/** All calls go out before the first answer is read. */
async function call(names: string[]): Promise<void> {
  const head = { ...OPEN, type: types.call, destination: NAME, signature: "s" };
  const serials = names.map((name) => bus.send({ ...head, body: [name] }));
  for (const serial of serials) {
    const { body: [index] = [], passed } = await bus.answerTo(serial);
    console.log(readFileSync(passed[Number(index)] ?? -1, "utf8").trimEnd());
    for (const fd of passed) closeSync(fd);
  }
}

const system = `unix:path=/run/user/${userInfo().uid}/bus`;
const bus = await Bus.connect(process.env["DBUS_SESSION_BUS_ADDRESS"] ?? system);
const [what, ...names] = process.argv.slice(2);
if (what === "serve") await serve();
else await call(names);
bus.close();
