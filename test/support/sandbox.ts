// Processes that may not do something, as a service manager's unit has them.

import { run } from "./child.ts";
import { missing } from "./peers.ts";
import { noCompiledPrograms } from "./unless.ts";

/** prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), then the command. */
const RESTRICTED = `import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0) != 0:
    print("prctl:", os.strerror(ctypes.get_errno()))
    sys.exit(3)
os.execv(sys.argv[1], sys.argv[1:])`;

/** `command` without memory that becomes executable, as MemoryDenyWriteExecute=yes has it. */
export const withoutExecutableMemory = (command: readonly string[]): string[] => [
  ...["python3", "-c", RESTRICTED],
  ...command,
];

/** Why a process cannot be restricted so; null where it can. */
export async function noMemoryRestriction(): Promise<string | null> {
  const lacking = missing(["python3"]) ?? noCompiledPrograms();
  if (lacking !== null) return lacking;
  const { code, stdout } = await run(withoutExecutableMemory(["/bin/true"]));
  return code === 0 ? null : `PR_SET_MDWE came with Linux 6.3 (${stdout.trim()})`;
}
