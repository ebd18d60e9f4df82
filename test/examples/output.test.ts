// What the short examples print.

import { expect, setDefaultTimeout, test } from "bun:test";
import { runScript, slower, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";

setDefaultTimeout(30_000 * slower);

const expected: Readonly<Record<string, readonly (string | RegExp)[]>> = {
  "channel-jobs": [
    /^{"words":4}$/,
    /^{"words":4}$/,
    "TimeoutError",
    /^[ab]: 4 words$/,
    /^[ab]: 4 words$/,
  ],
  "channel-pool": [0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => `answer ${n * n}`),
  "channel-supervisor": [1, 2, 3].map(
    (life) => `life ${life}: answered by the child: true, it ended with 1`,
  ),
  fifo: ["one", "two", "three", "and from here"],
  "message-queue": ["3 of 5 messages", "9 fire!", "1 make coffee", "0 tidy up"],
  process: [
    "alive: true, its parent is us: true",
    'its standard input begins with "// A process"',
    "ended by SIGTERM, alive: false",
  ],
  "shared-memory": ["written by the child"],
  signals: [/^from \d+: 1, 2, 3$/, "SIGUSR1 by user"],
};

for (const [name, lines] of Object.entries(expected)) {
  test(`examples/${name}.ts`, async () => {
    using dir = tempDir();
    const said = succeeded(await runScript(`examples/${name}.ts`, [], { cwd: dir.path }));
    const all = said.trimEnd().split("\n");
    expect(all).toHaveLength(lines.length);
    for (const [i, line] of lines.entries()) {
      if (typeof line === "string") expect(all[i]).toBe(line);
      else expect(all[i]).toMatch(line);
    }
  });
}
