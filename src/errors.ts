// Every error that this library throws. All layers may import this file; it imports only numbers,
// and what makes the text of others safe to show.

export { UnixError, UnsupportedError } from "./base/errors.ts";
