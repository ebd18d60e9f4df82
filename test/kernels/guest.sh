#!/bin/bash
# In the guest: runs /opt/bunix/job.sh as root; what it says goes to the second serial line, or a
# virtual console, as it comes, in a container to a file. Then the machine is switched off.
line=/dev/ttyS1
[ ! -e /dev/hvc0 ] || line=/dev/hvc0
container=
if systemd-detect-virt --container --quiet 2>/dev/null; then
  container=yes
  line=/var/log/bunix-job
fi
[ -n "$container" ] || stty -F $line raw -echo 2>/dev/null
cd /opt/bunix || exit 1
{
  init=$(systemctl --version 2>/dev/null | head -n 1)
  echo "guest: $(uname -rm), ${init:-no systemd}, up $(cut -d' ' -f1 /proc/uptime) s"
  bash ./job.sh </dev/null 2>&1
  echo "guest: ended with $? after $(cut -d' ' -f1 /proc/uptime) s"
} >>$line
[ -z "$container" ] || exec systemctl poweroff --no-block
sync
echo o >/proc/sysrq-trigger
sleep 60
