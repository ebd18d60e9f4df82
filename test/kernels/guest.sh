#!/bin/bash
# In the guest: runs /opt/bunix/job.sh as root; what it says goes to the second serial line, or a
# virtual console, as it comes. Then the machine is switched off.
line=/dev/ttyS1
[ ! -e /dev/hvc0 ] || line=/dev/hvc0
stty -F $line raw -echo 2>/dev/null
cd /opt/bunix || exit 1
{
  init=$(systemctl --version 2>/dev/null | head -n 1)
  echo "guest: $(uname -rm), ${init:-no systemd}, up $(cut -d' ' -f1 /proc/uptime) s"
  bash ./job.sh </dev/null 2>&1
  echo "guest: ended with $? after $(cut -d' ' -f1 /proc/uptime) s"
} >$line
sync
echo o >/proc/sysrq-trigger
sleep 60
