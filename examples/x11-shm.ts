// A picture goes to an X server and comes back through shared memory (MIT-SHM). Only descriptors
// pass through the socket: ours with the request AttachFd, the server's beside a reply.
//
//   bun examples/x11-shm.ts      ($DISPLAY; it is drawn into a pixmap, so that nothing is seen)

import { connect, type FdLike, SharedMemory } from "bunix";
import { Pieces } from "./wire/pieces.ts";

const [, number] = /^(?:unix)?:(\d+)/.exec(process.env["DISPLAY"] ?? ":0") ?? [];
using socket = await connect(`/tmp/.X11-unix/X${number}`);
const incoming = new Pieces(socket);

/** A request: two codes and its length are the first word, then its arguments. */
function send(codes: [number, number], words: number[], passed: FdLike[] = []): Promise<void> {
  const first = codes[0] | (codes[1] << 8) | ((words.length + 1) << 16);
  return socket.send(Uint32Array.of(first, ...words), { fds: passed });
}

/** The next reply: 32 bytes, and as many words more as these say. */
async function reply(): Promise<Buffer> {
  for (;;) {
    const head = await incoming.take(32);
    if (head[0] === 0) throw new Error(`X error ${head[1]} for request ${head[10]}.${head[8]}`);
    if (head[0] === 1) return Buffer.concat([head, await incoming.take(head.readUInt32LE(4) * 4)]);
  }
}

const both = (low: number, high: number): number => low | (high << 16);
const SIZE = 256;
const [WHOLE, ORIGIN, Z_PIXMAP] = [both(SIZE, SIZE), 0, 2];

await socket.send(Uint32Array.of(both(0x6c, 11), 0, 0)); // little-endian, version 11, no cookie
const start = await incoming.take(8);
const setup = await incoming.take(start.readUInt16LE(6) * 4);
if (start[0] !== 1) throw new Error(`the X server refuses: ${setup.subarray(0, start[1])}`);
const screen = 32 + ((setup.readUInt16LE(16) + 3) & ~3) + setup.readUInt8(21) * 8;
const [root, depth] = [setup.readUInt32LE(screen), setup.readUInt8(screen + 38)];
const id = setup.readUInt32LE(4); // ours begin here
const [pixmap, gc, ours, theirs] = [id, id + 1, id + 2, id + 3];

const name = Buffer.from("MIT-SHM\0");
await send([98, 0], [7, name.readUInt32LE(), name.readUInt32LE(4)]); // QueryExtension
const [present, shm = 0] = (await reply()).subarray(8);
if (present !== 1) throw new Error("this X server has no MIT-SHM");

await send([53, depth], [pixmap, root, WHOLE]); // CreatePixmap
await send([55, 0], [gc, pixmap, 0]); // CreateGC
using picture = SharedMemory.create(SIZE * SIZE * 4);
await send([shm, 6], [ours, 1], [picture]); // AttachFd: the server maps our memory, to read it
const pixels = new Uint32Array(picture.bytes.buffer);
for (const i of pixels.keys()) pixels[i] = ((i % SIZE) << 16) | ((i / SIZE) << 8) | 0x7f;
const format = depth | (Z_PIXMAP << 8);
await send([shm, 3], [pixmap, gc, WHOLE, ORIGIN, WHOLE, ORIGIN, format, ours, 0]); // PutImage

await send([73, Z_PIXMAP], [pixmap, ORIGIN, WHOLE, 0xffffff]); // GetImage, through the socket
const image = (await reply()).subarray(32);
await send([shm, 7], [theirs, picture.size, 0]); // CreateSegment: the server's memory
await reply();
using segment = incoming.takeFd();
using copy = SharedMemory.map(segment, { trustSender: true }); // X servers seal nothing
await send([shm, 4], [pixmap, ORIGIN, WHOLE, 0xffffff, Z_PIXMAP, theirs, 0]); // ShmGetImage
await reply();

if (!image.equals(picture.bytes)) throw new Error("another picture came through the socket");
if (!image.equals(copy.bytes)) throw new Error("another picture is in the server's memory");
console.log(`${pixels.length} pixels went and came: display :${number} maps our memory, we its`);
