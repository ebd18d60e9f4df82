// HTTP servers on Unix sockets that know their caller, and the names of users and groups.

export {
  type Caller,
  callerOf,
  type RequestServer,
} from "./http/caller.ts";
export {
  type DrainHttpOptions,
  HttpService,
  type ServeHttpOptions,
  serveHttp,
} from "./http/serve.ts";
export type { AnyHttpServer } from "./http/server-kinds.ts";
export {
  type GroupMember,
  groupId,
  groupName,
  isInGroup,
  userId,
  userName,
} from "./users/names.ts";
