// What this kernel, libc and Bun can do, found out by trying.

export { type Capabilities, type Capability, capabilities } from "./capabilities/capabilities.ts";
