// A Wayland client: a picture goes to the compositor as a memfd (wl_shm), and its keymap comes as
// one. A message is: the object, its length and code, the arguments; descriptors travel beside.
//
//   bun examples/wayland.ts      ($WAYLAND_DISPLAY; the surface has no role, so nothing is seen)

import { resolve } from "node:path";
import { connect, type FdLike, SharedMemory } from "bunix";
import { Pieces } from "./wire/pieces.ts";

const { XDG_RUNTIME_DIR = "/run/user/1000", WAYLAND_DISPLAY = "wayland-0" } = process.env;
using socket = await connect(resolve(XDG_RUNTIME_DIR, WAYLAND_DISPLAY));
const incoming = new Pieces(socket);

/** Request `code` of `object`; a string has its length before it, and fills whole words. */
function send(object: number, code: number, args: (number | string)[] = [], passed: FdLike[] = []) {
  const words = args.flatMap((arg) => {
    if (typeof arg === "number") return arg;
    const text = Buffer.from(arg.padEnd((arg.length & ~3) + 4, "\0"));
    return [arg.length + 1, ...new Uint32Array(Uint8Array.from(text).buffer)];
  });
  const head = [object, ((words.length + 2) << 18) | code];
  return socket.send(Uint32Array.of(...head, ...words), { fds: passed });
}

/** The next event, whichever it is. */
async function next(): Promise<{ object: number; code: number; args: Buffer }> {
  const head = await incoming.take(8);
  const args = await incoming.take(head.readUInt16LE(6) - 8);
  const event = { object: head.readUInt32LE(0), code: head.readUInt16LE(4), args };
  if (event.object === DISPLAY && event.code === 0) throw new Error(`refused: ${args}`);
  return event;
}

/** The arguments of the first event of `object`; those of others are passed over. */
async function first(object: number): Promise<Buffer> {
  for (;;) {
    const event = await next();
    if (event.object === object && event.code === 0) return event.args;
  }
}

// the client numbers its objects, in the order in which it makes them
const [DISPLAY, REGISTRY, DONE, COMPOSITOR, SHM] = [1, 2, 3, 4, 5];
const [SURFACE, POOL, BUFFER, SEAT, KEYBOARD] = [6, 7, 8, 9, 10];
const SIZE = 256;

await send(DISPLAY, 1, [REGISTRY]); // get_registry: an event for each global object
await send(DISPLAY, 0, [DONE]); // sync: an event after those
const globals = new Map<string, number>();
for (let event = await next(); event.object !== DONE; event = await next()) {
  if (event.object !== REGISTRY) continue;
  const [name, length] = [event.args.readUInt32LE(0), event.args.readUInt32LE(4)];
  globals.set(event.args.toString("utf8", 8, 8 + length - 1), name);
}
const bind = (name: string, id: number): Promise<void> =>
  send(REGISTRY, 0, [globals.get(name) ?? 0, name, 1, id]);

await bind("wl_compositor", COMPOSITOR);
await bind("wl_shm", SHM);
await send(COMPOSITOR, 0, [SURFACE]); // create_surface
using picture = SharedMemory.create(SIZE * SIZE * 4);
await send(SHM, 0, [POOL, picture.size], [picture]); // create_pool
await send(POOL, 0, [BUFFER, 0, SIZE, SIZE, SIZE * 4, 1]); // create_buffer, XRGB8888
for (const i of picture.bytes.keys()) picture.bytes[i] = i % 251;
await send(SURFACE, 1, [BUFFER, 0, 0]); // attach
await send(SURFACE, 2, [0, 0, SIZE, SIZE]); // damage: all of it is new
await send(SURFACE, 6); // commit
await send(SURFACE, 1, [0, 0, 0]); // attach nothing
await send(SURFACE, 6);
await first(BUFFER); // release: the compositor needs it no more
console.log(`the compositor has had ${picture.size} bytes of our memory for a picture`);

if (!globals.has("wl_seat")) process.exit();
await bind("wl_seat", SEAT);
if (((await first(SEAT)).readUInt32LE() & 2) === 0) process.exit(); // it has no keyboard
await send(SEAT, 1, [KEYBOARD]); // get_keyboard
const size = (await first(KEYBOARD)).readUInt32LE(4); // keymap: format and size; one descriptor
using fd = incoming.takeFd();
using keymap = SharedMemory.map(fd, { bytes: size, trustSender: true, writable: false });
console.log(`its keymap begins: ${Buffer.from(keymap.bytes.subarray(0, 40)).toString().trim()}`);
