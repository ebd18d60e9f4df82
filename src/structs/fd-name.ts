// The names of descriptors, as systemd has them: sd_listen_fds(3), sd_notify(3).

/** systemd's FDNAME_MAX. */
export const MAX_FD_NAME = 255;

/** What fdname_is_valid takes: ASCII without controls and colons. */
const NAME = /^[ -9;-~]+$/;

/** In words, for errors. */
export const FD_NAME_RULE = `1 to ${MAX_FD_NAME} printable ASCII characters without ":"`;

/** Whether a descriptor may have that name. */
export const isFdName = (name: string): boolean => name.length <= MAX_FD_NAME && NAME.test(name);

/**
 * Whether a name comes back as it was from a manager that stores it: systemd 257 writes a backslash
 * into LISTEN_FDNAMES as it is, and who reads that loses it.
 */
export const isStorableFdName = (name: string): boolean => isFdName(name) && !name.includes("\\");

/**
 * Names as LISTEN_FDNAMES has them, between colons. Who reads them takes a backslash for "the next
 * character as it is" (libsystemd too), so a backslash is written twice.
 */
export const joinFdNames = (names: readonly string[]): string =>
  names.map((name) => name.replaceAll("\\", "\\\\")).join(":");

/** The names in LISTEN_FDNAMES; null if it ends in a lone backslash. */
export function splitFdNames(text: string): string[] | null {
  if (text === "") return [];
  if (!/^(?:\\.|[^\\])*$/su.test(text)) return null;
  const names = `:${text}`.matchAll(/:((?:\\.|[^\\:])*)/gsu);
  return Array.from(names, ([, name]) => (name ?? "").replace(/\\(.)/gsu, "$1"));
}
