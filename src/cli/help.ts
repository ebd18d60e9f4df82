// bunix help.

/** All that `bunix help` says. */
export const help = `bunix: Unix sockets for Bun

  bunix probe ADDRESS [--type TYPE]   what is there, and who has it
  bunix ls [--listening] [--type TYPE] [--no-holders] [TEXT]
                                      all Unix sockets with their processes, as ss -x
                                      lists them; TEXT: only lines that contain it
  bunix doctor                        what this system can do, and whether it does
  bunix postbox [DIR]                 print what comes by a FIFO, a socket, signals and a
                                      message queue, until Ctrl-C; says how to reach it
  bunix help | --version

ADDRESS is a path, or an abstract name after "@". TYPE is stream, seqpacket or datagram.
DIR is made if it is missing; without it a directory of your own is used.
--json with each command: the same for programs (postbox: one object in each line).

bunix probe ends with
  0  listening, or bound: a live process has the address
  1  stale: a socket's file whose socket is gone
  2  free: nothing is there
  3  none of these: not a socket, of another type than --type, or not ours to look at
bunix doctor ends with
  0  all that this system promises works
  1  something does not
and all commands with
  64  used wrongly
  71  the system refused something

Only root sees the processes of other users.`;
