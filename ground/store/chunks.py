"""Sealed telemetry: topics, the layouts of their messages, chunks of columns, and which sequences have come.

What a batch brings is kept at once as it came (``archive``); later its samples are sealed into chunks of up to an hour
of one topic, column by column, and the batch is dropped in the same transaction. A field over a day is then some dozen
short reads instead of thousands of batches to be taken apart, in a tenth of the room.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ground.telemetry.plans import Column, Shape
from skyrack.storage import Connection

__all__ = [
    "Ids",
    "SealedChunk",
    "Stored",
    "Topic",
    "add",
    "chunks_of",
    "extent",
    "load_sequences",
    "newest_of_each",
    "save_sequences",
    "totals",
    "trim",
    "types_of",
]

Topic = tuple[str, str, str, str]
"""Satellite, message type, source, key."""


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A chunk to be kept."""

    topic: Topic
    shape: Shape
    columns: tuple[Column, ...]
    first_seconds: float
    last_seconds: float
    samples: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk that was kept."""

    source: str
    key: str
    shape: Shape
    columns: tuple[Column, ...]
    data: bytes
    place: tuple[float, int]
    """On-board time of its first sample, and its id: what comes after it in order."""


@dataclass(slots=True)
class Ids:
    """Ids of topics and layouts that are known to be in the database."""

    topics: dict[Topic, int] = field(default_factory=dict)
    layouts: dict[tuple[int, Shape], int] = field(default_factory=dict)


def add(connection: Connection, ids: Ids, found: Sequence[SealedChunk]) -> Ids:
    """Keep chunks; returns the ids that are known once this transaction is committed."""
    known = Ids(dict(ids.topics), dict(ids.layouts))
    rows = []
    for chunk in found:
        topic = topic_id(connection, known, chunk.topic)
        rows.append(
            {
                "topic": topic,
                "layout": _layout_id(connection, known, topic, chunk),
                "first": chunk.first_seconds,
                "last": chunk.last_seconds,
                "samples": chunk.samples,
                "data": chunk.data,
            }
        )
    if rows:
        connection.executemany(
            "INSERT INTO telemetry_chunks (topic_id, layout_id, first_seconds, last_seconds, samples, data) "
            "VALUES (:topic, :layout, :first, :last, :samples, :data)",
            rows,
        )
    return known


def topic_id(connection: Connection, known: Ids, topic: Topic) -> int:
    """Id of a topic; made at its first use."""
    found = known.topics.get(topic)
    if found is None:
        names = dict(zip(("satellite", "type", "source", "key"), topic, strict=True))
        connection.execute(
            "INSERT INTO telemetry_topics (satellite, message_type, source, instance) "
            "VALUES (:satellite, :type, :source, :key) "
            "ON CONFLICT (satellite, message_type, source, instance) DO NOTHING",
            names,
        )
        row = connection.execute(
            "SELECT id FROM telemetry_topics WHERE satellite = :satellite AND message_type = :type "
            "AND source = :source AND instance = :key",
            names,
        ).fetchone()
        found = known.topics[topic] = int(row[0])
    return found


def _layout_id(connection: Connection, known: Ids, topic: int, chunk: SealedChunk) -> int:
    found = known.layouts.get((topic, chunk.shape))
    if found is None:
        columns = [[column.field, column.labels, column.is_integer] for column in chunk.columns]
        layout = json.dumps([chunk.shape, columns], separators=(",", ":"))
        names = {"topic": topic, "sha256": hashlib.sha256(layout.encode()).hexdigest()}
        connection.execute(
            "INSERT INTO telemetry_layouts (topic_id, sha256, layout) VALUES (:topic, :sha256, :layout) "
            "ON CONFLICT (topic_id, sha256) DO NOTHING",
            {**names, "layout": layout},
        )
        row = connection.execute(
            "SELECT id FROM telemetry_layouts WHERE topic_id = :topic AND sha256 = :sha256", names
        ).fetchone()
        found = known.layouts[topic, chunk.shape] = int(row[0])
    return found


_CHUNKS: Final = (
    "SELECT t.source, t.instance, l.layout, c.data, c.first_seconds, c.id FROM telemetry_topics t "
    "JOIN telemetry_chunks c ON c.topic_id = t.id JOIN telemetry_layouts l ON l.id = c.layout_id "
)


def chunks_of(
    connection: Connection,
    satellite: str,
    message_type: str,
    start_seconds: float,
    end_seconds: float,
    after: tuple[float, int] = (-1e300, 0),
    limit: int = 1_000_000,
) -> list[Stored]:
    """Chunks of a message type that hold samples with on-board times in [start, end), oldest first, after a place."""
    rows = connection.execute(
        _CHUNKS + "WHERE t.satellite = :satellite AND t.message_type = :type "
        "AND c.last_seconds >= :start AND c.first_seconds < :end "
        "AND (c.first_seconds > :after OR (c.first_seconds = :after AND c.id > :id)) "
        "ORDER BY c.first_seconds, c.id LIMIT :limit",
        {
            "satellite": satellite,
            "type": message_type,
            "start": start_seconds,
            "end": end_seconds,
            "after": after[0],
            "id": after[1],
            "limit": limit,
        },
    ).fetchall()
    layouts: dict[str, tuple[Shape, tuple[Column, ...]]] = {}
    return [_stored(row, layouts) for row in rows]


def extent(connection: Connection, satellite: str, message_type: str) -> tuple[float, float] | None:
    """On-board times of the oldest and the newest sample that is sealed."""
    row = connection.execute(
        "SELECT min(c.first_seconds), max(c.last_seconds) FROM telemetry_topics t "
        "JOIN telemetry_chunks c ON c.topic_id = t.id WHERE t.satellite = :satellite AND t.message_type = :type",
        {"satellite": satellite, "type": message_type},
    ).fetchone()
    return None if row is None or row[0] is None else (float(row[0]), float(row[1]))


def newest_of_each(connection: Connection) -> list[tuple[Topic, Stored]]:
    """The chunk of each topic that holds its newest sample."""
    layouts: dict[str, tuple[Shape, tuple[Column, ...]]] = {}
    topics = connection.execute(
        "SELECT id, satellite, message_type, source, instance FROM telemetry_topics ORDER BY id"
    ).fetchall()
    found = []
    for number, satellite, message_type, source, key in topics:
        row = connection.execute(
            _CHUNKS + "WHERE c.topic_id = :topic ORDER BY c.last_seconds DESC LIMIT 1", {"topic": number}
        ).fetchone()
        if row is not None:
            found.append(((satellite, message_type, source, key), _stored(row, layouts)))
    return found


def _stored(row: Sequence[Any], layouts: dict[str, tuple[Shape, tuple[Column, ...]]]) -> Stored:
    return Stored(row[0], row[1], *_layout(row[2], layouts), bytes(row[3]), (float(row[4]), int(row[5])))


def _layout(text: str, known: dict[str, tuple[Shape, tuple[Column, ...]]]) -> tuple[Shape, tuple[Column, ...]]:
    found = known.get(text)
    if found is None:
        shape, columns = json.loads(text)
        named = tuple(Column(name, tuple(labels), integer) for name, labels, integer in columns)
        found = known[text] = (_tuples(shape), named)
    return found


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def types_of(connection: Connection, satellite: str = "") -> list[tuple[str, str]]:
    """(satellite, message type) of everything that was ever sealed."""
    rows = connection.execute(
        "SELECT DISTINCT satellite, message_type FROM telemetry_topics "
        "WHERE satellite = :satellite OR :every = 1 ORDER BY satellite, message_type",
        {"satellite": satellite, "every": int(not satellite)},
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def save_sequences(connection: Connection, known: Ids, rows: Sequence[tuple[Topic, int, bytes]]) -> None:
    """Keep what has come of lives of topics, packed."""
    if rows:
        connection.executemany(
            "INSERT INTO telemetry_sequences (topic_id, incarnation, received) "
            "VALUES (:topic, :incarnation, :received) ON CONFLICT (topic_id, incarnation) "
            "DO UPDATE SET received = excluded.received",
            [
                {"topic": topic_id(connection, known, topic), "incarnation": incarnation, "received": packed}
                for topic, incarnation, packed in rows
            ],
        )


def load_sequences(connection: Connection) -> list[tuple[Topic, int, bytes]]:
    """What ``save_sequences`` kept, lives in their order."""
    rows = connection.execute(
        "SELECT t.satellite, t.message_type, t.source, t.instance, s.incarnation, s.received "
        "FROM telemetry_sequences s JOIN telemetry_topics t ON t.id = s.topic_id ORDER BY s.topic_id, s.incarnation"
    ).fetchall()
    return [((row[0], row[1], row[2], row[3]), int(row[4]), bytes(row[5])) for row in rows]


def totals(connection: Connection) -> tuple[int, int, int]:
    """Chunks, samples in them, and bytes."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(samples), 0), coalesce(sum(length(data)), 0) FROM telemetry_chunks"
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def trim(connection: Connection, before_seconds: float) -> None:
    """Forget chunks that end before the given on-board time, and lives of topics of which nothing is left."""
    connection.execute("DELETE FROM telemetry_chunks WHERE last_seconds < :before", {"before": before_seconds})
