"""What supplies and loads of several makers call the same things. Tables only.

"scpi" is what SCPI-1999 (volume 2, chapters 13, 15, 19 and 20) names, and what most makers follow: Keysight N5700 and
N6700, ITECH, TDK-Lambda Genesys. The others are of the makers' programming guides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SupplyDialect:
    """Commands of a supply; ``{c}`` is the channel, ``{v}`` a value.

    ``trips`` are questions by what they ask for; an answer of 1, ON or YES is a trip. ``condition`` asks for the
    register of questionable conditions, whose bits 0, 1 and 4 are voltage, current and temperature.
    """

    select: str = "INST:NSEL {c}"
    volts: str = "VOLT {v:.4f}"
    amperes: str = "CURR {v:.4f}"
    ask_volts: str = "VOLT?"
    ask_amperes: str = "CURR?"
    over_voltage: tuple[str, ...] = ("VOLT:PROT {v:.4f}",)
    over_current: tuple[str, ...] = ("CURR:PROT {v:.4f}",)
    output: str = "OUTP {v}"
    ask_output: str = "OUTP?"
    measure_volts: str = "MEAS:VOLT?"
    measure_amperes: str = "MEAS:CURR?"
    condition: str = "STAT:QUES:COND?"
    trips: tuple[tuple[str, str], ...] = ()
    clear: tuple[str, ...] = ("OUTP:PROT:CLE",)


SUPPLIES: Final[Mapping[str, SupplyDialect]] = {
    "scpi": SupplyDialect(),
    # E363xA, E36100, E36200: bits of the condition register mean regulation there, so that trips are asked for.
    "keysight-e36": SupplyDialect(
        condition="",
        over_voltage=("VOLT:PROT {v:.4f}", "VOLT:PROT:STAT ON"),
        over_current=("CURR:PROT {v:.4f}", "CURR:PROT:STAT ON"),
        trips=(("over-voltage", "VOLT:PROT:TRIP?"), ("over-current", "CURR:PROT:TRIP?")),
        clear=("VOLT:PROT:CLE", "CURR:PROT:CLE"),
    ),
    "rigol-dp800": SupplyDialect(
        select="INST:NSEL {c}",
        over_voltage=("OUTP:OVP:VAL CH{c},{v:.4f}", "OUTP:OVP CH{c},ON"),
        over_current=("OUTP:OCP:VAL CH{c},{v:.4f}", "OUTP:OCP CH{c},ON"),
        output="OUTP CH{c},{v}",
        ask_output="OUTP? CH{c}",
        measure_volts="MEAS:VOLT? CH{c}",
        measure_amperes="MEAS:CURR? CH{c}",
        condition="",
        trips=(("over-voltage", "OUTP:OVP:QUES? CH{c}"), ("over-current", "OUTP:OCP:QUES? CH{c}")),
        clear=("OUTP:OVP:CLEAR CH{c}", "OUTP:OCP:CLEAR CH{c}"),
    ),
}

CONDITION_BITS: Final = ((0x01, "over-voltage"), (0x02, "over-current"), (0x10, "over-temperature"))
"""SCPI-1999, volume 1, 20.2: what the standard's bits of the questionable register say."""

LOAD_CONDITION_BITS: Final = (
    (0x01, "over-voltage"),
    (0x02, "over-current"),
    (0x08, "over-power"),
    (0x10, "over-temperature"),
)

ON_WORDS: Final = frozenset({"1", "ON", "YES"})
