"""What is offered to whom, and wanted of whom, in the endpoint's database. Each runs in a transaction of the caller's.

The blocks themselves are not in here: what of a file has come is told by its hashes, from the file itself, so that a
block costs no transaction. A row ends with the receipt that lets the holder go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from skyrack.database import Connection
from skyrack.delivery.blocks.layout import BLOCK_BYTES, DIGEST_BYTES, Description, Layout, Offered

SCHEMA: Final = (
    """
    CREATE TABLE files_held (
        sha256 BLOB NOT NULL PRIMARY KEY,
        total_bytes INTEGER NOT NULL, block_bytes INTEGER NOT NULL,
        hashes BLOB NOT NULL, list_sha256 BLOB NOT NULL,
        path TEXT NOT NULL, content BLOB
    );
    CREATE INDEX files_held_list ON files_held (list_sha256);
    CREATE TABLE files_offered (
        destination TEXT NOT NULL, sha256 BLOB NOT NULL, job_id TEXT NOT NULL, attempt INTEGER NOT NULL,
        PRIMARY KEY (destination, sha256, job_id, attempt)
    );
    CREATE INDEX files_offered_job ON files_offered (job_id, attempt);
    CREATE TABLE files_wanted (
        source TEXT NOT NULL, sha256 BLOB NOT NULL,
        total_bytes INTEGER NOT NULL, block_bytes INTEGER NOT NULL, hashes BLOB,
        list_sha256 BLOB, list_hashes BLOB,
        state TEXT NOT NULL, problem TEXT NOT NULL, seen_seconds REAL NOT NULL,
        PRIMARY KEY (source, sha256)
    );
    CREATE TABLE files_wanted_for (
        source TEXT NOT NULL, sha256 BLOB NOT NULL, job_id TEXT NOT NULL, attempt INTEGER NOT NULL,
        PRIMARY KEY (source, sha256, job_id, attempt)
    );
    CREATE INDEX files_wanted_job ON files_wanted_for (job_id, attempt);
    """,
    """
    CREATE INDEX files_offered_file ON files_offered (sha256);
    """,
)

RECEIVING: Final = "receiving"
COMPLETE: Final = "complete"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Held:
    """A file that lies here for others. ``path`` and ``content`` are what its holder gave."""

    layout: Layout
    path: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to come."""

    source: str
    offered: Offered
    state: str
    problem: str


def hold(connection: Connection, description: Description, path: str = "", content: bytes | None = None) -> None:
    """Keep the description of a file that lies at ``path``, or is ``content``; harmless when it is known."""
    layout = description.layout
    connection.execute(
        "INSERT INTO files_held (sha256, total_bytes, block_bytes, hashes, list_sha256, path, content)"
        " VALUES (:sha256, :total, :block, :hashes, :list, :path, :content) ON CONFLICT (sha256) DO NOTHING",
        {
            "sha256": layout.sha256,
            "total": layout.total_bytes,
            "block": layout.block_bytes,
            "hashes": description.hashes,
            "list": description.list_layout.sha256 if description.has_list else b"",
            "path": path,
            "content": content,
        },
    )


def description(connection: Connection, sha256: bytes) -> Description | None:
    """The description of a file that is held, or None."""
    row = connection.execute(
        "SELECT total_bytes, block_bytes, hashes FROM files_held WHERE sha256 = :sha256", {"sha256": sha256}
    ).fetchone()
    return None if row is None else Description(Layout(sha256, row[0], row[1]), bytes(row[2]))


def offer(connection: Connection, destination: str, sha256: bytes, job_id: str, attempt: int) -> None:
    """A held file is offered from now on."""
    connection.execute(
        "INSERT INTO files_offered (destination, sha256, job_id, attempt)"
        " VALUES (:destination, :sha256, :job_id, :attempt) ON CONFLICT DO NOTHING",
        {"destination": destination, "sha256": sha256, "job_id": job_id, "attempt": attempt},
    )


def open_offers(connection: Connection, destination: str, sha256: bytes) -> list[tuple[str, int]]:
    """(job, attempt) for which a file is offered to a peer."""
    rows = connection.execute(
        "SELECT job_id, attempt FROM files_offered WHERE destination = :destination AND sha256 = :sha256 ORDER BY 1, 2",
        {"destination": destination, "sha256": sha256},
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def held_for(connection: Connection, destination: str, sha256: bytes) -> Held | None:
    """What a peer may ask for under this hash: a file that is offered to it, or the list of one's hashes."""
    row = connection.execute(
        "SELECT h.sha256, h.total_bytes, h.block_bytes, h.path, h.content, h.list_sha256, h.hashes FROM files_held h"
        " WHERE (h.sha256 = :sha256 OR h.list_sha256 = :sha256) AND EXISTS (SELECT 1 FROM files_offered o"
        " WHERE o.destination = :destination AND o.sha256 = h.sha256) ORDER BY h.sha256 LIMIT 1",
        {"sha256": sha256, "destination": destination},
    ).fetchone()
    if row is None:
        return None
    held = Description(Layout(bytes(row[0]), row[1], row[2]), bytes(row[6]))
    if held.layout.sha256 == sha256:
        return Held(held.layout, row[3], None if row[4] is None else bytes(row[4]))
    return Held(held.list_layout, "", held.hashes)


def withdraw(connection: Connection, destination: str, sha256: bytes, job_id: str, attempt: int) -> bool:
    """A file is no more offered for a job's attempt. Returns whether it was."""
    done = connection.execute(
        "DELETE FROM files_offered WHERE destination = :destination AND sha256 = :sha256 AND job_id = :job_id"
        " AND attempt = :attempt",
        {"destination": destination, "sha256": sha256, "job_id": job_id, "attempt": attempt},
    )
    return done.rowcount > 0


def let_go(connection: Connection, sha256: bytes) -> str | None:
    """Forget a held file unless it is still offered to anybody. Returns its path if it is forgotten."""
    row = connection.execute(
        "DELETE FROM files_held WHERE sha256 = :sha256 AND NOT EXISTS"
        " (SELECT 1 FROM files_offered o WHERE o.sha256 = files_held.sha256) RETURNING path",
        {"sha256": sha256},
    ).fetchall()
    return str(row[0][0]) if row else None


def held_paths(connection: Connection) -> set[str]:
    """Where the files lie that are held."""
    return {row[0] for row in connection.execute("SELECT path FROM files_held").fetchall()}


def want(
    connection: Connection, source: str, offered: Offered, job_id: str, attempt: int, now: float, *, is_here: bool
) -> str:
    """A peer has offered a file for a job's attempt. Returns its state.

    What was refused is given another chance, and so is what was complete and is not here any more.
    """
    layout = offered.layout
    key = {"source": source, "sha256": layout.sha256}
    row = connection.execute(
        "SELECT state FROM files_wanted WHERE source = :source AND sha256 = :sha256", key
    ).fetchone()
    state = RECEIVING if row is None or row[0] == REFUSED or (row[0] == COMPLETE and not is_here) else str(row[0])
    connection.execute(
        "INSERT INTO files_wanted (source, sha256, total_bytes, block_bytes, hashes, list_sha256, list_hashes, state,"
        " problem, seen_seconds) VALUES (:source, :sha256, :total, :block, :hashes, :list, :list_hashes, :state, '',"
        " :now) ON CONFLICT (source, sha256) DO UPDATE SET total_bytes = :total, block_bytes = :block,"
        " hashes = CASE WHEN files_wanted.state = :receiving AND files_wanted.block_bytes = :block"
        " THEN COALESCE(files_wanted.hashes, :hashes) ELSE :hashes END,"
        " list_sha256 = :list, list_hashes = :list_hashes, state = :state, problem = '', seen_seconds = :now",
        {
            **key,
            "total": layout.total_bytes,
            "block": layout.block_bytes,
            "hashes": offered.hashes,
            "list": offered.list_layout.sha256 if offered.list_layout else b"",
            "list_hashes": offered.list_hashes,
            "state": state,
            "receiving": RECEIVING,
            "now": now,
        },
    )
    want_for(connection, source, layout.sha256, job_id, attempt)
    return state


def want_for(connection: Connection, source: str, sha256: bytes, job_id: str, attempt: int) -> None:
    """A job's attempt needs the file."""
    connection.execute(
        "INSERT INTO files_wanted_for (source, sha256, job_id, attempt) VALUES (:source, :sha256, :job_id, :attempt)"
        " ON CONFLICT DO NOTHING",
        {"source": source, "sha256": sha256, "job_id": job_id, "attempt": attempt},
    )


def wanted(connection: Connection, source: str, sha256: bytes) -> Wanted | None:
    """What is known of a file that a peer has offered."""
    found = _wanted(connection, "source = :source AND sha256 = :sha256", {"source": source, "sha256": sha256})
    return found[0] if found else None


def receiving(connection: Connection) -> list[Wanted]:
    """Every file that is to come."""
    return _wanted(connection, "state = :state", {"state": RECEIVING})


def _wanted(connection: Connection, where: str, parameters: dict[str, object]) -> list[Wanted]:
    rows = connection.execute(
        "SELECT source, sha256, total_bytes, block_bytes, hashes, list_sha256, list_hashes, state, problem"  # noqa: S608 - conditions of ours
        f" FROM files_wanted WHERE {where} ORDER BY 1, 2",
        parameters,
    ).fetchall()
    found = []
    for source, sha256, total, block, hashes, list_sha256, list_hashes, state, problem in rows:
        layout = Layout(bytes(sha256), total, block)
        listed = Layout(bytes(list_sha256), DIGEST_BYTES * layout.blocks, BLOCK_BYTES) if list_sha256 else None
        offered = Offered(layout, None if hashes is None else bytes(hashes), listed, bytes(list_hashes or b""))
        found.append(Wanted(source, offered, state, problem))
    return found


def set_hashes(connection: Connection, source: str, sha256: bytes, hashes: bytes) -> None:
    """The list of a file's hashes has come, verified."""
    connection.execute(
        "UPDATE files_wanted SET hashes = :hashes WHERE source = :source AND sha256 = :sha256",
        {"source": source, "sha256": sha256, "hashes": hashes},
    )


def settle(connection: Connection, source: str, sha256: bytes, problem: str) -> list[tuple[str, int]]:
    """A file is here, verified, or will never be. Returns the jobs' attempts that it was wanted for."""
    state = REFUSED if problem else COMPLETE
    changed = connection.execute(
        "UPDATE files_wanted SET state = :state, problem = :problem, hashes = NULL"
        " WHERE source = :source AND sha256 = :sha256 AND state = :receiving",
        {"state": state, "problem": problem, "source": source, "sha256": sha256, "receiving": RECEIVING},
    )
    return references(connection, source, sha256) if changed.rowcount else []


def wanted_for(connection: Connection, source: str, job_id: str, attempt: int) -> list[Wanted]:
    """The files that are wanted for a job's attempt."""
    return _wanted(
        connection,
        "source = :source AND sha256 IN (SELECT sha256 FROM files_wanted_for WHERE source = :source"
        " AND job_id = :job_id AND attempt = :attempt)",
        {"source": source, "job_id": job_id, "attempt": attempt},
    )


def offered_for(connection: Connection, destination: str, job_id: str, attempt: int) -> list[bytes]:
    """The files that are offered for a job's attempt."""
    rows = connection.execute(
        "SELECT sha256 FROM files_offered WHERE destination = :destination AND job_id = :job_id AND attempt = :attempt"
        " ORDER BY 1",
        {"destination": destination, "job_id": job_id, "attempt": attempt},
    ).fetchall()
    return [bytes(row[0]) for row in rows]


def references(connection: Connection, source: str, sha256: bytes) -> list[tuple[str, int]]:
    """The jobs' attempts that a file is wanted for."""
    rows = connection.execute(
        "SELECT job_id, attempt FROM files_wanted_for WHERE source = :source AND sha256 = :sha256 ORDER BY 1, 2",
        {"source": source, "sha256": sha256},
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def forget(connection: Connection, source: str, job_id: str, attempt: int) -> list[bytes]:
    """A job's attempt needs its files no more. Returns those that nobody needs any more, and are forgotten."""
    key: dict[str, object] = {"source": source, "job_id": job_id, "attempt": attempt}
    rows = connection.execute(
        "DELETE FROM files_wanted_for WHERE source = :source AND job_id = :job_id AND attempt = :attempt"
        " RETURNING sha256",
        key,
    ).fetchall()
    return [sha256 for (found,) in rows if _forget_unneeded(connection, source, sha256 := bytes(found))]


def _forget_unneeded(connection: Connection, source: str, sha256: bytes) -> bool:
    if references(connection, source, sha256):
        return False
    connection.execute(
        "DELETE FROM files_wanted WHERE source = :source AND sha256 = :sha256", {"source": source, "sha256": sha256}
    )
    return True
