"""The acquisition scan: spots on an Archimedean spiral, as even as a square grid's."""

from __future__ import annotations

import math

OVERLAP = 1.2
"""Distance between spots over the field's half angle; a square grid covers all up to the square root of 2."""


def spot(number: int, half_field_radians: float) -> tuple[float, float]:
    """Offset of a spot from the centre, where spot 0 lies: (azimuth * cos(elevation), elevation), radians."""
    spacing = OVERLAP * half_field_radians
    radius = spacing * math.sqrt(number / math.pi)
    angle = math.sqrt(4.0 * math.pi * number)
    return radius * math.cos(angle), radius * math.sin(angle)


def spots_in(half_angle_radians: float, half_field_radians: float) -> int:
    """How many spots it takes to cover a cone."""
    turns = half_angle_radians / (OVERLAP * half_field_radians) + 0.5  # the last turn goes around the cone's edge
    return math.ceil(math.pi * turns**2)
