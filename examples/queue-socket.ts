// Sockets over POSIX message queues: streams with ends, datagrams that wait for room.
//
//   bun examples/queue-socket.ts

import { connectQueue, listenQueue, openQueueDatagram } from "bunix";

const name = `/bunix-example-${process.pid}`;
using listener = listenQueue(name); // its own while it lives; a crash leaves nothing in the way
const [client, server] = await Promise.all([connectQueue(name), listener.accept()]);

await client.send("ping");
client.end();
const request = await server.receive();
await server.send(`${request?.text()} from process ${server.peerCredentials().pid}`);
const answer = await client.receive();
const end = await server.receive(); // null
client.close();
server.close();

using inbox = openQueueDatagram(`${name}-inbox`);
using sender = openQueueDatagram();
const sending = Array.from({ length: 100 }, (_, i) => sender.send(`${i}`, { to: `${name}-inbox` }));
const received: string[] = [];
while (received.length < 100) received.push((await inbox.receive()).text());
await Promise.all(sending);

console.log(answer?.text(), end, received.length); // none dropped, although eight fit
if (answer?.text() !== `ping from process ${process.pid}` || end !== null) process.exitCode = 1;
