#!/bin/bash
# container.sh DISK JOB LOG: a Debian root on this machine's own kernel, systemd as PID 1 of a
# container. In a mount namespace of its own (unshare --mount): nothing of it stays, nothing is
# written to the image or to this project.
set -eu
disk=$1 job=$2 log=$3
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
base=$(dirname "$log")/container
mkdir -p "$base"
mount -t tmpfs tmpfs "$base"
mkdir -p "$base"/{disk,root,root-up,root-work,project-up,project-work}
mount -o loop,ro,noload "$disk" "$base/disk"
over() { mount -t overlay overlay -o "lowerdir=$1,upperdir=$2-up,workdir=$2-work" "$3"; }
over "$base/disk" "$base/root" "$base/root"
over "$project" "$base/project" "$base/root/opt/bunix"
cp "$job" "$base/root/opt/bunix/job.sh"
cp "$here/guest.sh" "$base/root/usr/sbin/bunix-job"
: >"$log"
own=(--register=no)
[ -d /run/systemd/system ] || own+=(--keep-unit)
# its filter for system calls would be one more than the tests know of
export SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --directory="$base/root" --machine="bunix-$$" "${own[@]}" \
  --private-network --console=pipe --bind="$log:/var/log/bunix-job" --capability=all \
  --drop-capability=CAP_SYS_MODULE,CAP_SYS_TIME,CAP_SYS_BOOT,CAP_SYS_RAWIO \
  --boot systemd.show_status=0 </dev/null
