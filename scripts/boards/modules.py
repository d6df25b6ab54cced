"""Kernel modules that Debian does not build, from its own kernel's source: drivers of chips that boards have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from scripts.boards import cache, roots

# Chips of hwmon and PWM, as the kernel's own drivers; made-up GPIO chips for tests (gpio-sim).
_OBJECTS = {
    "ina2xx": ("drivers/hwmon/ina2xx.c",),
    "ina3221": ("drivers/hwmon/ina3221.c",),
    "pwm-pca9685": ("drivers/pwm/pwm-pca9685.c",),
    "gpio-sim": ("drivers/gpio/gpio-sim.c", "kernel/irq/irq_sim.c"),
}
_HEADERS = ("drivers/gpio/gpiolib.h",)
# irq_sim is meant to be built in: what it calls there has a twin for modules (a table of replacements by file).
_FOR_MODULES = {"irq_sim.c": ("handle_simple_irq(irq_to_desc(irqnum))", "generic_handle_irq(irqnum)")}


def built(architecture: str) -> Path:
    """A folder with ``kernel`` (the package that fits, unpacked) and ``modules/*.ko``.

    Raises:
        NotHereError: it is not in the cache, and this user or machine cannot make it.
    """
    parts = [roots.SUITE, architecture, _OBJECTS, _HEADERS, _FOR_MODULES]
    return cache.kept(f"modules-{architecture}", parts, lambda place: _build(architecture, place))


def _build(architecture: str, place: Path) -> None:
    builder = place / "builder"
    kernel = place / "kernel"
    kernel.mkdir()
    roots.debian(
        builder,
        architecture,
        (f"linux-headers-{architecture}", "linux-source", "make", "gcc", "xz-utils"),
        roots.fetching(kernel, f"linux-image-{architecture}"),
    )
    roots.unpack(kernel)
    (source,) = (builder / "usr/src").glob("linux-source-*.tar.xz")
    wanted = [*(name for names in _OBJECTS.values() for name in names), *_HEADERS]
    tree = source.name.removesuffix(".tar.xz")
    work = builder / "root/modules"
    work.mkdir()
    command = ["tar", "-C", str(work), "--strip-components=1", "-xf", str(source)]
    subprocess.run([*command, *(f"{tree}/{name}" for name in wanted)], check=True)
    lines = []
    for name, sources in _OBJECTS.items():
        parts = []
        for relative in sources:
            stem = Path(relative).stem
            part = f"{name}-core" if len(sources) > 1 and stem == name else stem
            text = (work / relative).read_text()
            text = text.replace(*_FOR_MODULES.get(Path(relative).name, ("", "")))
            (work / f"{part}.c").write_text(text)
            parts.append(f"{part}.o")
        lines.append(f"obj-m += {name}.o")
        if len(sources) > 1:
            lines.append(f"{name}-y := {' '.join(parts)}")
    for header in _HEADERS:
        shutil.copy(work / header, work)
    (work / "Makefile").write_text("\n".join(lines) + "\n")
    (release,) = [path.name for path in (kernel / "lib/modules").iterdir()]
    make = ["make", "-s", "-C", f"/usr/src/linux-headers-{release}", "M=/root/modules", "modules"]
    subprocess.run(["nice", "chroot", str(builder), *make], check=True, stdout=subprocess.DEVNULL)
    (place / "modules").mkdir()
    for module in work.glob("*.ko"):
        subprocess.run(["strip", "--strip-debug", str(module)], check=False)
        shutil.move(module, place / "modules")
    shutil.rmtree(builder)
