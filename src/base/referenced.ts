// What waits on Bun's event loop and is closed in the end.

/** What may keep the process alive while it waits, until it is closed. */
export abstract class Referenced implements Disposable {
  /** Keep the process alive while something waits here. The default. */
  ref(): this {
    this.reference(true);
    return this;
  }

  /** Do not keep the process alive for what waits here. */
  unref(): this {
    this.reference(false);
    return this;
  }

  /** @internal */
  protected abstract reference(on: boolean): void;

  /** Close at once. Never throws. */
  abstract close(): void;

  [Symbol.dispose](): void {
    this.close();
  }
}
