// What a program and the service manager that started it have to say to each other: systemd's
// protocols. systemd itself is not needed, nor any library of it.

export { type InheritedFd, inheritedFds, inheritedFdsByName } from "./activation/inherited-fds.ts";
export { type NotifyOptions, notify } from "./activation/notify.ts";
export type { NotifyState } from "./activation/state.ts";
export { Watchdog, type WatchdogOptions, watchdog } from "./activation/watchdog.ts";
