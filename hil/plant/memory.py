"""What outlives the plant's process: the world's whole state, in a file that is whole or not there.

The file begins with a digest of what follows, so that a damaged one is known; what follows is msgpack. It belongs to
one constellation, known by its names, designs and relays, and to one run, known by its clock's anchor: another run of
the same constellation goes on with its batteries and temperatures, but not with the faults of the run before.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import sys
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.plant.plant import Plant
    from skyrack.clock import Anchor, Clock
    from skyrack.satellite import ConstellationFile, SatelliteFile

FORMAT = 1
FAULT = "fault."  # arrays that faults change; a state without them is that of a world that is whole
SAVE_SECONDS = 1.0  # of the host
REPLAY_ORBITS = 2.0  # a longer gap is not stepped through
_DIGEST = hashlib.blake2b
_DIGEST_BYTES = _DIGEST().digest_size


class StateError(ValueError):
    """This is no state of this plant."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that the plant's future depends on.

    Attributes:
        mission_time_seconds: the plant's time.
        block_start_seconds: from where it looked ahead at the sky.
        step_seconds: length of its steps; not a number before the first.
        row: its place in that look; -1 before the first step.
        generator: state of the generator of jitter, JSON.
        device_faults: by satellite, what devices are to show.
        arrays: batteries, temperatures, switches and so on, by name.
    """

    mission_time_seconds: float
    block_start_seconds: float
    step_seconds: float
    row: int
    generator: str
    device_faults: dict[str, dict[str, float]]
    arrays: dict[str, NDArray[Any]]

    def without_faults(self) -> Self:
        """The same world, mended."""
        whole = {key: array for key, array in self.arrays.items() if not key.startswith(FAULT)}
        return msgspec.structs.replace(self, device_faults={}, arrays=whole)

    def copy_to(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write all arrays over the plant's own, or none.

        Raises:
            StateError: they are not of the same names, shapes and types, or a value is not a number.
        """
        missing = [key for key in arrays if key not in self.arrays and not key.startswith(FAULT)]
        unknown = [key for key in self.arrays if key not in arrays]
        if missing or unknown:
            raise StateError(f"arrays are missing ({', '.join(missing)}) or unknown ({', '.join(unknown)})")
        for key, array in self.arrays.items():
            own = arrays[key]
            if (array.shape, array.dtype) != (own.shape, own.dtype):
                raise StateError(f"{key} is {array.dtype} {array.shape}; it must be {own.dtype} {own.shape}")
            if np.isnan(array).any():
                raise StateError(f"{key} has values that are not a number")
        for key, array in self.arrays.items():
            arrays[key][...] = array


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds."""

    format: int
    constellation: str
    run: str
    state: State


class PlantMemory:
    """The file of one plant."""

    def __init__(self, path: Path, constellation: str, anchor: Anchor) -> None:
        """Set up; ``constellation`` is its :func:`fingerprint`, ``anchor`` the one of the run's clock."""
        self.path = path
        self._constellation = constellation
        self._run = f"{anchor.mission_time_seconds!r} {anchor.host_time_seconds!r}"
        self._log = structlog.get_logger("plant")
        self._failing = False
        self.same_run = False  # whether what was loaded is of this run

    def load(self) -> State:
        """Read the state; of another run, without its faults.

        Raises:
            StateError: the file is not there, is damaged, or is of another constellation.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise StateError(f"{self.path} cannot be read: {error.strerror}") from None
        digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if _DIGEST(body).digest() != digest:
            raise StateError(f"{self.path} is damaged")
        try:
            record = msgspec.msgpack.decode(body, type=Record, dec_hook=_decode_array)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise StateError(f"{self.path} is of another version: {error}") from None
        if record.format != FORMAT:
            raise StateError(f"{self.path} is of format {record.format}; this one reads {FORMAT}")
        if record.constellation != self._constellation:
            raise StateError(f"{self.path} is of another constellation")
        self.same_run = record.run == self._run
        return record.state if self.same_run else record.state.without_faults()

    def save(self, state: State) -> None:
        """Replace the file; a power cut leaves the old one or the new one. A disk that refuses is logged, once."""
        record = Record(format=FORMAT, constellation=self._constellation, run=self._run, state=state)
        body = msgspec.msgpack.encode(record, enc_hook=_encode_array)
        temporary = self.path.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                file.write(_DIGEST(body).digest())
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            if not self._failing:
                self._log.warning("state_not_saved", path=str(self.path), error=str(error))
            self._failing = True
            return
        self._failing = False

    async def keep(self, plant: Plant) -> None:
        """Save about once a second of the host until cancelled, and once more then."""
        saving: asyncio.Task[None] | None = None
        try:
            while True:
                saving = asyncio.create_task(asyncio.to_thread(self.save, plant.state()))
                await asyncio.shield(saving)
                await asyncio.sleep(SAVE_SECONDS)
        finally:
            if saving is not None:
                await asyncio.wait([saving])  # or it would come after the last
            self.save(plant.state())


def fingerprint(constellation: ConstellationFile, designs: Mapping[str, SatelliteFile]) -> str:
    """What tells constellations apart whose states would not fit: satellites' names and designs, and relays."""
    named = [(satellite.name, designs[satellite.name]) for satellite in constellation.satellites]
    return hashlib.sha256(msgspec.json.encode((named, constellation.relays))).hexdigest()


def begin(plant: Plant, clock: Clock, memory: PlantMemory | None = None) -> float:
    """Let the world begin where it ended, or else at the clock's present in its initial state.

    A world whose end lies more than ``REPLAY_ORBITS`` back, or ahead of the clock, begins at the present as it was.

    Returns:
        Mission time until which this run's faults have been brought on already; minus infinity when none were.
    """
    log = structlog.get_logger("plant")
    now = clock.now()
    if memory is None:
        plant.begin_at(now)
        return -math.inf
    try:
        state = memory.load()
        plant.restore(state)
    except StateError as error:
        log.warning("plant_begins_anew", reason=str(error), mission_time_seconds=now)
        plant.begin_at(now)
        return -math.inf
    gap = now - plant.time
    if 0.0 <= gap <= REPLAY_ORBITS * plant.geometry.orbit_seconds:
        log.info("plant_goes_on", mission_time_seconds=plant.time, gap_seconds=gap)
    else:
        log.warning("plant_skips_to_the_present", since_seconds=plant.time, mission_time_seconds=now, gap_seconds=gap)
        plant.begin_at(now)
    return state.mission_time_seconds if memory.same_run else -math.inf


def _encode_array(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise NotImplementedError
    little = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
    return little.dtype.str, little.shape, little.tobytes()


def _decode_array(_: Any, value: Any) -> Any:
    dtype, shape, data = value
    array = np.frombuffer(data, dtype).reshape(shape)
    return array if sys.byteorder == "little" else array.astype(array.dtype.newbyteorder("="))
