// The only file that reads process.platform, process.arch and the names of libc.

export type System = "linux" | "darwin";
export type Arch = "x64" | "arm64";

/**
 * "darwin": macOS's column and calls on Linux, where a library of the tests' own (test/darwin) is
 * found under the name of Apple's. Published code does not ask (scripts/tables.ts).
 */
const pretended: string | undefined = process.env["BUNIX_SYSTEM"];

/** Which column of the tables holds here. Anything that is not macOS is read as Linux. */
export const system: System =
  process.platform === "darwin" || pretended === "darwin" ? "darwin" : "linux";

/** Which architecture holds where a number differs between them (system call numbers). */
export const arch: Arch = process.arch === "arm64" ? "arm64" : "x64";

/** True where arguments of a variadic function go to the stack (`variadic` in symbols.ts). */
export const variadicOnStack = system === "darwin" && (arch === "arm64" || pretended === system);

/** True where a column was checked on a real machine (README, "Platforms"). */
export const verified = system === "linux" && process.platform === "linux";

/** True where at least the tables have a column. */
export const known = process.platform === "linux" || process.platform === "darwin";

/** libc under its names: glibc, musl by its own names, macOS. The first that opens is used. */
export const libcNames: readonly string[] =
  system === "darwin"
    ? ["libSystem.B.dylib"]
    : ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1", "libc.so"];

/** Where glibc before 2.34 has its message queues. */
export const librtName = "librt.so.1";
export const libpthreadName = "libpthread.so.0";
