"""What was revoked: remembered for as long as a token of that time could still be good."""

from __future__ import annotations

import time
from typing import Final

from jackfield_jwt.settings import JwtSettings
from jackfield_jwt.tokens import Claims

_SWEEP: Final = 1000
"""Revocations after which the old ones are thrown away, and again after as many more."""


class Full(Exception):
    """So many are remembered that one more cannot be."""


class Revocations:
    """The subjects and the tokens that were revoked.

    Args:
        settings: How long a token can be good, and how many revocations are remembered.
    """

    def __init__(self, settings: JwtSettings) -> None:
        self._leeway = settings.leeway
        self._lasts = settings.max_age + 2 * settings.leeway
        self._most = settings.max_revocations
        self._subjects: dict[str, float] = {}
        self._tokens: dict[str, float] = {}
        self._sweep_at = min(_SWEEP, self._most)

    def __len__(self) -> int:
        return len(self._subjects) + len(self._tokens)

    def add(self, *, subject: str | None = None, token: str | None = None) -> None:
        """Revoke a subject's tokens of up to now, or one token by its id.

        Raises:
            Full: There are too many.
        """
        now = time.time()
        if len(self) >= self._sweep_at:
            self._sweep(now)
        if len(self) >= self._most:
            raise Full
        if subject is not None:
            self._subjects[subject] = now
        if token is not None:
            self._tokens[token] = now

    def hold(self, claims: Claims) -> bool:
        """Tell whether a token was revoked; one that does not say when it was made may be of before."""
        if claims.id is not None and claims.id in self._tokens:
            return True
        when = self._subjects.get(claims.subject)
        if when is None or time.time() > when + self._lasts:
            return False
        return claims.issued is None or claims.issued <= when + self._leeway

    def _sweep(self, now: float) -> None:
        for revoked in (self._subjects, self._tokens):
            for name in [name for name, when in revoked.items() if now > when + self._lasts]:
                del revoked[name]
        self._sweep_at = min(len(self) + _SWEEP, self._most)
