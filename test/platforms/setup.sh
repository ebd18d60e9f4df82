#!/bin/bash
# setup.sh musl|arm64|bun-1.3: another Bun for the tests, on Debian x64. The last line is its path.
#
#   musl     Bun for musl on Debian's musl, with the C++ libraries of this machine
#   arm64    Bun for arm64 under qemu-user, with Debian's arm64 libc
#   bun-1.3  the oldest Bun that package.json admits
#
# Kept in ${XDG_CACHE_HOME:-~/.cache}/bunix-rigs, root's in /var/cache: the tests also start it as
# other users, who may not look into root's home. Comes from npm and apt. Exit code 77: not here;
# 76: not on machines like this one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rig=$1
manifest() { node -p "require('$here/../../package.json').$1"; }
case "$rig" in
  musl) package=bun-linux-x64-musl version=$(manifest devDependencies.bun) ;;
  arm64) package=bun-linux-aarch64 version=$(manifest devDependencies.bun) ;;
  bun-1.3) package=bun-linux-x64 version=$(manifest engines.bun | tr -d '>=') ;;
  *) echo "setup.sh musl|arm64|bun-1.3" >&2 && exit 2 ;;
esac

absent() {
  echo "$rig: $1" >&2
  exit 77
}

if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "$rig: this rig is for Linux on x64" >&2
  exit 76
fi

# file:package
case "$rig" in
  musl) wanted=(/lib/ld-musl-x86_64.so.1:musl /usr/bin/musl-gcc:musl-tools
    /usr/bin/patchelf:patchelf /lib/x86_64-linux-gnu/libstdc++.so.6:libstdc++6) ;;
  arm64) wanted=(/usr/bin/qemu-aarch64-static:qemu-user-static
    /lib/aarch64-linux-gnu/libc.so.6:libc6:arm64 /lib/aarch64-linux-gnu/libgcc_s.so.1:libgcc-s1:arm64
    /usr/lib/aarch64-linux-gnu/libstdc++.so.6:libstdc++6:arm64) ;;
  bun-1.3) wanted=() ;;
esac
missing=()
for entry in "${wanted[@]}"; do
  [ -e "${entry%%:*}" ] || missing+=("${entry#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    absent "apt-get install ${missing[*]}"
  fi
  echo "$rig: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  [ "$rig" != arm64 ] || dpkg --add-architecture arm64
  install() {
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"
  }
  { install || install; } >/dev/null 2>&1 || absent "could not install ${missing[*]}"
fi

if [ "$(id -u)" -eq 0 ]; then cache=/var/cache; else cache=${XDG_CACHE_HOME:-$HOME/.cache}; fi
home=$cache/bunix-rigs/$rig-$version
mkdir -p "$home"
if [ ! -x "$home/package/bin/bun" ]; then
  fresh=$(mktemp -d "$home/fresh.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  fetch() {
    (cd "$fresh" && npm pack --silent "@oven/$package@$version" >/dev/null && tar xzf ./*.tgz)
  }
  fetch || fetch || absent "no @oven/$package@$version from npm"
  if [ "$rig" = musl ]; then
    # Found at run time through the program's RPATH. musl's loader takes libc's names for itself; what the
    # C++ libraries want of glibc beyond those is in glibc-names.c.
    musl-gcc -D_GNU_SOURCE -shared -fPIC -nostdlib -Wl,-soname,ld-linux-x86-64.so.2 \
      -o "$fresh/package/ld-linux-x86-64.so.2" "$here/glibc-names.c"
    ln -s /lib/x86_64-linux-gnu/{libstdc++.so.6,libgcc_s.so.1} "$fresh/package"
    # not $ORIGIN: what this Bun compiles has it, too, and lies elsewhere
    patchelf --force-rpath --set-rpath "$home/package" "$fresh/package/bin/bun"
  fi
  rm -rf "$home/package"
  mv "$fresh/package" "$home/package"
fi

bun=$home/package/bin/bun
if [ "$rig" = arm64 ]; then
  # The kernel cannot start an arm64 program by itself, and children are started by execPath.
  echo "process.execPath = '$home/bun';" >"$home/exec-path.js.$$"
  mv "$home/exec-path.js.$$" "$home/exec-path.js"
  # with its path: some tests start this Bun with an empty $PATH
  cat >"$home/bun.$$" <<EOF
#!/bin/sh
case "\$1" in
  add | install) exec /usr/bin/qemu-aarch64-static "$bun" "\$@" ;; # they take no --preload
esac
exec /usr/bin/qemu-aarch64-static "$bun" --preload="$home/exec-path.js" "\$@"
EOF
  chmod +x "$home/bun.$$"
  mv "$home/bun.$$" "$home/bun"
  bun=$home/bun
fi
[ "$("$bun" --version)" = "$version" ] || absent "$bun does not start"
echo "$bun"
