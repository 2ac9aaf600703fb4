"""Seals, by which servers know what is theirs of all that comes from Redis."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

_SIZE: Final = 32
"""Bytes of a seal."""


class Seal:
    """Seals bytes with a key (HMAC-SHA256), and refuses what has no seal; without a key it does neither.

    Args:
        keys: The first one seals. Each of them is accepted, so a key is changed without a gap: give the new one to all
            servers as a further one, then as the first one, then take the old one away.

    Attributes:
        refused: How many messages had no seal of these keys.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]
        self.refused = 0

    def close(self, content: bytes, place: bytes = b"") -> bytes:
        """Return the content, sealed for a place, such as the name of a channel."""
        return self._of(self._keys[0], content, place) + content if self._keys else content

    def open(self, message: bytes, place: bytes = b"") -> bytes | None:
        """Return the content of a message for a place, or None where the seal is not ours."""
        if not self._keys:
            return message
        seal, content = message[:_SIZE], message[_SIZE:]
        if any(hmac.compare_digest(seal, self._of(key, content, place)) for key in self._keys):
            return content
        self.refused += 1
        return None

    def _of(self, key: bytes, content: bytes, place: bytes) -> bytes:
        return hmac.digest(key, len(place).to_bytes(4, "big") + place + content, "sha256")
