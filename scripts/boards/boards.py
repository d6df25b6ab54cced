"""The boards that are emulated: their roots, their disks, what qemu is told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from scripts.boards import cache, modules, package, roots
from scripts.boards.machine import Machine, Model

RASPBERRY_PI = roots.Recipe(
    architecture="arm64",
    kernel="linux-image-arm64",
    hostname="skyrack-pi",
    # The SD card's two hosts (which one has it is the device tree's matter), and its file system.
    early_modules=("bcm2835", "sdhci-iproc", "crc32c_generic", "ext4"),
)
# The thermometer that sits on the Pi's I2C bus 1 (pins 3 and 5), at its first address.
THERMOMETER = "thermometer"
THERMOMETER_ADDRESS = 0x48
RASPBERRY_PI_MODEL = Model(
    emulator="qemu-system-aarch64",
    arguments=(
        *("-M", "raspi3b", "-serial", "null", "-serial", "chardev:console"),
        *("-device", f"tmp105,id={THERMOMETER},bus=i2c-bus.1,address={THERMOMETER_ADDRESS}"),
    ),
    disk=("-drive", "file={disk},if=sd,format=raw"),
    network=("-device", "usb-net,netdev=net0"),
    command_line=(
        "root=/dev/mmcblk0 rw console=ttyS1,115200 loglevel=4 dwc_otg.lpm_enable=0 systemd.show_status=0 "
        "systemd.clock-usec={microseconds}"
    ),
    device_tree="broadcom/bcm2837-rpi-3-b.dtb",
)

# A computer with real kernel drivers on chips that i2c-stub plays, GPIO lines that gpio-sim plays, and softdog.
KERNEL = roots.Recipe(
    architecture="amd64",
    kernel="",
    hostname="skyrack-kernel",
    early_modules=("virtio_pci", "virtio_blk", "crc32c_generic", "ext4"),
    built_modules=True,
)
KERNEL_MODEL = Model(
    emulator="qemu-system-x86_64",
    arguments=(
        *("-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024", "-nodefaults"),
        *("-serial", "chardev:console", "-device", "virtio-rng-pci"),
    ),
    disk=("-drive", "file={disk},if=virtio,format=raw"),
    network=("-device", "virtio-net-pci,netdev=net0"),
    command_line=(
        # The chipset has a watchdog of its own, which is not what is looked at.
        "root=/dev/vda rw console=ttyS0 loglevel=4 systemd.show_status=0 net.ifnames=0 modprobe.blacklist=iTCO_wdt"
    ),
)

_VERSION = 2  # of what is done below and in roots.bootable
_DISK = "2G"  # an SD card must be a power of two
VENV = f"/home/{roots.USER}/skyrack"


def raspberry_pi(name: str = "pi") -> Machine:
    """A Raspberry Pi 3B with a TMP105, of its own or shared by name."""
    return Machine(name, RASPBERRY_PI_MODEL)


def kernel_machine(name: str = "kernel") -> Machine:
    """A computer whose chips and lines the kernel makes up."""
    return Machine(name, KERNEL_MODEL)


def disk(recipe: roots.Recipe) -> Path:
    """A folder with what a machine boots: ``disk.raw``, ``vmlinuz``, ``initrd``, ``dtb``, ``id_ed25519``.

    Skyrack's own packages from the index are on it, in a virtual environment of its user; Skyrack is not.
    """
    made = roots.made(recipe)
    site = package.packages(recipe.architecture, "board")
    extra = modules.built(recipe.architecture) if recipe.built_modules else None
    parts = [made.name, recipe, site.parent.name, extra and extra.name, _DISK, _VERSION]
    return cache.kept(f"disk-{recipe.architecture}", parts, lambda place: _write(recipe, made, site, extra, place))


def set_temperature(pi: Machine, celsius: float) -> None:
    """Make the Pi's thermometer measure this."""
    pi.qmp("qom-set", path=f"/machine/peripheral/{THERMOMETER}", property="temperature", value=round(celsius * 1000))


def install(machine: Machine, wheel: Path) -> None:
    """Put this tree's Skyrack into the environment of the board's user."""
    place = f"{VENV}/lib/python3.11/site-packages"
    machine.ssh(
        f"cd {place} && rm -rf skyrack* flight ground hil && tar -xzf - && sync",
        give=(package.unpacked(wheel) / "tree.tar.gz").read_bytes(),
        timeout_seconds=400,
    )


def _write(recipe: roots.Recipe, made: Path, site: Path, extra: Path | None, place: Path) -> None:
    root = place / "root"
    roots.ready_for(recipe.architecture)
    subprocess.run(["cp", "-a", "--reflink=auto", str(made / "root"), str(root)], check=True)
    kernel = (made if extra is None else extra) / "kernel"
    roots.bootable(recipe, root, kernel, place, None if extra is None else extra / "modules")
    venv = root / VENV.lstrip("/")
    (venv / "bin").mkdir(parents=True)
    (venv / "lib/python3.11").mkdir(parents=True)
    shutil.copytree(site, venv / "lib/python3.11/site-packages")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
    for name in ("python", "python3"):
        (venv / "bin" / name).symlink_to("/usr/bin/python3")
    command = venv / "bin/skyrack"
    command.write_text(f"#!{VENV}/bin/python\nimport sys\nfrom skyrack.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    subprocess.run(["chroot", str(root), "python3", "-m", "compileall", "-q", VENV], check=False)
    subprocess.run(["chroot", str(root), "chown", "-R", f"{roots.USER}:{roots.USER}", VENV], check=True)
    raw = place / "disk.raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(raw), _DISK], check=True)
    shutil.rmtree(root)
