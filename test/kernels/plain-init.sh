#!/bin/busybox sh
# The init of a root whose packages are unpacked only: what systemd would have mounted, then the job.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t tmpfs tmpfs /run
/bin/busybox mount -t tmpfs tmpfs /tmp
/bin/busybox chmod 1777 /tmp
for kind in mqueue:mqueue tmpfs:shm devpts:pts; do
  /bin/busybox mkdir -p "/dev/${kind#*:}"
  /bin/busybox mount -t "${kind%:*}" none "/dev/${kind#*:}"
done
/bin/busybox ln -sf /proc/self/fd /dev/fd
/bin/busybox ip link set lo up
/bin/busybox hostname bunix
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
/bin/busybox setsid /bin/busybox sh -c 'exec /bin/bash /usr/sbin/bunix-job' &
while :; do
  wait
  /bin/busybox sleep 1
done
