// Paths as latin-1 text, which can be cut and joined without knowing their encoding.

/** A path as latin-1 text. */
export const asLatin = (path: string | Uint8Array): string =>
  Buffer.from(path as string).toString("latin1");

/** Back from latin-1 to the path's bytes. */
export const fromLatin = (text: string): Buffer => Buffer.from(text, "latin1");
