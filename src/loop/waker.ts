// What turns "the selector has something" into a turn of Bun's event loop.

import { whyFatal } from "../syscalls/asked-calls.ts";
import { hasEpoll } from "../syscalls/epoll.ts";
import { AioWaker } from "./aio-waker.ts";
import type { Selector } from "./selector.ts";
import { ThreadWaker } from "./thread-waker.ts";

export interface Waker {
  readonly kind: "aio" | "thread";
  /**
   * Call back once when the selector's descriptor is readable, at once if it already is. Asking
   * again before that changes nothing, unless the selector has something else beside it now. While
   * asked with `keepAlive`, the process stays alive.
   */
  arm(keepAlive: boolean): void;
  /** No longer keep the process alive. A call back that was asked for may still come. */
  release(): void;
}

/** Which waker this JS thread uses, and if it is not the first choice, why. */
export interface WakerChoice {
  readonly waker: Waker;
  readonly reason?: string;
}

/** Try the AIO waker, fall back to the thread; BUNIX_WAKER=aio|thread forces one of them. */
export function chooseWaker(selector: Selector, onWake: () => void): WakerChoice {
  const forced = process.env["BUNIX_WAKER"];
  if (forced === "thread") {
    return { waker: new ThreadWaker(selector, onWake), reason: "BUNIX_WAKER=thread" };
  }
  if (!hasEpoll) {
    return { waker: new ThreadWaker(selector, onWake), reason: "there is no AIO poll of epoll" };
  }
  // a filter may kill the process that makes the call, so the call itself cannot be the test
  const aio = whyFatal("io_setup") ?? AioWaker.create(selector.fd, onWake);
  if (typeof aio !== "string") return { waker: aio };
  if (forced === "aio") throw new Error(`BUNIX_WAKER=aio, but ${aio}`);
  return { waker: new ThreadWaker(selector, onWake), reason: aio };
}
