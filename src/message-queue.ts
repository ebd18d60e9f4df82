// POSIX message queues: bounded mailboxes with a name and priorities, which outlive processes.

export { type QueueLimit, QueueLimitError } from "./message-queue/limits.ts";
export { maxPriority, QueueMessage, type QueueSendOptions } from "./message-queue/message.ts";
export type { QueueNotification } from "./message-queue/notify.ts";
export type { Access as QueueAccess, QueueOptions } from "./message-queue/open.ts";
export type { QueueOwner } from "./message-queue/owner.ts";
export { MessageQueue } from "./message-queue/queue.ts";
export type { QueueAttributes } from "./structs/mq-attr.ts";
