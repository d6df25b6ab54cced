"""Key lists that went up, and which satellites have taken them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from ground.connection import Connection
from ground.store.order_schema import key_lists, key_reports
from ground.store.upsert import insert as insert_into
from skyrack.orders import Verified
from skyrack.v1.backhaul_pb2 import OrderReport

__all__ = ["KeyReport", "insert", "reports", "take_report"]


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What a satellite said of a list."""

    version: int
    satellite: str
    stage: int
    reason: str
    mission_time_seconds: float


def insert(connection: Connection, order: Verified, signed_by: str, now: float) -> bool:
    """Keep a list; False when one of this version is here already."""
    row = {
        "version": order.order.keys.version,
        "order_id": order.order.order_id,
        "signed_order": order.data,
        "signed_by": signed_by,
        "created_seconds": now,
    }
    return connection.execute(insert_into(key_lists).on_conflict_do_nothing(), row).rowcount > 0


def take_report(connection: Connection, source: str, report: OrderReport) -> bool:
    """Note what became of a list on a satellite; False when the report is on something else."""
    version = connection.execute(select(key_lists.c.version).where(key_lists.c.order_id == report.order_id)).scalar()
    if version is None:
        return False
    said = {
        "stage": report.stage,
        "reason": report.reason,
        "mission_time_seconds": report.mission_time_seconds,
    }
    statement = insert_into(key_reports).on_conflict_do_update(
        index_elements=[key_reports.c.version, key_reports.c.satellite], set_=said
    )
    connection.execute(statement, {"version": version, "satellite": source, **said})
    return True


def reports(connection: Connection, version: int) -> dict[str, KeyReport]:
    """What was said of a list, by satellite."""
    rows = connection.execute(
        select(
            key_reports.c.version,
            key_reports.c.satellite,
            key_reports.c.stage,
            key_reports.c.reason,
            key_reports.c.mission_time_seconds,
        ).where(key_reports.c.version == version)
    )
    return {row[1]: KeyReport(*row) for row in rows}
