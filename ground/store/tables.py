"""All tables of the ground: whoever makes or compares them needs every module that declares some."""

from __future__ import annotations

from ground.store import access_schema, command_schema, order_schema, schema, telemetry_schema

__all__ = ["METADATA", "access_schema", "command_schema", "order_schema", "telemetry_schema"]

METADATA = schema.METADATA
