// The commands that need most of the library. In dist they and the library are a separate file,
// with its own error classes: their errors are printed here, because instanceof works only here.

import { complain } from "./complain.ts";
import { doctor } from "./doctor.ts";
import { graph } from "./graph/graph.ts";
import { listenCommand } from "./listen.ts";
import { postbox } from "./postbox/postbox.ts";
import { probeCommand } from "./probe.ts";
import { send } from "./send.ts";

type Run = (args: readonly string[]) => number | Promise<number>;

const saying =
  (run: Run) =>
  async (args: readonly string[]): Promise<number> => {
    try {
      return await run(args);
    } catch (error) {
      return complain(error);
    }
  };

export const others = {
  probe: saying(probeCommand),
  graph: saying(graph),
  listen: saying(listenCommand),
  send: saying(send),
  doctor: saying(doctor),
  postbox: saying(postbox),
};
