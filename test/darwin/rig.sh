#!/bin/bash
# A Bun in which bunix takes macOS's column and calls, and test/darwin/shim for Apple's libSystem.
# The last line is its path. Exit code 77: not here; 76: not on machines like this one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "darwin: the shim is for Linux on x64" >&2
  exit 76
fi
if ! cc -E -include stdio.h -x c /dev/null >/dev/null 2>&1; then
  echo "darwin: apt-get install gcc libc6-dev" >&2
  exit 77
fi
bun=$(readlink -f "$here/../../node_modules/.bin/bun")
if [ "$(id -u)" -eq 0 ]; then cache=/var/cache; else cache=${XDG_CACHE_HOME:-$HOME/.cache}; fi
key=$(cat "$here"/shim/*.[ch] "$here/rig.sh" | cksum | cut -d' ' -f1)-$(echo "$bun" | cksum | cut -d' ' -f1)
home=$cache/bunix-rigs/darwin-$key
if [ ! -x "$home/bun" ]; then
  mkdir -p "$cache/bunix-rigs"
  fresh=$(mktemp -d "$cache/bunix-rigs/fresh.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  # under its name on a Mac, by which it is opened
  cc -O1 -Wall -fPIC -shared -pthread -fvisibility=hidden -Wl,-soname,libSystem.B.dylib,-z,defs \
    -o "$fresh/libSystem.B.dylib" "$here"/shim/*.c
  cat >"$fresh/bun" <<EOF
#!/bin/sh
export BUNIX_SYSTEM=darwin LD_LIBRARY_PATH="$home"
exec "$bun" "\$@"
EOF
  chmod 755 "$fresh" "$fresh/bun"
  mv -T "$fresh" "$home" 2>/dev/null || [ -x "$home/bun" ]
fi
echo "$home/bun"
