#!/bin/sh
# What systemd itself says of the unit: that it is one, and how much of the system it leaves open.
#   systemd_unit.sh UNIT TENON
set -eu
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not here: skipped"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unit=$folder/tenon-daemon.service
sed "s|^ExecStart=[^ ]*|ExecStart=$2|" "$1" > "$unit"
grep -q "^ExecStart=$2 daemon /" "$unit"
said=$(systemd-analyze verify --man=no --recursive-errors=no "$unit" 2>&1) || { echo "$said"; exit 1; }
if echo "$said" | grep "tenon-daemon"; then exit 1; fi
# 0 is closed, 10 is open: below 2 (1.6 with systemd 252).
systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" > "$folder/security" 2>&1 ||
    { cat "$folder/security"; exit 1; }
tail -n 1 "$folder/security"
