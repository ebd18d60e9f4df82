// Message queues for tests: names of their own, removed afterwards.

import { MessageQueue, type QueueOptions } from "../../src/index.ts";
import { atEnd } from "../support/at-end.ts";

const given: string[] = [];

/** Of a queue, or of the one behind a queue socket, with what tests put between. */
const endings = ["", "-socket.queue-socket"];

/** A name that no other test has. */
export function freshQueueName(): string {
  const name = `/bunix-test-${process.pid}-${given.length + 1}`;
  given.push(name);
  return name;
}

/** Crashes and faults leave names, as they should; the system has room for 256 in all. */
atEnd(() => {
  for (const name of given) for (const ending of endings) removeQueue(`${name}${ending}`);
});

/** Remove a name that may be gone already. */
export function removeQueue(name: string): void {
  try {
    MessageQueue.unlink(name);
  } catch {
    // not there
  }
}

/** A new queue without a name, closed at the end of the block. */
export function newQueue(options: QueueOptions = {}): MessageQueue {
  const queue = MessageQueue.open(freshQueueName(), { create: true, exclusive: true, ...options });
  queue.unlink();
  return queue;
}

/** A queue that can be opened by its name until the block ends. */
export function namedQueue(options: QueueOptions = {}): MessageQueue & { readonly name: string } {
  const name = freshQueueName();
  const queue = MessageQueue.open(name, { create: true, exclusive: true, ...options });
  const close = queue.close.bind(queue);
  queue.close = () => {
    if (!queue.closed) removeQueue(name);
    close();
  };
  return queue as MessageQueue & { readonly name: string };
}
