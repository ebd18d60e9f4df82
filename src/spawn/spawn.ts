// Bun.spawn with descriptors for the child, and a channel to it. What comes back is Bun's own
// Subprocess, on which some properties are redefined (`hideLent`, `attach`): those that would show
// numbers which Bun was only lent, and the channel, which is closed with it.

import type { SpawnOptions as BunOptions, Subprocess, SyncSubprocess } from "bun";
import type { Channel } from "../channel/channel.ts";
import { openChannel } from "../channel/open.ts";
import type { ChannelOptions } from "../channel/options.ts";
import type { SocketOptions } from "../socket/options.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import { makeBlocking } from "./blocking.ts";
import { CHANNEL, ChannelPair, MESSAGES_OVER } from "./channel.ts";
import {
  checkGaps,
  type FdLayout,
  HiddenDescriptors,
  layOut,
  nextFree,
  type Slot,
  type SpawnFds,
  withSlots,
} from "./descriptors.ts";
import { type Environment, listenVariables, withListenPid } from "./listen-names.ts";

type In = BunOptions.Writable;
type Out = BunOptions.Readable;

/** A channel of messages, and how this end of it is opened. */
export interface MessagesOptions {
  /** Options of the parent's end; the child gives its own to `parentMessages`. */
  readonly messages: ChannelOptions;
}

/** What a child's `channel` may be. */
export type SpawnChannel = boolean | "messages" | SocketOptions | MessagesOptions;

/** What `spawn` adds to the options of Bun.spawn. */
export interface SpawnExtras<C extends SpawnChannel = SpawnChannel> {
  /**
   * Descriptors for the child, beside stdin, stdout and stderr. They stay yours: close them when
   * you like, the child has its own. An array becomes 3, 4, …. In a record the numbers 0 to 1,023
   * say where (0, 1 and 2 instead of `stdin`, `stdout` and `stderr`, which are undefined then), and
   * other keys are names, which follow each other from 3 and come with LISTEN_FDS, LISTEN_FDNAMES
   * and LISTEN_PID as systemd sets them. Names are 1 to 255 ASCII characters without colons and
   * control characters.
   *
   * A connected or datagram socket of this library blocks in the child, as programs expect: see
   * `nonBlocking`. An Fd, a number, a listener goes as it is.
   */
  readonly fds?: SpawnFds | undefined;
  /**
   * Leave O_NONBLOCK of the sockets among `fds` as it is, for a child that expects it. The flag is
   * the open file's, so without this it goes for this process, too; its own calls on the socket do
   * not depend on it, and the peer's end has a flag of its own. Default false.
   * @see fcntl(2) F_SETFL
   */
  readonly nonBlocking?: boolean | undefined;
  /**
   * A seqpacket socket between the two: `channel` here, `parentChannel()` there. It takes the first
   * number above all others. Options hold for both ends. Not on macOS, which has no such sockets.
   *
   * "messages": whole messages with descriptors in them, `messages` here, `parentMessages()` there
   * (see `openChannel`), on macOS too; `{ messages: … }` has options for this end.
   */
  readonly channel?: C | undefined;
}

/** The options of Bun.spawn, with `fds` and `channel`. */
export type SpawnOptions<
  I extends In = In,
  O extends Out = Out,
  E extends Out = Out,
  C extends SpawnChannel = SpawnChannel,
> = BunOptions.SpawnOptions<I, O, E> & SpawnExtras<C>;

/** The options of Bun.spawnSync, with `fds`. */
export type SpawnSyncOptions<
  I extends In = In,
  O extends Out = Out,
  E extends Out = Out,
> = BunOptions.SpawnSyncOptions<I, O, E> & Pick<SpawnExtras, "fds" | "nonBlocking">;

/** The `channel` or the `messages` of a child that has them. */
type WithChannel<C> = C extends false | undefined
  ? { readonly channel?: never; readonly messages?: never }
  : C extends "messages" | MessagesOptions
    ? { readonly channel?: never; readonly messages: Channel }
    : { readonly channel: SeqpacketSocket; readonly messages?: never };

/** What {@link spawn} returns: Bun's Subprocess, and the channel if one was asked for. */
export type SpawnedProcess<
  I extends In = In,
  O extends Out = Out,
  E extends Out = Out,
  C extends SpawnChannel = SpawnChannel,
> = Subprocess<I, O, E> & WithChannel<C>;

/** What both kinds of spawn look at. */
interface Options extends SpawnExtras {
  readonly stdio?: readonly Slot[] | undefined;
  readonly stdin?: Slot;
  readonly stdout?: Slot;
  readonly stderr?: Slot;
  readonly env?: Environment | undefined;
  readonly cwd?: string | undefined;
  readonly argv0?: string | undefined;
}

/** Everything that could be checked without a system call. */
interface Request {
  readonly command: readonly string[];
  readonly given: readonly Slot[];
  readonly layout: FdLayout;
  /** The first number above all others of the child: the channel's. */
  readonly free: number;
  readonly options: Options;
}

/**
 * Start a process that has, beside stdin, stdout and stderr, exactly the descriptors in `fds`,
 * under the numbers that you say, and no other. All options of Bun.spawn work as they do there;
 * `env` begins as `process.env` is now.
 *
 * The descriptors are lent: the child gets duplicates. O_NONBLOCK, file offsets and locks belong to
 * the open file, so the two share them. In the child's `stdio` property they are null.
 *
 * With names the command is started through /bin/sh, which sets LISTEN_PID and becomes it by exec:
 * same pid, nothing is quoted, `argv[0]` is the program's full path, and a shell may add PWD, SHLVL
 * and the like. Variables whose names are none to a shell ("a.b") travel as arguments of env(1),
 * which others may see for a moment. A program that cannot be executed ends with 126 or 127 then.
 *
 * With a channel, `channel` (or `messages`) is yours to close; it reads null when the child has
 * closed its end or died, after what it had sent. `await using` ends both of them.
 *
 * @throws TypeError, RangeError before any call: a wrong descriptor, number or name; one number
 *   given twice, also by `stdio`
 * @throws UnixError EBADF (one of `fds` is not open), EMFILE, and ENOENT for a command with names;
 *   else what Bun.spawn throws. Nothing stays open.
 * @throws UnsupportedError for names without /bin/sh, for gaps between numbers before Bun 1.4
 * @see sd_listen_fds(3), socketpair(2)
 */
export function spawn<
  const I extends In = "ignore",
  const O extends Out = "pipe",
  const E extends Out = "inherit",
  const C extends SpawnChannel = false,
>(
  command: readonly string[],
  options: SpawnOptions<I, O, E, C> = {} as SpawnOptions<I, O, E, C>,
): SpawnedProcess<I, O, E, C> {
  const request = checkRequest(command, options as unknown as Options);
  const pair = openPair(request.options.channel);
  try {
    const messages = openMessages(request.options.channel, pair);
    const child = launch(request, pair, (words, bunOptions) =>
      Bun.spawn(words, bunOptions as BunOptions.SpawnOptions<I, O, E>),
    );
    hideLent(child, request);
    if (pair !== null) attach(child, messages ?? pair.ours);
    return child as SpawnedProcess<I, O, E, C>;
  } catch (error) {
    pair?.ours.close();
    throw error;
  } finally {
    pair?.theirs.close();
  }
}

/**
 * Run a process to its end with exactly the descriptors in `fds`: {@link spawn}, but blocking.
 * There is no channel, since nothing could read it while the thread blocks.
 *
 * @throws as {@link spawn}
 */
export function spawnSync<
  const I extends In = "ignore",
  const O extends Out = "pipe",
  const E extends Out = "pipe",
>(
  command: readonly string[],
  options: SpawnSyncOptions<I, O, E> = {} as SpawnSyncOptions<I, O, E>,
): SyncSubprocess<O, E> {
  const request = checkRequest(command, options as unknown as Options);
  if (request.options.channel) throw new TypeError("spawnSync has no channel: use spawn");
  return launch(request, null, (words, bunOptions) =>
    Bun.spawnSync(words, bunOptions as BunOptions.SpawnSyncOptions<I, O, E>),
  );
}

function checkRequest(command: readonly string[], options: Options): Request {
  if (!Array.isArray(command) || command.some((word) => typeof word !== "string")) {
    throw new TypeError("a command is an array of strings: the program and its arguments");
  }
  if (command.length === 0) throw new TypeError("a command has at least the program");
  const layout = layOut(options.fds);
  const given = [...(options.stdio ?? [options.stdin, options.stdout, options.stderr])];
  checkGaps(withSlots(given, layout.slots));
  const { nonBlocking } = options;
  if (nonBlocking !== undefined && typeof nonBlocking !== "boolean") {
    throw new TypeError("nonBlocking is true or false");
  }
  if (layout.names.length > 0 && options.argv0 !== undefined) {
    throw new TypeError("argv0 does not go with names: the shell in between sets its own");
  }
  const { channel } = options;
  const known = channel === undefined || typeof channel === "boolean" || channel === "messages";
  if (!known && typeof channel !== "object") {
    throw new TypeError(`channel is true, false, "messages" or options, not ${String(channel)}`);
  }
  return { command, given, layout, free: nextFree(layout, given), options };
}

function openPair(channel: SpawnExtras["channel"]): ChannelPair | null {
  if (channel === undefined || channel === false) return null;
  if (channel === true) return new ChannelPair("seqpacket");
  if (channel === "messages" || "messages" in channel) return new ChannelPair(MESSAGES_OVER);
  return new ChannelPair("seqpacket", channel);
}

/** The channel of messages over our end, if one was asked for. @throws TypeError, RangeError */
function openMessages(channel: SpawnExtras["channel"], pair: ChannelPair | null): Channel | null {
  if (pair === null) return null;
  if (channel === "messages") return openChannel(pair.ours);
  if (typeof channel !== "object" || !("messages" in channel)) return null;
  return openChannel(pair.ours, channel.messages);
}

/** Bun's own call, with the child's descriptors open as long as it takes. */
function launch<T>(
  { command, given, layout, free, options }: Request,
  pair: ChannelPair | null,
  call: (command: string[], options: object) => T,
): T {
  const slots = new Map(layout.slots);
  if (pair !== null) slots.set(free, pair.theirs.fd);
  const env: Environment = { ...(options.env ?? process.env), [CHANNEL]: pair?.named(free) };
  if (layout.names.length > 0) Object.assign(env, listenVariables(layout.names));
  const words =
    layout.names.length > 0 ? withListenPid(command, { cwd: options.cwd, env }) : [...command];
  using lent = new HiddenDescriptors(slots, free + ROOM);
  const undo = makeBlocking(options.nonBlocking === true ? [] : layout.sockets);
  try {
    return call(words, { ...forBun(options), env, stdio: withSlots(given, lent.slots) });
  } catch (error) {
    undo();
    throw error;
  }
}

/** What of the options Bun is to look at. */
function forBun(options: Options): object {
  const { fds: _fds, channel: _channel, nonBlocking: _flag, ...others } = options;
  const { stdin: _in, stdout: _out, stderr: _err, ...rest } = others;
  return rest;
}

/** Above the last of ours: the channel, and what Bun itself adds for `ipc`. */
const ROOM = 2;

/** The numbers that Bun was lent are of no use to anybody, and some are closed by now. */
function hideLent(child: object, { layout: { slots }, free }: Request): void {
  const proto = Object.getPrototypeOf(child) as object;
  const stdio = Object.getOwnPropertyDescriptor(proto, "stdio")?.get;
  if (stdio === undefined) return;
  const get = (): unknown[] => {
    const all = stdio.call(child) as unknown[];
    return all.map((entry, number) => (slots.has(number) || number === free ? null : entry));
  };
  Object.defineProperty(child, "stdio", { get, configurable: true });
  for (const [number, name] of ["stdin", "stdout", "stderr"].entries()) {
    if (slots.has(number)) Object.defineProperty(child, name, { value: undefined });
  }
}

function attach(child: AsyncDisposable, ours: ChannelPair["ours"] | Channel): void {
  const dispose = child[Symbol.asyncDispose].bind(child);
  const closing = async (): Promise<void> => {
    ours.close();
    await dispose();
  };
  const name = "socket" in ours ? "messages" : "channel";
  Object.defineProperty(child, name, { value: ours, enumerable: true });
  Object.defineProperty(child, Symbol.asyncDispose, { value: closing, configurable: true });
}
