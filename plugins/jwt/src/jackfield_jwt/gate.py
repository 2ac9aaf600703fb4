"""The gate of one server: who is let in with which token, who is in, and who is put out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

from jackfield import CallError, Client, Code, Handshake, Principal
from jackfield_jwt.keyring import LocalKeys, RemoteKeys
from jackfield_jwt.keys import read_local
from jackfield_jwt.revocations import Full, Revocations
from jackfield_jwt.settings import JwtSettings
from jackfield_jwt.tokens import ANONYMOUS, Claims, Keys, Rejected, Verifier

log: Final = logging.getLogger(__name__)

REFUSAL: Final = "Nobody here knows who you are: check the token."
"""Said of every token that is not good, whatever is wrong with it."""
REVOKED: Final = 4001
_QUIET: Final = 1.0
"""Seconds after a line of the log in which refusals are only counted: whoever likes can cause them."""


class Keyring(Keys, Protocol):
    """Keys that are opened and closed with the server."""

    async def open(self) -> None:
        """Make ready."""

    async def close(self) -> None:
        """Give back what `open` took."""

    @property
    def health(self) -> str:
        """A line about the keys."""

    @property
    def ill(self) -> bool:
        """Whether tokens cannot be verified."""


@dataclass(frozen=True, slots=True)
class Bearer(Principal):
    """Who is calling, and by which token.

    Args:
        claims: What the token says.
        gate: Who has verified it.
    """

    claims: Claims | None = None
    gate: Gate | None = field(default=None, repr=False, compare=False)


class Gate:
    """Lets clients in, for one server.

    Args:
        settings: The plugin's settings, with keys.

    Raises:
        KeyFault: The keys cannot be read.
    """

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        local = read_local(settings)
        self.keys: Keyring = LocalKeys(local) if local is not None else RemoteKeys(settings.jwks_url or "", settings)
        self._verifier = Verifier(settings, self.keys)
        self._revocations = Revocations(settings)
        self._clients: set[Client] = set()
        self._silent_until = 0.0
        self._unsaid = 0

    async def authenticate(self, handshake: Handshake) -> Principal | None:
        """Return who shows a good token, or none where that is allowed; None for everybody else.

        Raises:
            CallError: `unavailable`: the keys are not to be had now.
        """
        try:
            token = self._token(handshake)
            if token is not None:
                return await self._bearer(token)
        except Rejected as rejected:
            self._say(handshake.address, rejected)
            return None
        if self._settings.anonymous_scopes is None:
            self._say(handshake.address, Rejected("there is none"))
            return None
        return Bearer(ANONYMOUS, frozenset(self._settings.anonymous_scopes), gate=self)

    async def renew(self, client: Client, token: str) -> Principal:
        """Take a newer token from a client that is in.

        Raises:
            CallError: `unauthenticated`: it is not good; `permission_denied`: it is somebody else's; `unavailable`.
        """
        try:
            bearer = await self._bearer(token)
        except Rejected as rejected:
            self._say(client.address, rejected)
            raise CallError(Code.UNAUTHENTICATED, REFUSAL) from None
        client.renew(bearer)
        self._clients.add(client)  # another plugin may have let it in
        return bearer

    def revoke(self, *, subject: str | None = None, token: str | None = None) -> int:
        """Refuse the tokens of a subject, or one token, from now on, and close their connections.

        Returns:
            How many connections are closed.

        Raises:
            CallError: `resource_exhausted`: so many revocations are remembered that one more cannot be.
        """
        try:
            self._revocations.add(subject=subject, token=token)
        except Full:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._settings.max_revocations} revocations are remembered (plugins.jwt.max_revocations).",
            ) from None
        return sum(self._put_out(client) for client in list(self._clients))

    def arrived(self, client: Client) -> None:
        """Take note of a client, whose token may have been revoked since it was looked at."""
        self._clients.add(client)
        self._put_out(client)

    def left(self, client: Client) -> None:
        """Forget a client that has gone."""
        self._clients.discard(client)

    async def _bearer(self, token: object) -> Bearer:
        claims = await self._verifier.read(token)
        if self._revocations.hold(claims):
            raise Rejected("it was revoked")
        # Until then the token would let its client in again.
        return Bearer(claims.subject, claims.scopes, claims.expires + self._settings.leeway, claims, self)

    def _put_out(self, client: Client) -> bool:
        principal = client.principal
        if (
            not isinstance(principal, Bearer)
            or principal.claims is None
            or not self._revocations.hold(principal.claims)
        ):
            return False
        client.disconnect("the token was revoked", REVOKED)
        return True

    def _token(self, handshake: Handshake) -> object:
        shown = handshake.auth.get("token")
        scheme, _, value = handshake.headers.get("authorization", "").partition(" ")
        if not self._settings.header or scheme.lower() != "bearer":
            return shown
        value = value.strip()
        if shown is not None and shown != value:
            raise Rejected("there are two that differ")
        return value

    def _say(self, address: str, rejected: Rejected) -> None:
        now = time.monotonic()
        if now < self._silent_until:
            self._unsaid += 1
            return
        more = f" (and {self._unsaid} others before)" if self._unsaid else ""
        log.info("the token of a client at %s is refused: %s%s", address or "a socket", rejected, more)
        self._silent_until, self._unsaid = now + _QUIET, 0
