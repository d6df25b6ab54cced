"""Seeded runs under faults, judged by invariants, and how long detection and recovery took."""
