"""Telemetry as a Parquet or CSV file, made piece by piece: one row for each value, in bounded memory.

Columns: satellite, field, labels (``load=node-1``), source, mission_time_seconds, received_seconds, value, unit. In
Parquet the schema's metadata holds the unit and the description of every field as JSON under ``skyrack.fields``.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv, parquet

from ground.telemetry.archiver import Archiver
from ground.telemetry.history import Part, collect
from skyrack.dictionary import message_type, telemetry, telemetry_fields

__all__ = ["MEDIA_TYPES", "Format", "export"]

Format = Literal["parquet", "csv"]
MEDIA_TYPES: Final = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8"}

_WINDOW_SECONDS: Final = 3600.0
_WORD: Final = pa.dictionary(pa.int32(), pa.string())


def schema(kind: Format) -> pa.Schema:
    """What the columns are."""
    word = _WORD if kind == "parquet" else pa.string()
    fields = {
        name: {"unit": field.unit, "description": field.description}
        for name, field in telemetry_fields().items()
        if field.kind.numeric and not field.label
    }
    seconds = {"unit": "seconds", "description": "Mission time, seconds since 1970-01-01 UTC"}
    return pa.schema(
        [
            pa.field("satellite", word),
            pa.field("field", word),
            pa.field("labels", word),
            pa.field("source", word),
            pa.field("mission_time_seconds", pa.float64(), metadata=seconds),
            pa.field("received_seconds", pa.float64(), metadata=seconds),
            pa.field("value", pa.float64()),
            pa.field("unit", word),
        ],
        metadata={"skyrack.fields": json.dumps(fields), "skyrack.time": "mission"},
    )


class _Sink(io.RawIOBase):
    """A file that is read while it is written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def drain(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def export(
    archiver: Archiver,
    satellites: Sequence[str],
    kind: Format,
    start_seconds: float,
    end_seconds: float,
    fields: frozenset[str] | None = None,
) -> AsyncIterator[bytes]:
    """The file, piece by piece: by satellite, message type and hour. Raises ``StorageError``."""
    loop = asyncio.get_running_loop()
    sink = _Sink()
    columns = schema(kind)
    file = pa.PythonFile(sink, mode="w")
    writer: Any = (
        parquet.ParquetWriter(file, columns, compression="zstd") if kind == "parquet" else csv.CSVWriter(file, columns)
    )
    try:
        for satellite in satellites:
            for name in await archiver.types(satellite):
                wanted = _wanted(name, fields)
                extent = await archiver.extent(satellite, name) if wanted else None
                if extent is None:
                    continue
                begin = max(start_seconds, extent[0])
                end = min(end_seconds, np.nextafter(extent[1], np.inf))
                while begin < end:
                    stop = min(begin + _WINDOW_SECONDS, end)
                    parts = await archiver.parts(satellite, name, begin, stop)
                    if parts:
                        write: Callable[[], None] = partial(
                            _write, writer, columns, satellite, parts, wanted, begin, stop
                        )
                        await loop.run_in_executor(None, write)
                        if piece := sink.drain():
                            yield piece
                    begin = stop
    finally:
        await loop.run_in_executor(None, writer.close)
    yield sink.drain()


def _wanted(full_name: str, fields: frozenset[str] | None) -> frozenset[str]:
    try:
        name = message_type(full_name).DESCRIPTOR.name
    except KeyError:
        return frozenset()
    known = telemetry().get(name)
    found = frozenset(field.name for field in known.fields if field.kind.numeric) if known else frozenset()
    return found if fields is None else found & fields


def _write(
    writer: Any,
    columns: pa.Schema,
    satellite: str,
    parts: list[Part],
    wanted: frozenset[str],
    start_seconds: float,
    end_seconds: float,
) -> None:
    known = telemetry_fields()
    for values in collect(parts, wanted, start_seconds, end_seconds):
        field = known[values.field]
        labels = ",".join(f"{name}={label}" for name, label in zip(field.labels, values.labels, strict=True))
        count = len(values.times)
        words = {
            "satellite": satellite,
            "field": values.field,
            "labels": labels,
            "source": values.source,
            "unit": field.unit,
        }
        numbers = {
            "mission_time_seconds": values.times,
            "received_seconds": values.received,
            "value": values.values,
        }
        arrays = [
            _repeated(words[column.name], count, column.type)
            if column.name in words
            else pa.array(numbers[column.name], pa.float64())
            for column in columns
        ]
        writer.write_table(pa.Table.from_arrays(arrays, schema=columns))


def _repeated(word: str, count: int, kind: pa.DataType) -> Any:
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([word]))
    return pa.repeat(word, count)
