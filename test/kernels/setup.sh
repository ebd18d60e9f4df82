#!/bin/bash
# setup.sh tools ARCH|host | root SUITE ARCH | kernel VERSION ARCH | bun ARCH: what a virtual machine is
# made of, from Debian's packages, kept in ${XDG_CACHE_HOME:-~/.cache}/bunix-rigs/kernels (root's: /var/cache).
#
#   tools amd64          qemu, mmdebstrap and the rest, by apt; tools host: for containers
#   root bookworm amd64  a Debian root with systemd and what the tests need, as one image; for
#                        arm64, of which nothing runs here: unpacked only, a shell is its init
#   kernel 6.1 amd64     the newest kernel of that version, or "newest": the last line is its folder,
#                        with vmlinuz, initrd, modules.img and a file `release`
#
#   bun arm64            Bun for that processor
#
# Where packages come from is read from this machine's own sources. Exit code 77: not here; 76: not
# on machines like this one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" -eq 0 ]; then cache=/var/cache; else cache=${XDG_CACHE_HOME:-$HOME/.cache}; fi
home=${BUNIX_KERNELS:-$cache/bunix-rigs/kernels}
suites="bullseye bookworm bookworm-backports trixie trixie-backports"
keys=/usr/share/keyrings/debian-archive-keyring.gpg

absent() {
  echo "kernels: $1" >&2
  exit 77
}

if [ "$(uname -sm)" != "Linux x86_64" ] || ! grep -q '^ID=debian' /etc/os-release; then
  echo "kernels: this rig is for Debian on x64" >&2
  exit 76
fi
[ "$(id -u)" -eq 0 ] || absent "a root of Debian's is made by root only"
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }' /etc/apt/sources.list)
mkdir -p "$home"

# Whoever made a root and was ended half-way may have left this machine's own /dev mounted in it.
remove() {
  local at
  awk -v under="$1/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r at; do
    umount "$at" || absent "$at is mounted"
  done
  rm -rf --one-file-system "$1"
}

tools() {
  local wanted=(qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mke2fs:e2fsprogs cpio:cpio
    zstd:zstd depmod:kmod xz:xz-utils) missing=()
  [ "${1:-amd64}" != arm64 ] || wanted+=(qemu-system-aarch64:qemu-system-arm)
  [ "${1:-amd64}" != host ] || wanted+=(systemd-nspawn:systemd-container)
  for entry in "${wanted[@]}"; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "kernels: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  install() {
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}" seabios ipxe-qemu
  }
  { install || install; } >/dev/null 2>&1 || absent "could not install ${missing[*]}"
}

# apt with lists of its own, of all suites: for one architecture.
lists() {
  apt=$home/apt-$1
  apt_here() { APT_CONFIG=$apt/apt.conf "$@"; }
  if [ -n "$(find "$apt/updated" -mtime -7 2>/dev/null)" ]; then return; fi
  mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial
  for suite in $suites; do
    echo "deb [signed-by=$keys arch=$1] $mirror $suite main"
  done >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
APT::Architectures { "$1"; };
CONF
  apt_here apt-get update -qq >&2 || absent "could not read the lists of $suites"
  touch "$apt/updated"
}

with_systemd() {
  local tree=$1
  cp "$here/job.service" "$tree/etc/systemd/system/bunix-job.service"
  mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
  ln -sfn ../bunix-job.service "$tree/etc/systemd/system/multi-user.target.wants/bunix-job.service"
  ln -sfn /lib/systemd/system/multi-user.target "$tree/etc/systemd/system/default.target"
  # what takes time, or comes by itself; the kernel makes the devices, no udev is needed
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer \
    dpkg-db-backup.timer getty@tty1.service serial-getty@ttyS0.service e2scrub_reap.service \
    systemd-networkd-wait-online.service systemd-timesyncd.service apparmor.service \
    systemd-udevd.service systemd-udev-trigger.service systemd-udevd-{control,kernel}.socket \
    systemd-hwdb-update.service ldconfig.service systemd-update-utmp.service; do
    ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
  done
}

# Nothing of that processor runs here, so no package is configured.
without_systemd() {
  local tree=$1
  mkdir -p "$tree"/{tmp,run,root,proc,sys,dev}
  ln -sf bash "$tree/usr/bin/sh"
  ln -sf gcc "$tree/usr/bin/cc"
  [ -e "$tree/etc/passwd" ] || cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
  [ -e "$tree/etc/group" ] || cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
  rm -f "$tree/usr/sbin/init"
  cp "$here/plain-init.sh" "$tree/usr/sbin/init"
  chmod 755 "$tree/usr/sbin/init"
}

root() {
  local suite=$1 arch=$2 image=$home/root-$1-$2.img
  if [ -e "$image" ]; then return; fi
  local want=systemd,systemd-sysv,udev,dbus,kmod,python3,gcc,libc6-dev,linux-libc-dev,socat,iproute2
  want+=,procps,util-linux,strace,busybox-static,apparmor,curl,openssl
  local keep=()
  while read -r line; do keep+=(--aptopt="$line"); done < <(cat /etc/apt/apt.conf.d/* 2>/dev/null | grep '^Acquire::' || true)
  local tree=$home/root-$suite-$arch
  rm -f "$image.new"
  local variant=minbase
  if [ "$arch" != amd64 ]; then
    variant=extract
    want=libc6,libstdc++6,libgcc-s1,bash,dash,coreutils,busybox-static,util-linux,mount,procps
    want+=,python3,python3-minimal,grep,sed,tar,findutils,base-files,base-passwd,libc-bin,kmod
    want+=,strace,socat,iproute2,gcc,libc6-dev,linux-libc-dev
  fi
  make_tree() {
    remove "$tree"
    unshare --mount --propagation private \
      mmdebstrap --quiet --mode=root --variant=$variant --arch="$arch" --include="$want" "${keep[@]}" \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' "$suite" "$tree" "$mirror" >&2
  }
  make_tree || make_tree || absent "could not make a root of $suite for $arch"
  mkdir -p "$tree"/opt/bunix "$tree"/usr/lib/modules
  if [ "$arch" = amd64 ]; then with_systemd "$tree"; else without_systemd "$tree"; fi
  ln -sfn ../../opt/bunix/node_modules/bun/bin/bun.exe "$tree/usr/bin/bun"
  cp "$here/guest.sh" "$tree/usr/sbin/bunix-job"
  chmod 755 "$tree/usr/sbin/bunix-job"
  : >"$tree/etc/fstab"
  echo bunix >"$tree/etc/hostname"
  printf '127.0.0.1 localhost bunix\n::1 localhost\n' >"$tree/etc/hosts"
  echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
  rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/*
  mke2fs -q -t ext4 -O ^metadata_csum,^orphan_file -d "$tree" "$image.new" 3G
  remove "$tree"
  mv "$image.new" "$image"
}

# The newest package of a version: 6.1 → 6.1.0-50-cloud-amd64.
release_of() {
  local version=$1 arch=$2 flavour=cloud-amd64 pattern='[0-9]+\.[0-9]+'
  [ "$arch" = amd64 ] || flavour=$arch
  [ "$version" = newest ] || pattern=${version//./\\.}
  apt_here apt-cache --names-only search "^linux-image-[0-9].*-$flavour(-unsigned)?\$" |
    sed -En "s/^linux-image-($pattern\\.[^ -]*(-[0-9]+)?-$flavour)(-unsigned)? .*/\\1/p" | sort -uV |
    tail -n 1
}

kernel() {
  local version=$1 arch=$2 release folder
  lists "$arch"
  release=$(release_of "$version" "$arch")
  [ -n "$release" ] || absent "no kernel $version for $arch in $suites"
  folder=$home/kernel-$release
  if [ -e "$folder/release" ]; then echo "$folder" && return; fi
  local tree=$home/tree-$release
  rm -rf "$folder" "$tree"
  mkdir -p "$folder" "$tree" "$home/debs"
  for kind in image binary modules; do # since 7.x it is three packages
    local name=linux-$kind-$release
    apt_here apt-cache show "$name:$arch" >/dev/null 2>&1 || name+=-unsigned
    apt_here apt-cache show "$name:$arch" >/dev/null 2>&1 || continue
    (cd "$home/debs" && { apt_here apt-get download -qq "$name:$arch" ||
      apt_here apt-get download -qq "$name:$arch"; } >&2) || absent "could not download $name"
    dpkg-deb -x "$home/debs/$name"_*.deb "$tree"
    rm -f "$home/debs/$name"_*.deb
  done
  local modules=$tree/lib/modules
  [ -d "$modules" ] || modules=$tree/usr/lib/modules
  cp "$(find "$tree" -name 'vmlinuz*' -type f | head -n 1)" "$folder/vmlinuz"
  rm -rf "$modules/$release"/kernel/{sound,drivers/{gpu,media,net,infiniband,iio,staging,usb,hwmon,scsi,input,mmc,mtd,nvme}}
  mkdir -p "$tree/flat/lib"
  [ -e "$tree/flat/lib/modules" ] || ln -s "$modules" "$tree/flat/lib/modules"
  depmod -b "$tree/flat" "$release" 2>/dev/null
  mke2fs -q -t ext4 -d "$modules" "$folder/modules.img" "$(($(du -sm "$modules" | cut -f1) * 5 / 4 + 64))M"
  busybox "$arch"
  initrd "$tree" "$release" "$folder/initrd" "$arch"
  rm -rf "$tree"
  echo "$release" >"$folder/release"
  echo "$folder"
}

# This machine's own may need libraries, and is of another architecture than an arm64 guest.
busybox() {
  local arch=$1 tree=$home/busybox-tree-$1
  if [ -e "$home/busybox-$arch" ]; then return; fi
  rm -rf "$tree"
  mkdir -p "$tree"
  (cd "$tree" && apt_here apt-get download -qq "busybox-static:$arch" >&2 && dpkg-deb -x ./*.deb .) ||
    absent "could not download busybox-static for $arch"
  cp "$(find "$tree" -path '*bin/busybox' -type f | head -n 1)" "$home/busybox-$arch"
  rm -rf "$tree"
}

# busybox, the modules on the way to the root file system in their order, and a script.
initrd() {
  local tree=$1 release=$2 into=$3 fs=$1/initramfs n=100 file
  mkdir -p "$fs"/{bin,proc,sys,dev,root,m}
  install -m 755 "$home/busybox-$4" "$fs/bin/busybox"
  for name in virtio_pci virtio_mmio virtio_blk ext4 crc32c_generic crc32c; do
    modprobe -d "$tree/flat" -S "$release" --show-depends "$name" 2>/dev/null | awk '/^insmod/ { print $2 }'
  done | awk '!seen[$0]++' | while read -r file; do
    n=$((n + 1))
    case $file in
      *.xz) xz -dc "$file" ;;
      *.zst) zstd -dcq "$file" ;;
      *) cat "$file" ;;
    esac >"$fs/m/$n"
  done
  cp "$here/init.sh" "$fs/init"
  chmod 755 "$fs/init"
  (cd "$fs" && find . | cpio -o -H newc --quiet | gzip -1) >"$into"
}

case "${1:-}" in
  tools) tools "${2:-amd64}" ;;
  bun) echo "$(dirname "$(bash "$here/../platforms/setup.sh" "$2" | tail -n 1)")/package/bin/bun" ;;
  root) root "$2" "$3" && echo "$home/root-$2-$3.img" ;;
  kernel) kernel "$2" "$3" ;;
  *) echo "setup.sh tools ARCH | root SUITE ARCH | kernel VERSION ARCH | bun ARCH" >&2 && exit 2 ;;
esac
