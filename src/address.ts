// Addresses: text ↔ Address.

export { type AddressInput, formatAddress, parseAddress } from "./address/address.ts";
export type { Address } from "./structs/sockaddr-un.ts";
