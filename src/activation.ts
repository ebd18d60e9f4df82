// What a program and the service manager that started it have to say to each other: systemd's
// protocols. systemd itself is not needed, nor any library of it.

export { type InheritedFd, inheritedFds, inheritedFdsByName } from "./inherited-fds.ts";
export { type NotifyOptions, type NotifyState, notify } from "./notify.ts";
export { Watchdog, type WatchdogOptions, watchdog } from "./watchdog.ts";
