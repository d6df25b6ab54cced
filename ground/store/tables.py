"""All tables of the ground: whoever makes or compares them needs every module that declares some."""

from __future__ import annotations

from ground.store import command_schema, schema

__all__ = ["METADATA", "command_schema"]

METADATA = schema.METADATA
