// A post box as a program sees it.

import { type Child, type Outcome, startScript } from "../support/child.ts";

interface Places {
  readonly channel: "box";
  readonly pid: number;
  readonly directory: string;
  readonly fifo: string;
  readonly socket: string;
  readonly datagram: string;
  readonly queue: string;
  readonly signals: readonly { readonly name: string; readonly number: number }[];
}

/** One line of its output. */
export type Letter = Readonly<Record<string, string | number | null>>;

/** A post box as a program sees it: `--json`. Its end is awaited. */
export class Box implements AsyncDisposable {
  readonly child: Child;
  readonly places: Places;

  private constructor(child: Child, places: Places) {
    this.child = child;
    this.places = places;
  }

  static async open(directory: string, env: Record<string, string> = {}): Promise<Box> {
    const child = startScript("src/cli/main.ts", ["postbox", "--json", directory], { env });
    const first = await child.line();
    if (first === null) throw new Error((await child.exited).stderr);
    return new Box(child, JSON.parse(first));
  }

  async next(): Promise<Letter> {
    const line = await this.child.line();
    if (line === null) throw new Error(`it ended: ${(await this.child.exited).stderr}`);
    return JSON.parse(line);
  }

  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<Outcome> {
    this.child.kill(signal);
    return await this.child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
