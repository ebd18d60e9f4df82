// Objects that wait on Bun's event loop until they are closed.

/**
 * An object that keeps the process alive while something waits on it, unless `unref` was called.
 */
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
