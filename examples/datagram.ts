// Datagrams over Unix sockets: whole, in order, and none is lost. Sending waits for room.
//
//   bun examples/datagram.ts

import { formatAddress, openDatagram } from "bunix";

using service = openDatagram({ autobind: true }); // the kernel picks a free abstract name
using client = openDatagram({ autobind: true }, { passCredentials: true });
const address = service.localAddress;

const COUNT = 1_000; // the kernel's queue holds about ten
const sending = (async () => {
  for (let i = 0; i < COUNT; i++) await client.send(`question ${i}`, { to: address });
})();

for (let i = 0; i < COUNT; i++) {
  using question = await service.receive();
  if (question?.text() !== `question ${i}`) throw new Error(`lost or out of order at ${i}`);
  if (i === COUNT - 1 && question.from) await service.send("answer", { to: question.from });
}
await sending;

using answer = await client.receive();
console.log(`${COUNT} questions came, in order, at ${formatAddress(address)}`);
console.log(`"${answer?.text()}" came back from pid ${answer?.credentials?.pid}`);
