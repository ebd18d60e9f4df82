#!/bin/busybox sh
# What the kernel starts: loads the modules in their order, mounts the root, and gives over to it.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in /m/*; do /bin/busybox insmod "$module"; done
n=0
while [ ! -b /dev/vdc ] && [ $n -lt 100 ]; do
  /bin/busybox sleep 0.1
  n=$((n + 1))
done
/bin/busybox mount -t ext4 /dev/vda /root || /bin/busybox poweroff -f
/bin/busybox mount -t ext4 -o ro /dev/vdb /root/usr/lib/modules
/bin/busybox mount -t ext4 /dev/vdc /root/opt/bunix
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /sys
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/init
