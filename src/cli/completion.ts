// bunix completion SHELL: the table in commands.ts as a script for a shell.

import { type Command, commands, type Option, wanted } from "./commands.ts";
import { parse, UsageError } from "./options.ts";
import { print } from "./terminal.ts";

/** Print the script; the result is the exit code. */
export function completion(args: readonly string[]): number {
  const [shell] = parse(args, wanted("completion")).rest;
  if (shell === undefined) throw new UsageError("for which shell? bash, zsh or fish");
  const script = scripts.get(shell);
  if (script === undefined) throw new UsageError(`bash, zsh or fish, not ${shell}`);
  print(script());
  return 0;
}

const json: Option = { name: "json", about: "JSON output" };
const helped: Option = { name: "help", about: "help for this command" };
const optionsOf = ({ options }: Command): readonly Option[] => [...options, json, helped];

/** A word in single quotes, for any of the three. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const valuesOf = (options: readonly Option[]): readonly Option[] =>
  options.filter(({ value }) => value !== undefined);

function bash(): string {
  const cases = commands.map((command) => {
    const { name, first } = command;
    const words = optionsOf(command).map((option) => `--${option.name}`);
    const more = Array.isArray(first) ? first : [];
    const files = first === "socket" || first === "directory" ? "yes" : "";
    return `    ${name}) words=${quoted([...words, ...more].join(" "))}; files=${files} ;;`;
  });
  const values = commands.flatMap(({ options }) => valuesOf(options));
  const byName = new Map(values.map((option) => [option.name, option.words ?? []]));
  const after = [...byName].map(([name, words]) => {
    const answer = words.length > 0 ? `-W ${quoted(words.join(" "))}` : "-f";
    return `    --${name}) mapfile -t COMPREPLY < <(compgen ${answer} -- "$word"); return ;;`;
  });
  const names = commands.map(({ name }) => name);
  return `# bash completion for bunix: eval "$(bunix completion bash)"
_bunix() {
  local word=\${COMP_WORDS[COMP_CWORD]} words= files=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W ${quoted(names.join(" "))} -- "$word")
    return
  fi
  case \${COMP_WORDS[COMP_CWORD-1]} in
${after.join("\n")}
  esac
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
  esac
  mapfile -t COMPREPLY < <(
    compgen -W "$words" -- "$word"
    if [ -n "$files" ]; then compgen -f -- "$word"; fi
  )
}
complete -o filenames -F _bunix bunix`;
}

/** A word of zsh's _arguments and _describe: ":" and brackets mean something there. */
const zshText = (text: string): string => text.replace(/[[\]:\\]/g, "\\$&");

function zshOption({ name, value, words, about, many }: Option): string {
  const action = words === undefined ? "_files" : `(${words.join(" ")})`;
  const tail = value === undefined ? "" : `:${zshText(value)}:${action}`;
  return quoted(`${many === true ? "*" : ""}--${name}[${zshText(about)}]${tail}`);
}

function zshFirst({ first }: Command): string[] {
  if (first === undefined) return [];
  if (first === "directory") return [quoted("1:directory:_files -/")];
  if (first === "socket") return [quoted("1:address:_files")];
  return [quoted(`1:word:(${first.join(" ")})`)];
}

function zsh(): string {
  const described = commands.map(({ name, about }) => quoted(`${name}:${zshText(about)}`));
  const cases = commands.map((command) => {
    const words = [...optionsOf(command).map(zshOption), ...zshFirst(command)];
    return `    ${command.name}) _arguments ${words.join(" ")} ;;`;
  });
  return `#compdef bunix
# zsh completion for bunix: eval "$(bunix completion zsh)", after compinit
_bunix() {
  local -a known
  known=(${described.join(" ")})
  if (( CURRENT == 2 )); then
    _describe command known
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${cases.join("\n")}
  esac
}
compdef _bunix bunix`;
}

function fish(): string {
  const lines = ["# fish completion for bunix: bunix completion fish | source"];
  for (const { name, about } of commands) {
    const line = "complete -c bunix -f -n __fish_use_subcommand";
    lines.push(`${line} -a ${name} -d ${quoted(about)}`);
  }
  for (const command of commands) {
    const seen = `-n '__fish_seen_subcommand_from ${command.name}'`;
    const { first } = command;
    if (first === "socket" || first === "directory") lines.push(`complete -c bunix -F ${seen}`);
    else if (first !== undefined) {
      lines.push(`complete -c bunix -f ${seen} -a ${quoted(first.join(" "))}`);
    }
    for (const { name, value, words, about } of optionsOf(command)) {
      const takes = value === undefined ? "" : words === undefined ? " -r" : " -x";
      const values = words === undefined ? "" : ` -a ${quoted(words.join(" "))}`;
      lines.push(`complete -c bunix ${seen} -l ${name}${takes}${values} -d ${quoted(about)}`);
    }
  }
  return lines.join("\n");
}

const scripts = new Map<string, () => string>([
  ["bash", bash],
  ["zsh", zsh],
  ["fish", fish],
]);
