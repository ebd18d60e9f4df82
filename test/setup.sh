#!/bin/bash
# Installs what the tests need on Debian, where that may be done; says what is missing elsewhere.
set -eu

bash "$(dirname "$0")/darwin/setup.sh" >/dev/null || true # it says what is missing

# command:package(s)
wanted=(
  "python3:python3"
  "cc:gcc libc6-dev"
  "go:golang-go"
  "socat:socat"
  "strace:strace"
  "nc:netcat-openbsd"
  "ip:iproute2"
  "unshare:util-linux"
  "ps:procps"
  "nginx:nginx-light"
  "openssl:openssl"
  "curl:curl"
  "aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
  "musl-gcc:musl-tools"
  "qemu-aarch64-static:qemu-user-static"
  "dbus-daemon:dbus-daemon"
  "gi:python3-gi"
  "Xvfb:xvfb"
  "redis-server:redis-server"
  "initdb:postgresql"
  "wayland-scanner:libwayland-dev"
  "busybox:busybox"
  "zsh:zsh"
  "fish:fish"
  "journalctl:systemd"
  "docker:docker.io"
  "chromium:chromium"
  "ssh:openssh-client"
  "varlink-go:golang-github-varlink-go-dev"
)

# Installing it also starts it, where there is something that starts services.
if [ ! -d /run/systemd/system ]; then wanted+=("/usr/sbin/sshd:openssh-server"); fi

here() {
  case "$1" in
    cc) cc -E -include stdio.h -x c /dev/null >/dev/null 2>&1 ;;
    gi) /usr/bin/python3 -c "from gi.repository import Gio" >/dev/null 2>&1 ;;
    initdb) command -v initdb /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
    varlink-go) [ -d /usr/share/gocode/src/github.com/varlink/go ] ;;
    nc) nc -h 2>&1 | grep -q OpenBSD ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

missing=()
for entry in "${wanted[@]}"; do
  if ! here "${entry%%:*}"; then
    read -r -a packages <<<"${entry#*:}"
    missing+=("${packages[@]}")
  fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "test/setup.sh: not here, and not mine to install: ${missing[*]}" >&2
  exit 0
fi

echo "test/setup.sh: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"
}
if ! { install || install; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "test/setup.sh: could not install ${missing[*]}" >&2
fi
