"""Writes a bench file for what a scan found: a beginning that ``skyrack hil check`` accepts, for a person to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from hil.boards.address import LOCAL
from hil.boards.scan import Scan
from hil.boards.scan_sysfs import ThermalZone

Settings = dict[str, str | int | float]

CONSTELLATION, SATELLITE, NODE = "bench", "sat-1", "node-1"
NODE_PEAK_WATTS = 700.0

# What boards draw at their peak, W: by a part of the model's name, first match wins.
_PEAK_WATTS: tuple[tuple[str, float], ...] = (
    ("Raspberry Pi 5", 12.0),
    ("Compute Module 5", 12.0),
    ("Raspberry Pi 4", 7.0),
    ("Compute Module 4", 7.0),
    ("Raspberry Pi 3", 5.5),
    ("Raspberry Pi Zero 2", 4.0),
    ("Orin Nano", 15.0),
    ("Orin NX", 25.0),
    ("AGX Orin", 60.0),
    ("Xavier NX", 20.0),
    ("AGX Xavier", 30.0),
)
_COMPUTER_WATTS = 25.0
# A Pi 4 idles at 2.7 W and draws 7 W at most.
_IDLE_RATIO = 0.38
# Types of thermal zones that are a processor's, the most telling first.
_PROCESSORS = ("cpu-thermal", "tj-thermal", "cpu", "x86_pkg_temp", "soc", "thermal-fan-est")
_HOTTEST_CELSIUS = 85.0
_MARGIN_CELSIUS = 10.0


@dataclass
class _Draft:
    devices: dict[str, tuple[str, Settings, str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, name: str, driver: str, settings: Settings | None = None, why: str = "") -> None:
        """Add a device, unless there is one of this name."""
        self.devices.setdefault(name, (driver, settings or {}, why))


def suggest(scan: Scan, address: str = LOCAL, name: str = "mine") -> str:
    """A bench file (TOML) for one board."""
    draft = _Draft()
    _meters(scan, draft)
    _throttles(scan, draft)
    zone = _thermometers(scan, draft)
    _others(scan, draft)
    settings: Settings = {"meter": "meter.board"}
    if "throttle.board" in draft.devices:
        settings["throttle"] = "throttle.board"
    draft.add(f"node.{NODE}", "board.rack_node", settings)
    return "\n".join(_lines(scan, draft, zone, address, name)) + "\n"


def peak_watts(scan: Scan) -> float:
    """What a board of this model draws at its peak, about; W."""
    for part, watts in _PEAK_WATTS:
        if part in scan.model:
            return watts
    limits = [zone.limit_watts for zone in scan.powercap if zone.limit_watts and zone.name.startswith("package")]
    # Firmware that knows no limit says some hundreds of watts.
    return min(400.0, sum(limits)) if limits else _COMPUTER_WATTS


def _meters(scan: Scan, draft: _Draft) -> None:
    """The best meter of the whole board becomes meter.board: outside its supply, then its own, then a model."""
    for chip in (chip for bus in scan.i2c for chip in bus.chips if chip.drivers and chip.chip.startswith("INA")):
        where: Settings = {"bus": chip.bus, "address": chip.address}
        said = "says so itself" if chip.certain else "seems to be one"
        name = "meter.board" if "meter.board" not in draft.devices else f"meter.i2c-{chip.bus}-{chip.address:02x}"
        draft.add(name, chip.drivers[0], where, f"{chip.chip} at 0x{chip.address:02x}, {said}; set shunt_ohms")
    if scan.kind == "raspberry-pi" and scan.firmware and ("Pi 5" in scan.model or "Module 5" in scan.model):
        draft.add("meter.board", "raspberry_pi.pmic", why="the board's own power management chip")
    if scan.kind == "jetson":
        draft.add("meter.board", "jetson.rail", why="the module's input, measured by its INA3221")
    for gpu in scan.gpus:
        draft.add(f"meter.gpu-{gpu.index}", "nvidia.meter", {"gpu": gpu.index}, gpu.name)
    if scan.powercap:
        draft.add("meter.board", "board.cpu_meter", why="measured: the processor counts its energy (RAPL)")
    peak = peak_watts(scan)
    model: Settings = {"idle_watts": round(_IDLE_RATIO * peak, 1), "peak_watts": peak}
    draft.add("meter.board", "board.cpu_meter", model, "modelled from how busy its cores are: measure both at the wall")


def _throttles(scan: Scan, draft: _Draft) -> None:
    if scan.cpufreq:
        draft.add("throttle.board", "linux.cpufreq", why=f"{scan.cpufreq[0].driver}, {len(scan.cpufreq)} policies")
    if scan.kind == "jetson" and any("gpu" in item.name or "ga10b" in item.name for item in scan.devfreq):
        draft.add("throttle.gpu", "jetson.gpu_frequency")


def _thermometers(scan: Scan, draft: _Draft) -> ThermalZone | None:
    zones = [zone for zone in scan.thermal_zones if zone.celsius is not None]
    ranked = [zone for word in _PROCESSORS for zone in zones if word in zone.kind.lower()]
    zone = ranked[0] if ranked else None
    if zone is not None:
        draft.add(f"thermal.{NODE}", "linux.thermal_zone", {"zone": zone.kind}, "the processor is the node's chip")
    places = iter(("thermal.cold-plate", "thermal.radiator", "thermal.loop", "thermal.battery"))
    for chip in (chip for bus in scan.i2c for chip in bus.chips if chip.chip.startswith(("TMP", "LM"))):
        if chip.drivers:
            name = next(places, f"sensor.i2c-{chip.bus}-{chip.address:02x}")
            said = "says so itself" if chip.certain else "seems to be one"
            where: Settings = {"bus": chip.bus, "address": chip.address}
            draft.add(name, chip.drivers[0], where, f"{chip.chip} at 0x{chip.address:02x}, {said}")
    for identity in scan.one_wire:
        draft.add(next(places, f"sensor.{identity}"), "linux.one_wire", {"device": identity})
    return zone


def _others(scan: Scan, draft: _Draft) -> None:
    if scan.kind == "raspberry-pi" and scan.firmware:
        draft.add("monitor.board", "raspberry_pi.firmware")
    for chip in (chip for bus in scan.i2c for chip in bus.chips):
        where = f"0x{chip.address:02x} on i2c-{chip.bus}"
        if chip.kernel_driver:
            draft.remarks.append(f"{chip.chip or 'a chip'} at {where}: the kernel's driver {chip.kernel_driver} has it")
        elif not chip.chip:
            draft.remarks.append(f"somebody at {where} that no driver here knows")
        elif chip.drivers and not chip.chip.startswith(("INA", "TMP", "LM")):
            draft.remarks.append(f"may be {chip.chip} at {where}: for {' or '.join(chip.drivers)}")
    if scan.gpiochips:
        draft.remarks.append("load switches and heaters on GPIO lines: gpio.load_switch, gpio.heater")
    if scan.pwmchips:
        draft.remarks.append("fans and pumps on PWM channels: pwm.pump")


def _lines(scan: Scan, draft: _Draft, zone: ThermalZone | None, address: str, name: str) -> Iterator[str]:
    peak = peak_watts(scan)
    yield f"# Suggested by skyrack hil scan for: {scan.model}, Linux {scan.kernel}."
    yield f"name = {_value(name)}"
    yield f"constellation = {_value(CONSTELLATION)}"
    if address == LOCAL:
        yield "rate = 60"
    yield ""
    yield "[[boards]]"
    yield f"name = {_value(_board_name(scan))}"
    yield f"satellite = {_value(SATELLITE)}"
    yield f"address = {_value(address)}"
    yield f"kind = {_value(scan.kind)}"
    yield f"# About {peak:g} W at its peak stand for {NODE_PEAK_WATTS:g} W of the satellite."
    yield f"watts_scale = {NODE_PEAK_WATTS / peak:.3g}"
    if scan.watchdogs and scan.kind != "computer":
        yield f"watchdog_device = {_value(scan.watchdogs[0].name)}"
    for device, (driver, settings, why) in draft.devices.items():
        yield ""
        if why:
            yield f"# {why}"
        yield f"[boards.devices.{_value(device)}]"
        yield f"driver = {_value(driver)}"
        if settings:
            yield f"settings = {{ {', '.join(f'{key} = {_setting(key, value)}' for key, value in settings.items())} }}"
    if zone is not None:
        hottest = (zone.critical_celsius or _HOTTEST_CELSIUS + _MARGIN_CELSIUS) - _MARGIN_CELSIUS
        yield ""
        yield "[[boards.guards]]"
        yield f'device = "thermal.{NODE}"'
        yield f"high = {min(hottest, 95.0):g}"
        yield "for_seconds = 5"
        yield 'action = "stop-work"'
    if draft.remarks:
        yield ""
        yield "# Also found:"
        yield from (f"#   {remark}" for remark in draft.remarks)


def _board_name(scan: Scan) -> str:
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in scan.hostname.lower())
    return kept.strip("-")[:41] or "board"


def _setting(key: str, value: str | float) -> str:
    return f"0x{value:02x}" if key == "address" and isinstance(value, int) else _value(value)


def _value(value: str | float) -> str:
    # A JSON string is a TOML basic string; whatever firmware calls a board has no control characters left in it.
    return (
        json.dumps("".join(letter for letter in value if letter.isprintable()))
        if isinstance(value, str)
        else str(value)
    )
