// What a program and the service manager that started it have to say to each other: systemd's
// protocols. systemd itself is not needed, nor any library of it.

export type { InheritedFd } from "./activation/inherited-fd.ts";
export {
  type InheritedFdsOptions,
  inheritedFds,
  inheritedFdsByName,
} from "./activation/inherited-fds.ts";
export {
  NotifiedService,
  type ServiceNotice,
  type ServiceOptions,
  type StoredFd,
} from "./activation/notified-service.ts";
export { type NotifyOptions, notify } from "./activation/notify.ts";
export { NotifyServer, type ServeNotifyOptions, serveNotify } from "./activation/serve-notify.ts";
export type { NotifyState } from "./activation/state.ts";
export { Watchdog, type WatchdogOptions, watchdog } from "./activation/watchdog.ts";
