"""Sessions of browsers: what a cookie holds, so that a token itself is never kept by a browser.

A session names the token that opened it and ends with it; another server on the same host, to which browsers send the
cookie as well, learns no token from it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

__all__ = ["SESSION_SECONDS", "Sessions"]

SESSION_SECONDS: Final = 7 * 86_400
_MARK: Final = b"skyrack session 1\0"


class Sessions:
    """Makes and reads sessions; whoever has the secret (32 random bytes) can make them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def begin(self, token_id: str, end_seconds: float) -> str:
        """A session of a token until a mission time."""
        text = f"{token_id}.{int(end_seconds)}"
        return f"{text}.{self._seal(text)}"

    def token_id(self, session: str, now: float) -> str | None:
        """The token that opened a session; None when it is over or was not made here."""
        text, _, seal = session.rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(text).encode()):
            return None
        token_id, _, end = text.rpartition(".")
        return token_id if now < int(end) else None

    def _seal(self, text: str) -> str:
        return hmac.new(self._secret, _MARK + text.encode(), hashlib.sha256).hexdigest()
