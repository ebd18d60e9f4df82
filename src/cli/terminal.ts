// What a command that runs for a while has to do with whoever started it: signals that end it,
// standard output, which may be slow or end, and standard input.

const stops = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Somebody wants this to end. */
export class Stop implements Disposable {
  #told = Promise.withResolvers<void>();
  readonly #listener = (): void => this.#told.resolve();

  constructor() {
    for (const signal of stops) process.on(signal, this.#listener);
  }

  /** The next time; whoever cannot wait for the end of the end says it again. */
  next(): Promise<void> {
    const { promise } = this.#told;
    promise.then(() => {
      this.#told = Promise.withResolvers();
    });
    return promise;
  }

  [Symbol.dispose](): void {
    for (const signal of stops) process.off(signal, this.#listener);
  }
}

/** Standard output, which may be slower than what comes in, or end. */
export class Output implements Disposable {
  #room: Promise<void> | null = null;
  readonly #gone = Promise.withResolvers<void>();
  readonly #failed = (): void => this.#gone.resolve();

  constructor() {
    process.stdout.on("error", this.#failed);
  }

  /** When nobody reads it any more. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** A promise where the reader has to catch up first. */
  line(text: string): Promise<void> | undefined {
    return this.bytes(`${text}\n`);
  }

  /** The same with bytes, as they are. */
  bytes(data: string | Uint8Array): Promise<void> | undefined {
    if (process.stdout.write(data)) return undefined;
    this.#room ??= new Promise((resolve) => {
      process.stdout.once("drain", () => {
        this.#room = null;
        resolve();
      });
    });
    return this.#room;
  }

  [Symbol.dispose](): void {
    process.stdout.off("error", this.#failed);
  }
}

const NEWLINE = 10;

/** Standard input, in pieces as they come; it is not touched before it is asked for. */
export class Input implements Disposable {
  #wanted: ((chunk: Uint8Array | null) => void) | null = null;
  readonly #chunks: Uint8Array[] = [];
  #begun = false;
  #ended = false;
  readonly #data = (chunk: Uint8Array): void => {
    process.stdin.pause();
    this.#chunks.push(new Uint8Array(chunk));
    this.#answer();
  };
  readonly #end = (): void => {
    this.#ended = true;
    this.#answer();
  };

  #begin(): void {
    this.#begun = true;
    process.stdin.on("data", this.#data).on("end", this.#end).on("error", this.#end).pause();
  }

  /** The next piece; null at the end. */
  next(): Promise<Uint8Array | null> {
    if (!this.#begun) this.#begin();
    return new Promise((resolve) => {
      this.#wanted = resolve;
      if (!this.#answer()) process.stdin.resume();
    });
  }

  #answer(): boolean {
    if (this.#wanted === null || (this.#chunks.length === 0 && !this.#ended)) return false;
    const answer = this.#wanted;
    this.#wanted = null;
    answer(this.#chunks.shift() ?? null);
    return true;
  }

  /** Whole lines without their ends; what is left at the end is the last one. */
  async *lines(): AsyncGenerator<Uint8Array> {
    let rest: Uint8Array[] = [];
    for (let chunk = await this.next(); chunk !== null; chunk = await this.next()) {
      let from = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        yield Buffer.concat([...rest, chunk.subarray(from, end)]);
        rest = [];
        from = end + 1;
      }
      if (from < chunk.length) rest.push(chunk.subarray(from));
    }
    if (rest.length > 0) yield Buffer.concat(rest);
  }

  /** All of it. */
  async all(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (let chunk = await this.next(); chunk !== null; chunk = await this.next()) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** Read no more; whatever waits for input does not keep the program alive. */
  [Symbol.dispose](): void {
    if (!this.#begun) return;
    process.stdin.off("data", this.#data).off("end", this.#end).off("error", this.#end);
    process.stdin.pause();
    (process.stdin as { unref?: () => void }).unref?.(); // a file or /dev/null has none
  }
}
