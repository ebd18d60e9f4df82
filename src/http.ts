// HTTP servers on Unix sockets that know who calls, and the names of users and groups.

export {
  type Caller,
  callerOf,
  type RequestServer,
} from "./http/caller.ts";
export type { AnyHttpServer } from "./http/kinds.ts";
export {
  type DrainHttpOptions,
  HttpService,
  type ServeHttpOptions,
  serveHttp,
} from "./http/serve.ts";
export {
  type GroupMember,
  groupId,
  groupName,
  isInGroup,
  userId,
  userName,
} from "./users/names.ts";
