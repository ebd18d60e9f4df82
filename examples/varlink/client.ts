// A Varlink client of server.ts: all that its interface has.
//
//   bun examples/varlink/client.ts ADDRESS

import { readFileSync } from "node:fs";
import { type Fd, SharedMemory } from "bunix";
import { Caller } from "./caller.ts";

using service = await Caller.to(process.argv[2] ?? "");
const { product, interfaces } = await service.call("org.varlink.service.GetInfo");
console.log(`${product}: ${(interfaces as string[]).join(", ")}`);

// all of it goes out at once
const notes = "org.example.Notes";
await service.oneway(`${notes}.Note`, { line: "first" });
using memory = SharedMemory.create("second\nthird\n");
const importing = service.call(`${notes}.Import`, { file: memory });
const failing = service.call(`${notes}.Note`, { line: 4 }).catch((error) => error);
console.log(`imported: ${(await importing)["lines"]}`);
const { message, parameters } = await failing;
console.log(message, JSON.stringify(parameters));

for await (const { line, number } of service.more(`${notes}.List`)) console.log(number, line);
const { file } = await service.call(`${notes}.Export`, {}, ["file"]);
using exported = file as Fd;
console.log(readFileSync(`/proc/self/fd/${exported.fd}`, "utf8").split("\n").length, "lines");
