"""What supplies and loads of several makers call the same things. Tables only; each says by what it was checked.

No instrument was at hand: words are those of manuals and of other programs that drive these instruments.

"scpi" is SCPI-1999, volume 2. These have the bits of the questionable register as here: Keysight E36100 (manual, page
51), N5700 (User's Guide, page 71), N6705C (page 350), Agilent 664xA, 6631B, E4350B. CURRent:PROTection with a level is
what GW Instek PSU has (User manual, page 79). Others trip at the current limit itself, which is where a solar array is
at: leave that off, and set ``over_current_amperes = 0``. Not served are N6700, which wants a list of channels in each
command, and TDK-Lambda Genesys, which has other bits (64 is "output off").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SupplyDialect:
    """Commands of a supply; ``{c}`` is the channel, ``{v}`` a value.

    ``first`` is told before anything else; ``first_on_serial`` only on a serial line. ``trips`` are questions by what
    they ask for; an answer of 1, ON or YES is a trip. ``condition`` asks for the register of questionable conditions,
    whose bits 0, 1 and 4 are voltage, current and temperature.
    """

    first: tuple[str, ...] = ()
    first_on_serial: tuple[str, ...] = ()
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


_KEYSIGHT_TRIPS: Final = (("over-voltage", "VOLT:PROT:TRIP?"), ("over-current", "CURR:PROT:TRIP?"))
_KEYSIGHT_CLEAR: Final = ("VOLT:PROT:CLE", "CURR:PROT:CLE")

SUPPLIES: Final[Mapping[str, SupplyDialect]] = {
    "scpi": SupplyDialect(),
    # E3632A, E3633A and E3634A, User's Guides, "Output Settings and Operation Commands" and "The Questionable Status
    # Register": its bits mean regulation, so that trips are asked for. SYST:REM is what other programs begin with.
    "keysight-e363x": SupplyDialect(
        first_on_serial=("SYST:REM",),
        condition="",
        over_voltage=("VOLT:PROT {v:.4f}", "VOLT:PROT:STAT ON"),
        over_current=("CURR:PROT {v:.4f}", "CURR:PROT:STAT ON"),
        trips=_KEYSIGHT_TRIPS,
        clear=_KEYSIGHT_CLEAR,
    ),
    # E36311A to E36313A and EDU36311A, by what other programs say to them; their programming guide was not at hand.
    # Over-current protection has no level: it trips at the current limit, where a solar array is at.
    "keysight-e36300": SupplyDialect(
        first=("CURR:PROT:STAT OFF",),
        condition="",
        over_voltage=("VOLT:PROT {v:.4f}", "VOLT:PROT:STAT ON"),
        over_current=(),
        trips=_KEYSIGHT_TRIPS,
        clear=_KEYSIGHT_CLEAR,
    ),
    # DP800 Programming Guide (CONDition? is regulation, too, and not on all of them); sigrok, libsigrok
    # src/hardware/scpi-pps/profiles.c; gotmc/ivi, whose QUES? answers YES.
    "rigol-dp800": SupplyDialect(
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
"""What the bits of the questionable register say: see above."""

LOAD_CLEARS: Final[Mapping[str, str]] = {"scpi": "INP:PROT:CLE", "itech": "PROT:CLE"}
"""How a load's protection is cleared.

INPut:PROTection:CLEar: Agilent 6050 (Operating manual, page 50) and N3300. PROTection:CLEar: ITECH IT8700 and IT8800
(manuals, "Protective function"). How a Rigol DL3000 is cleared was found nowhere.
"""

LOAD_CONDITION_BITS: Final = (
    (0x01, "over-voltage or reverse voltage"),
    (0x02, "over-current"),
    (0x08, "over-power"),
    (0x10, "over-temperature"),
)
"""Rigol DL3000 Programming Guide, table 1-1, without a bit for temperature; ITECH's manuals name the others, too."""

ON_WORDS: Final = frozenset({"1", "ON", "YES"})
