"""Debian roots for boards that are not there: made by mmdebstrap, native or for arm64 under qemu-user."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.boards import cache

SUITE = "bookworm"  # what Raspberry Pi OS of 2023 and 2024 stands on: Python 3.11

# A board as a person has it before anything of Skyrack is on it.
BOARD_PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "procps", "iproute2", "netbase", "e2fsprogs"),
    *("openssh-server", "sudo", "ca-certificates", "python3", "python3-venv", "python3-apt", "i2c-tools"),
    "busybox-static",
)
USER = "pi"
_LEAVE_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# Drivers that make up most of a kernel's package, and that no board here has a use for.
_NOT_ON_A_BOARD = (
    *("sound", "drivers/gpu", "drivers/media", "drivers/net/wireless", "drivers/net/ethernet", "drivers/infiniband"),
    *("drivers/scsi", "drivers/staging", "fs/btrfs", "fs/xfs", "fs/ocfs2", "net/bluetooth", "drivers/bluetooth"),
)
# Housekeeping that would compete with what is measured.
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("e2scrub_reap.service", "systemd-pstore.service", "getty@tty1.service", "serial-getty@ttyS1.service"),
)
_NETWORK = """[Match]
Name=e* usb*

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
DNS=10.0.2.3
IPv6AcceptRA=no
LinkLocalAddressing=no
"""


@dataclass(frozen=True)
class Recipe:
    """A root: its architecture, its kernel's package, and what an initial file system must load for it.

    ``built_modules`` adds drivers that Debian's kernel leaves out.
    """

    architecture: str
    kernel: str
    early_modules: tuple[str, ...]
    hostname: str
    modules: tuple[str, ...] = ("i2c-dev",)
    packages: tuple[str, ...] = BOARD_PACKAGES
    built_modules: bool = False


class NotHereError(Exception):
    """What is asked for cannot be had on this machine; the sentence says why and what would help."""


def made(recipe: Recipe) -> Path:
    """A folder with ``root`` and, unpacked beside it, its ``kernel``.

    Raises:
        NotHereError: it is not in the cache, and this user or machine cannot make it.
    """
    parts = [SUITE, recipe.architecture, recipe.kernel, recipe.packages, _LEAVE_OUT]
    return cache.kept(f"root-{recipe.architecture}", parts, lambda place: _make(recipe, place))


def ready_for(architecture: str) -> None:
    """See to it that programs of that architecture run here.

    Raises:
        NotHereError: they do not, and cannot be made to.
    """
    if {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine) == architecture:
        return
    name = {"arm64": "qemu-aarch64", "amd64": "qemu-x86_64"}[architecture]
    registered = Path("/proc/sys/fs/binfmt_misc")
    if (registered / name).exists():
        return
    if os.geteuid() != 0:
        raise NotHereError(f"programs for {architecture} do not run here: as root, update-binfmts --enable {name}")
    if not (registered / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(registered)], check=False)
    for form in (["update-binfmts", "--enable", name], ["systemctl", "restart", "systemd-binfmt"]):
        if not (registered / name).exists() and shutil.which(form[0]):
            subprocess.run(form, check=False, capture_output=True)
    if not (registered / name).exists():
        raise NotHereError(f"the kernel does not take binfmt_misc for {name}; is qemu-user-static installed?")


def debian(root: Path, architecture: str, packages: tuple[str, ...], *hooks: str) -> None:
    """A Debian of these packages, by mmdebstrap. Hooks are shell commands; the root is their "$1".

    Raises:
        NotHereError: this user or machine cannot make it.
    """
    if os.geteuid() != 0:
        raise NotHereError("a Debian root can only be made by root; once it is in the cache anybody may use it")
    if shutil.which("mmdebstrap") is None:
        raise NotHereError("mmdebstrap is not installed: apt-get install mmdebstrap")
    ready_for(architecture)
    subprocess.run(
        [
            *("nice", "mmdebstrap", "--quiet", "--mode=root", f"--architectures={architecture}"),
            *("--variant=apt", f"--include={','.join(packages)}"),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEAVE_OUT),
            *(f"--customize-hook={hook}" for hook in hooks),
            *(SUITE, str(root)),
        ],
        check=True,
    )


def fetching(folder: Path, package: str) -> str:
    """A hook that fetches what a package depends on, of the root's architecture, with the apt of this machine."""
    return (
        f'cd {folder}; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; chmod 777 .; '
        f"apt-get download -q $(apt-cache depends {package} | sed -n 's/ *Depends: //p')"
    )


def unpack(folder: Path) -> None:
    """Unpack the packages that lie in a folder there, and remove them."""
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
        package.unlink()
    for modules in folder.glob("lib/modules/*/kernel"):
        for name in _NOT_ON_A_BOARD:
            shutil.rmtree(modules / name, ignore_errors=True)


def _make(recipe: Recipe, place: Path) -> None:
    # The kernel is fetched, not installed: its initial file system takes minutes to make under qemu-user, and boards
    # need only a few modules in it.
    kernel = place / "kernel"
    kernel.mkdir()
    hooks = [f'chroot "$1" useradd --create-home --shell /bin/bash {USER}']
    if recipe.kernel:
        hooks.append(fetching(kernel, recipe.kernel))
    debian(place / "root", recipe.architecture, recipe.packages, *hooks)
    unpack(kernel)


def bootable(recipe: Recipe, root: Path, kernel: Path, place: Path, extra: Path | None = None) -> None:
    """Make a copy of a root one that boots: its own settings in it; kernel, trees and keys in ``place``."""
    _settle(recipe, root, place)
    (release,) = [path.name for path in (kernel / "lib/modules").iterdir()]
    shutil.copytree(kernel / "lib/modules" / release, root / "usr/lib/modules" / release, dirs_exist_ok=True)
    if extra is not None:
        shutil.copytree(extra, root / "usr/lib/modules" / release / "updates")
    subprocess.run(["chroot", str(root), "depmod", release], check=True)
    shutil.copy(next((kernel / "boot").glob("vmlinuz-*")), place / "vmlinuz")
    trees = next(iter((kernel / "usr/lib").glob("linux-image-*")), None)
    if trees is not None:
        shutil.copytree(trees, place / "dtb")
    (place / "initrd").write_bytes(_initial_file_system(root, release, recipe.early_modules, place / "initial"))


def _settle(recipe: Recipe, root: Path, place: Path) -> None:
    """What a person sets on a new board: name, network, who may come in."""

    def write(path: str, text: str, mode: int = 0o644) -> Path:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    write("etc/hostname", f"{recipe.hostname}\n")
    write("etc/hosts", f"127.0.0.1 localhost {recipe.hostname}\n")
    write("etc/fstab", "/dev/root / ext4 defaults,noatime,commit=5 0 0\n")
    write("etc/resolv.conf", "nameserver 10.0.2.3\n")
    write("etc/machine-id", f"{'5b' * 16}\n")
    write("etc/systemd/network/10-wired.network", _NETWORK)
    write("etc/modules-load.d/boards.conf", "".join(f"{name}\n" for name in recipe.modules))
    write(f"etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    write("etc/ssh/sshd_config.d/boards.conf", "UseDNS no\nPasswordAuthentication no\n")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    for unit in _MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    key = place / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "boards", "-f", str(key)], check=True)
    owner = (root / "home" / USER).stat()
    home = root / "home" / USER / ".ssh"
    home.mkdir(mode=0o700)
    shutil.copy(f"{key}.pub", home / "authorized_keys")
    for path in (home, home / "authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)
    shutil.copy(root / "etc/ssh/ssh_host_ed25519_key.pub", place / "host.pub")


_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod "/$module" || echo "no $module"; done
for word in $(/bin/busybox cat /proc/cmdline); do
    case "$word" in root=*) device="${{word#root=}}" ;; esac
done
tries=0
while [ ! -b "$device" ] && [ $tries -lt 600 ]; do /bin/busybox usleep 100000; tries=$((tries + 1)); done
/bin/busybox mount -o rw,noatime "$device" /root || exec /bin/busybox sh
for place in proc sys dev; do /bin/busybox mount -o move "/$place" "/root/$place"; done
exec /bin/busybox switch_root /root /sbin/init
"""


def _initial_file_system(root: Path, release: str, wanted: tuple[str, ...], scratch: Path) -> bytes:
    """A cpio archive that loads the modules that the root's disk needs, in order, and goes there."""
    modules = root / "usr/lib/modules" / release
    needs: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
        names[Path(path).name.split(".")[0].replace("-", "_")] = path
    order: list[str] = []
    for name in wanted:
        if (found := names.get(name.replace("-", "_"))) is not None:  # others are built in
            order += [one for one in (*reversed(needs[found]), found) if one not in order]
    for name in ("bin", "proc", "sys", "dev", "root"):
        (scratch / name).mkdir(parents=True)
    for path in order:
        shutil.copy(modules / path, scratch / Path(path).name)
    shutil.copy(root / "bin/busybox", scratch / "bin/busybox")
    (scratch / "init").write_text(_INIT.format(modules=" ".join(Path(path).name for path in order)))
    (scratch / "init").chmod(0o755)
    listing = "\n".join(str(path.relative_to(scratch)) for path in sorted(scratch.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=scratch, input=listing.encode(), check=True, capture_output=True
    ).stdout
    shutil.rmtree(scratch)
    return gzip.compress(archive, compresslevel=6)
