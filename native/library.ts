// Libraries that are open: dlfcn.h.

import { constants } from "./table.ts";

/** What stands where a library's handle would: look in all that are open. */
export const search = constants(["dlfcn.h"], { "(long)RTLD_DEFAULT": [0, -2] });
