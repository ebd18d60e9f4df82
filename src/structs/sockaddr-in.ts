// struct sockaddr_in and sockaddr_in6: bytes → values, as far as listeners are told apart by them.

import { system } from "../../native/platform.ts";
import { sockaddrIn, sockaddrIn6, sockaddrUn, socket } from "../../native/socket.ts";

/** A name of an Internet socket. */
export interface InetName {
  readonly family: "inet" | "inet6";
  readonly port: number;
  /** 4 or 16 bytes. */
  readonly host: Uint8Array;
}

/** null: another family, or cut short. */
export function decodeInet(name: Uint8Array): InetName | null {
  const view = new DataView(name.buffer, name.byteOffset, name.byteLength);
  if (name.length < sockaddrUn.at.sun_path) return null;
  const at = sockaddrUn.at.sun_family;
  const family = system === "darwin" ? view.getUint8(at) : view.getUint16(at, true);
  if (family === socket.AF_INET && name.length >= sockaddrIn.size) {
    const { at, bytes } = sockaddrIn;
    const host = name.slice(at.sin_addr, at.sin_addr + bytes.sin_addr);
    return { family: "inet", port: view.getUint16(at.sin_port), host };
  }
  if (family === socket.AF_INET6 && name.length >= sockaddrIn6.size) {
    const { at, bytes } = sockaddrIn6;
    const host = name.slice(at.sin6_addr, at.sin6_addr + bytes.sin6_addr);
    return { family: "inet6", port: view.getUint16(at.sin6_port), host };
  }
  return null;
}

/** Whether it stands for every address of this machine. */
export const isWildcard = ({ host }: InetName): boolean => host.every((byte) => byte === 0);

/** Whether it is 127.0.0.1 or ::1. */
export function isLoopback({ family, host }: InetName): boolean {
  if (family === "inet") return host[0] === LOOPBACK_NET;
  return host.every((byte, i) => byte === (i === host.length - 1 ? 1 : 0));
}

const LOOPBACK_NET = 127;
