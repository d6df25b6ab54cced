"""How asking a ground can fail."""

from __future__ import annotations

from typing import Final

import httpx

from skyrack.errors import UserError

__all__ = ["GroundError", "UnreachableError", "check", "no_ground", "unreachable"]

_WORDS: Final = {
    401: "{detail}; show a token with SKYRACK_TOKEN, or in the address: {url}/?token=…",
    429: "{detail}",
}


class UnreachableError(UserError):
    """No ground answers."""


class GroundError(UserError):
    """The ground refused, and said why; ``status`` is HTTP's."""

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


def unreachable(url: str, error: Exception) -> UnreachableError:
    """Nothing answers there."""
    return UnreachableError(
        f"the ground at {url} does not answer ({error or type(error).__name__}): "
        "start it with `skyrack up`, or name another with --ground URL"
    )


def no_ground(url: str) -> UnreachableError:
    """Something else answers there."""
    return UnreachableError(f"what answers at {url} is no ground; name another with --ground URL")


def check(response: httpx.Response, url: str) -> None:
    """Raise what the ground says is wrong; the answer has been read."""
    if response.is_success:
        return
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the ground answered {response.status_code}: {response.text[:200]}"
    words = _WORDS.get(response.status_code, "{detail}")
    raise GroundError(words.format(detail=detail, url=url), response.status_code)
