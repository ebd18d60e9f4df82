// Addresses: text ↔ Address, and the way to name one that is too long for the kernel.

export { type AddressInput, formatAddress, parseAddress } from "./address/address.ts";
export type { Address } from "./structs/sockaddr-un.ts";
