"""Three-vectors as tuples: quick for one satellite at a time, and nothing to install."""

from __future__ import annotations

import math

Vector = tuple[float, float, float]


def dot(a: Vector, b: Vector) -> float:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Vector product, right-handed."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def subtract(a: Vector, b: Vector) -> Vector:
    """From the tip of ``b`` to the tip of ``a``."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def norm(a: Vector) -> float:
    """Length."""
    return math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])


def distance(a: Vector, b: Vector) -> float:
    """Distance between two points."""
    return norm(subtract(a, b))


def unit(a: Vector) -> Vector:
    """Direction of ``a``.

    Raises:
        ZeroDivisionError: ``a`` has no length and so no direction.
    """
    length = norm(a)
    return (a[0] / length, a[1] / length, a[2] / length)
