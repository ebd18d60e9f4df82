// The hostile peers of test/fixtures, and what is measured while they are at it.

import { freshAddress } from "../api/pairs.ts";
import { openFds } from "../api/tools.ts";
import { type Child, start } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";

const SOURCE = "test/fixtures/hostile-peer.c";

export interface Attack {
  readonly mode: string;
  readonly address: string;
  /** Default "stream". */
  readonly type?: string;
  readonly count?: number;
}

/** Start the peer in C; it stays until its input ends or it is killed. */
export function attack({ mode, address, type = "stream", count = 1 }: Attack): Child {
  const command = [compileC(SOURCE), mode, address, type, String(count)];
  return start(command, { timeoutMs: 120_000 });
}

/** A test against that peer; slow machines get their time. */
export const hostileTest = (name: string, fn: () => Promise<void>): void =>
  peerTest(name, ["cc"], fn, 120_000);

/** An abstract name or a path that nobody has. */
export const target = (): string => freshAddress("path");

const MEBIBYTE = 2 ** 20;

/** Memory in use that no garbage collection gets back, in MiB. */
export function settledMebibytes(): number {
  Bun.gc(true);
  return process.memoryUsage.rss() / MEBIBYTE;
}

/** The most descriptors open at once, as often as `note` was called. */
export class Peak {
  readonly #before = openFds();
  #max = 0;

  note(): void {
    this.#max = Math.max(this.#max, openFds() - this.#before);
  }
  get max(): number {
    return this.#max;
  }
}
