// bunix completion: what the shells themselves make of the scripts.

import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { commands } from "../../src/cli/commands.ts";
import { run, slower, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { bunix } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const script = async (shell: string): Promise<string> =>
  succeeded(await bunix(["completion", shell]));

/** What bash offers after these words, the last of which is being typed. */
async function offered(words: readonly string[], cwd: string): Promise<string[]> {
  const asked = words.map((word) => `'${word}'`).join(" ");
  const program = `${await script("bash")}
COMP_WORDS=(bunix ${asked}); COMP_CWORD=${words.length}; _bunix; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const outcome = await run(["bash", "--norc", "-u", "-c", program], { cwd });
  return succeeded(outcome).split("\n").filter(Boolean).sort();
}

test("bash offers commands, options, values and files", async () => {
  using dir = tempDir();
  writeFileSync(dir.file("some sock"), "");
  const names = commands.map(({ name }) => name).sort();
  expect(await offered([""], dir.path)).toEqual(names);
  expect(await offered(["p"], dir.path)).toEqual(["postbox", "probe"]);
  expect(await offered(["probe", "--"], dir.path)).toEqual(["--help", "--json", "--type"]);
  expect(await offered(["probe", "so"], dir.path)).toEqual(["some sock"]);
  expect(await offered(["ls", "--type", "s"], dir.path)).toEqual(["seqpacket", "stream"]);
  expect(await offered(["completion", ""], dir.path)).toContain("zsh");
  expect(await offered(["doctor", "so"], dir.path)).toEqual([]);
});

peerTest("zsh offers commands, options and values", ["zsh"], async () => {
  using dir = tempDir();
  writeFileSync(dir.file("bunix.zsh"), await script("zsh"));
  // completion needs a line that is edited: a second zsh behind a pseudo-terminal
  const offers = async (line: string): Promise<string> => {
    const program = `zmodload zsh/zpty; zpty inner zsh -f -i
zpty -w inner 'autoload -Uz compinit; compinit -u -D; . ./bunix.zsh; PS1=RE""ADY'
zpty -r inner said '*READY*'
zpty -w -n inner '${line}'$'\\t\\t'
zpty -w inner $'\\025print DO""NE' # the line is given up: whatever was offered has been written
zpty -r inner said '*DONE*'; print -r -- "$said"`;
    const env = { TERM: "dumb", HOME: dir.path };
    return succeeded(await run(["zsh", "-f", "-c", program], { cwd: dir.path, env }));
  };
  expect(await offers("bunix p")).toMatch(/postbox [\s\S]*probe /);
  expect(await offers("bunix probe --ty")).toContain("--type");
  expect(await offers("bunix probe --type s")).toMatch(/seqpacket +stream/);
});

peerTest("fish offers commands, options and values", ["fish"], async () => {
  using dir = tempDir();
  const source = await script("fish");
  const offers = async (line: string): Promise<string[]> => {
    const program = `${source}\ncomplete -C '${line}'`;
    const env = { HOME: dir.path, XDG_CONFIG_HOME: dir.path, XDG_DATA_HOME: dir.path };
    const outcome = await run(["fish", "--no-config", "-c", program], { env, cwd: dir.path });
    return succeeded(outcome)
      .split("\n")
      .map((row) => row.split("\t")[0]!)
      .filter(Boolean)
      .sort();
  };
  expect(await offers("bunix ")).toEqual(commands.map(({ name }) => name).sort());
  expect(await offers("bunix send --ti")).toEqual(["--timeout"]);
  expect(await offers("bunix probe --type s")).toEqual(["seqpacket", "stream"]);
});
