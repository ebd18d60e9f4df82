// The table of commands: purpose, arguments, exit status. Help, completion and the parsing of
// arguments are made from it.

import type { Wanted } from "./options.ts";

/** An option of a command, beside --json and --help, which all commands have. */
export interface Option {
  readonly name: string;
  /** The name of its value in help; left out: it has none. */
  readonly value?: string;
  /** It may be given several times. */
  readonly many?: boolean;
  /** All possible values. */
  readonly words?: readonly string[];
  readonly about: string;
}

/** A command. */
export interface Command {
  readonly name: string;
  /** Its arguments, as help writes them. */
  readonly takes: string;
  /** How many arguments that are not options it takes at most. */
  readonly max: number;
  /** How its first argument is completed. */
  readonly first?: "socket" | "directory" | readonly string[];
  readonly about: string;
  readonly options: readonly Option[];
  readonly notes?: readonly string[];
  /** Its exit codes and their meaning, beside 64 and 71. */
  readonly ends?: readonly (readonly [code: number, meaning: string])[];
}

const TYPES = ["stream", "seqpacket", "datagram"] as const;

const type: Option = {
  name: "type",
  value: "TYPE",
  words: TYPES,
  about: "stream, seqpacket or datagram",
};

const talking: readonly Option[] = [
  { name: "seqpacket", about: "connections of messages, not of bytes" },
  { name: "datagram", about: "single messages, no connection" },
  { name: "abstract", about: 'ADDRESS is an abstract name, also without "@"' },
  { name: "raw", about: "write received bytes unmodified, and nothing else" },
];

/** All of them, in the order of help. */
export const commands: readonly Command[] = [
  {
    name: "probe",
    takes: "ADDRESS",
    max: 1,
    first: "socket",
    about: "the state of an address, and its holders",
    options: [type],
    ends: [
      [0, "listening, or bound: a live process has the address"],
      [1, "stale: a socket's file whose socket is gone"],
      [2, "free: nothing is there"],
      [3, "none of these: not a socket, of another type, or this process may not look"],
    ],
  },
  {
    name: "ls",
    takes: "[TEXT]",
    max: 1,
    about: "all Unix sockets with their processes, as ss -x lists them",
    options: [
      { name: "listening", about: "only those that listen" },
      type,
      { name: "no-holders", about: "without the processes: faster" },
      { name: "watch", about: "go on, and print sockets that appear and disappear" },
    ],
    notes: [
      "TEXT: only lines that contain it. --watch looks twice a second, and marks lines with + and",
      "-; what appears and disappears in between is not seen. Ctrl-C ends it.",
    ],
  },
  {
    name: "graph",
    takes: "[TEXT]",
    max: 1,
    about: "who talks to whom: processes, listeners, connections",
    options: [
      { name: "dot", about: "for Graphviz: bunix graph --dot | dot -Tsvg" },
      { name: "mermaid", about: "for Mermaid" },
      { name: "svg", about: "a picture; no other program is needed" },
      { name: "no-stale", about: "do not look for stale socket files" },
    ],
    notes: [
      "TEXT: only processes and addresses that contain it, and what they are tied to. Other users'",
      "processes are seen by root only.",
    ],
  },
  {
    name: "listen",
    takes: "ADDRESS",
    max: 1,
    first: "socket",
    about: "print who connects, and what they send",
    options: [...talking, { name: "once", about: "end with the first connection, or message" }],
    notes: [
      "Standard input goes to all that are connected: a stream gets bytes, the others a message",
      "for each line. Descriptors that come are described, and closed. Ctrl-C ends it.",
    ],
    ends: [[0, "ended by a signal, or --once and the first has ended"]],
  },
  {
    name: "send",
    takes: "ADDRESS [TEXT...]",
    max: Number.POSITIVE_INFINITY,
    first: "socket",
    about: "send TEXT, or standard input, and descriptors",
    options: [
      ...talking,
      { name: "fd", value: "N|PATH", many: true, about: "a descriptor of bunix's, or a file" },
      { name: "wait", about: "wait for the answer: a message, or all until a stream ends" },
      { name: "timeout", value: "SECONDS", about: "wait for no longer" },
      { name: "pid", value: "PID", about: "no ADDRESS: give --fd to this process (sendFd)" },
      { name: "signal", value: "NAME", about: "with --pid: the signal it has, as SIGRTMIN+3" },
    ],
    notes: [
      "A stream gets TEXT with an end of line, with --raw without. Without TEXT standard input",
      "is sent: a stream gets its bytes, the others a message for each line, with --raw one.",
      "Descriptors go with the first message.",
    ],
    ends: [
      [0, "sent, and with --wait answered"],
      [1, "no answer came"],
      [130, "interrupted before"],
    ],
  },
  {
    name: "doctor",
    takes: "",
    max: 0,
    about: "what this system has, and whether it works",
    options: [],
    ends: [
      [0, "everything that this system has works"],
      [1, "something does not work"],
    ],
  },
  {
    name: "postbox",
    takes: "[DIR]",
    max: 1,
    first: "directory",
    about: "print messages from a FIFO, sockets, signals, a queue",
    options: [],
    notes: [
      "It prints its addresses. DIR is made if it is missing; without it a directory of your own",
      "is used. With --json one object in each line. Ctrl-C ends it.",
    ],
  },
  {
    name: "completion",
    takes: "SHELL",
    max: 1,
    first: ["bash", "zsh", "fish"],
    about: "a script that completes all this in bash, zsh or fish",
    options: [],
    notes: [
      'bash: eval "$(bunix completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc, after',
      "compinit; fish: bunix completion fish | source, in ~/.config/fish/config.fish.",
    ],
  },
  {
    name: "help",
    takes: "[COMMAND]",
    max: 1,
    about: "this text, or the help of one command",
    options: [],
  },
  { name: "version", takes: "", max: 0, about: "the version, as --version", options: [] },
];

/** @throws if there is none of that name */
export function commandNamed(name: string): Command {
  const found = commands.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no command ${name}`);
  return found;
}

/** What `parse` has to know of a command. */
export function wanted(name: string): Wanted {
  const { options, max } = commandNamed(name);
  const names = (which: (option: Option) => boolean): string[] =>
    options.filter(which).map((option) => option.name);
  return {
    flags: names(({ value }) => value === undefined),
    values: names(({ value, many }) => value !== undefined && many !== true),
    lists: names(({ many }) => many === true),
    max,
  };
}
