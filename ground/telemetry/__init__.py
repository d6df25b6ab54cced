"""Telemetry on the ground: from encoded batches to latest values, archive, alarms, and what is missing.

A sample costs one parse, one read of all its fields by a plan made once per type, one comparison per limited field,
and one append to the columns of its topic. What is kept stands in ``ground.store.chunks``; what decides stands here, in
modules without I/O; ``service`` is the shell around them.
"""
