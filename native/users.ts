// Users and groups by name: what getpwuid_r and its kin fill in.

import { layout } from "./table.ts";

export const passwd = layout("struct passwd", ["pwd.h"], [48, 72], {
  pw_name: [
    [0, 0],
    [8, 8],
  ],
  pw_uid: [
    [16, 16],
    [4, 4],
  ],
});

export const group = layout("struct group", ["grp.h"], [32, 32], {
  gr_name: [
    [0, 0],
    [8, 8],
  ],
  gr_gid: [
    [16, 16],
    [4, 4],
  ],
});
