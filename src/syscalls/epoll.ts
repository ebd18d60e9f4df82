// epoll, eventfd and the one AIO request that watches an epoll descriptor.

import { toArrayBuffer } from "bun:ffi";
import { nr } from "../../native/numbers.ts";
import { aio, aioRing, eventfd as e, epoll, epollEvent, iocb } from "../../native/poll.ts";
import { timespec } from "../../native/time.ts";
import { libc } from "./libc.ts";
import { asPointer, cells, Memory } from "./memory.ts";
import { INTERRUPTED, result } from "./result.ts";
import { atThreadEnd } from "./thread-teardown.ts";

/** True if this system has it. */
export const hasEpoll = epoll.EPOLL_CTL_ADD !== null;

export const epollCreate = (): number => result(libc.epoll_create1(epoll.EPOLL_CLOEXEC ?? 0));
export const eventfd = (flags: number): number =>
  result(libc.eventfd(0, flags | (e.EFD_CLOEXEC ?? 0)));

const change = new Memory(epollEvent.size);
const duration = new Memory(timespec.size);

/** Add, modify or delete (`op`); the event comes back with `fd` and `tag` as its data. */
export function epollCtl(
  epfd: number,
  op: number,
  { fd, events = 0, tag = 0 }: { fd: number; events?: number; tag?: number },
): number {
  const { view, address } = change;
  view.setUint32(epollEvent.at.events, events, true);
  view.setInt32(epollEvent.at.data, fd, true);
  view.setInt32(epollEvent.at.data + 4, tag, true);
  return result(libc.epoll_ctl(epfd, op, fd, address));
}

/** Add `fd` with another owner's events and data, as the kernel told them. */
export function epollAddAs(
  epfd: number,
  fd: number,
  { events, data }: { events: number; data: bigint },
): number {
  change.view.setUint32(epollEvent.at.events, events, true);
  change.view.setBigUint64(epollEvent.at.data, data, true);
  return result(libc.epoll_ctl(epfd, epoll.EPOLL_CTL_ADD ?? 0, fd, change.address));
}

/** Where the parts of an event are, in words. */
const eventWords = epollEvent.size >> 2;
const dataWord = epollEvent.at.data >> 2;

/** Room for the events of one epoll_wait. */
export class EpollEvents {
  readonly capacity: number;
  readonly #memory: Memory;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#memory = new Memory(capacity * epollEvent.size);
  }

  /** How many are ready now; never waits. */
  wait(epfd: number): number {
    let count: number;
    do count = result(libc.epoll_wait(epfd, this.#memory.address, this.capacity, 0));
    while (count === INTERRUPTED);
    return count;
  }

  /**
   * The same, after this thread has slept for at most that many nanoseconds (fewer than 2³¹).
   * ENOSYS: Linux before 5.11 (facts: #naps-need-5-11). An interrupted sleep has found nothing.
   */
  waitFor(epfd: number, nanoseconds: number): number {
    const { address } = this.#memory;
    const call = nr.SYS_epoll_pwait2 ?? -1;
    duration.words[timespec.at.tv_nsec >> 2] = nanoseconds;
    const count = result(libc.syscall(call, epfd, address, this.capacity, duration.address, 0, 0));
    return count === INTERRUPTED ? 0 : count;
  }

  fd(index: number): number {
    return this.#memory.words[index * eventWords + dataWord]!;
  }
  tag(index: number): number {
    return this.#memory.words[index * eventWords + dataWord + 1]!;
  }
  events(index: number): number {
    return this.#memory.words[index * eventWords]!;
  }
}

/**
 * One AIO context with one request: "count one in `counter` when `watched` is readable".
 * The kernel maps its completion ring at the context's address (io_setup(2), fs/aio.c).
 */
export class AioPoll {
  readonly #context: number;
  readonly #request = new Memory(iocb.size);
  readonly #list = new Memory(8);
  readonly #ring: Uint32Array;
  #pending = false;

  private constructor(context: number, { watched, counter }: { watched: number; counter: number }) {
    this.#context = context;
    this.#ring = new Uint32Array(toArrayBuffer(asPointer(context), 0, aioRing.bytes));
    const { view, address } = this.#request;
    view.setUint16(iocb.at.aio_lio_opcode, aio.IOCB_CMD_POLL ?? 0, true);
    view.setUint32(iocb.at.aio_fildes, watched, true);
    view.setUint32(iocb.at.aio_buf, epoll.EPOLLIN ?? 0, true);
    view.setUint32(iocb.at.aio_flags, aio.IOCB_FLAG_RESFD ?? 0, true);
    view.setUint32(iocb.at.aio_resfd, counter, true);
    this.#list.view.setBigUint64(0, BigInt(address), true);
  }

  /** A context, or a negative errno: ENOSYS (qemu, gVisor), EAGAIN (fs.aio-max-nr used up). */
  static create(target: { watched: number; counter: number }): AioPoll | number {
    const context = new Memory(8);
    const made = result(libc.syscall(nr.SYS_io_setup ?? -1, 1, context.address, 0, 0, 0, 0));
    return made < 0 ? made : new AioPoll(Number(context.view.getBigUint64(0, true)), target);
  }

  /** Ask for one completion; nothing to do while one is asked for and has not come. */
  submit(): number {
    const ring = this.#ring;
    if (this.#pending && ring[aioRing.head >> 2] === ring[aioRing.tail >> 2]) return 0;
    ring[aioRing.head >> 2] = ring[aioRing.tail >> 2]!;
    const list = this.#list.address;
    const taken = result(libc.syscall(nr.SYS_io_submit ?? -1, this.#context, 1, list, 0, 0, 0));
    this.#pending = taken === 1;
    return taken;
  }

  /**
   * Have the context freed when its thread is torn down; before that, never: its ring would go with
   * it (facts: #io-destroy-unmaps-the-ring).
   */
  destroyWithThread(): unknown {
    return atThreadEnd("syscall", nr.SYS_io_destroy ?? -1, this.#context);
  }
}

/** Add to an eventfd's counter. */
export function signalEventfd(fd: number, value: number): number {
  cells.words[0] = value;
  cells.words[1] = 0;
  return result(libc.write(fd, cells.address, 8));
}
