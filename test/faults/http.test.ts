// HTTP that knows its caller, and names of users, under every fault.

import http from "node:http";
import {
  callerOf,
  capabilities,
  groupId,
  groupName,
  isInGroup,
  listen,
  serveHttp,
  UnixError,
  userId,
  userName,
} from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { HttpClient } from "../api/servers.ts";
import { same, setUp, underFaults } from "./driver.ts";
import type { Point } from "./injector.ts";

setUp();

/** libc may say that there is none. */
const absent = (point: Point | null): boolean => point?.fault === "ENOENT";

underFaults("userName", {
  run: (_objects, _keep, point) => same(userName(0), absent(point) ? null : "root"),
});

underFaults("userId", {
  run: (_objects, _keep, point) => same(userId("root"), absent(point) ? null : 0),
});

underFaults("groupName", {
  run: (_objects, _keep, point) => same(groupName(0), absent(point) ? null : "root"),
});

underFaults("groupId", {
  run: (_objects, _keep, point) => same(groupId("root"), absent(point) ? null : 0),
});

underFaults("isInGroup", {
  run: (_objects, _keep, point) => {
    same(isInGroup({ gid: 0, groups: [] }, "root"), !absent(point));
  },
});

const { serveHttp: capable } = capabilities();

/** A client that was not let in, or was closed: never answered wrongly. */
const answerOf = async (client: HttpClient): Promise<string> => {
  try {
    return (await client.get("/")).text;
  } catch (error) {
    same(String(error).includes("ended"), true);
    return "ended";
  }
};

underFaults("serveHttp", {
  lacking: capable.available ? null : capable.reason,
  prepare: (keep) => {
    const path = freshPath();
    const listener = keep(listen(path));
    return { listener, path };
  },
  run: async ({ listener, path }, keep) => {
    const server = http.createServer((request, response) => {
      let groups = "unknown";
      try {
        groups = `${callerOf(request)?.groups().length}`;
        callerOf(request)?.peer().close();
      } catch (error) {
        if (!(error instanceof UnixError) && (error as Error).name !== "UnsupportedError")
          throw error;
      }
      response.end(`${callerOf(request)?.pid} ${groups.length > 0}`);
    });
    const service = keep(serveHttp(listener, server));
    const client = new HttpClient({ path });
    const answer = await answerOf(client);
    same(answer === `${process.pid} true` || answer === "ended", true);
    await service.drain({ timeoutMs: 2_000 });
    client[Symbol.dispose]();
    same([service.closed, listener.closed], [true, true]);
  },
});
