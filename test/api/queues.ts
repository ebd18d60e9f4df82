// Message queues for tests: names of their own, removed afterwards.

import { MessageQueue, type QueueOptions } from "../../src/index.ts";

let count = 0;

/** A name that no other test has. */
export const freshQueueName = (): string => `/bunix-test-${process.pid}-${++count}`;

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
