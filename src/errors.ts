// The errors that this library throws, beside TypeError and RangeError. Those of one feature are
// behind its door: AddressInUseError, QueueLimitError, NotAFifoError, RemoteError.

export { UnixError, UnsupportedError } from "./base/errors.ts";
