#!/bin/sh
# Prints as JSON what decides how a board is provisioned. Changes nothing; needs only a POSIX shell.

# Python 3.11 or newer that can be run here, the newest first.
python=""
for candidate in python3.13 python3.12 python3.11 python3; do
    path=$(command -v "$candidate") || continue
    if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$path
        break
    fi
done
venv=false
venv_package=python3-venv
if [ -n "$python" ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null && venv=true
    [ "$python" = "$(command -v python3)" ] || venv_package=$(basename "$python")-venv
fi
# Ubuntu 22.04, which JetPack 6 is made of, has 3.11 beside its own 3.10.
python_package=python3.11

newer=false
if [ -z "$python" ] && command -v apt-cache >/dev/null; then
    [ -n "$(apt-cache show "$python_package" 2>/dev/null | head -n 1)" ] && newer=true
fi
any=false
command -v python3 >/dev/null && any=true
system=$(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")

timekeeper=""
for name in chronyd systemd-timesyncd ntpd; do
    for directory in /usr/sbin /usr/lib/systemd /lib/systemd; do
        [ -x "$directory/$name" ] && [ -z "$timekeeper" ] && timekeeper=$name
    done
done

model=""
serial=""
[ -r /proc/device-tree/model ] && model=$(tr -d '\0' </proc/device-tree/model)
[ -r /proc/device-tree/serial-number ] && serial=$(tr -d '\0' </proc/device-tree/serial-number)
[ -z "$model" ] && [ -r /sys/class/dmi/id/product_name ] && model=$(cat /sys/class/dmi/id/product_name)
[ -z "$serial" ] && [ -r /sys/class/dmi/id/product_serial ] && serial=$(cat /sys/class/dmi/id/product_serial)

config=""
case $model in
*Raspberry*)
    for file in /boot/firmware/config.txt /boot/config.txt; do
        [ -f "$file" ] && [ -z "$config" ] && config=$file
    done
    ;;
esac

free=$(df -Pk /opt 2>/dev/null | awk 'NR == 2 { printf "%.0f", $4 * 1024 }')
# Nothing in a JSON text but what is printable and needs no escape.
plain() { printf '%s' "$1" | tr -cd '[:alnum:] ._:/()+-'; }

cat <<END
{"machine": "$(plain "$(uname -m)")", "model": "$(plain "$model")", "serial": "$(plain "$serial")",
 "machine_id": "$(plain "$(cat /etc/machine-id 2>/dev/null)")", "kernel": "$(plain "$(uname -r)")",
 "system": "$(plain "$system")", "any_python": $any, "newer_python": $newer,
 "python": "$(plain "$python")", "venv": $venv, "venv_package": "$venv_package", "python_package": "$python_package",
 "sudo": $([ -x /usr/bin/sudo ] && echo true || echo false), "timekeeper": "$timekeeper",
 "config": "$(plain "$config")", "free_bytes": ${free:-0},
 "cgroup2": $([ -f /sys/fs/cgroup/cgroup.controllers ] && echo true || echo false)}
END
