"""The functions of `api.auth`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jackfield import Call, CallError, Code, Service
from jackfield_jwt.messages import Identity, Refresh, Revoke, Revoked, Standing

if TYPE_CHECKING:
    from jackfield_jwt.gate import Gate

OPERATOR: Final = "jackfield:operator"
"""The scope of those who run the server."""


def make_service(gate_of: Callable[[Call], Gate | None]) -> Service:
    """Return the service; `gate_of` tells whose clients a call is about, if clients are asked for tokens."""
    service = Service("api.auth")

    def gate(call: Call) -> Gate:
        found = gate_of(call)
        if found is None:
            raise CallError(Code.FAILED_PRECONDITION, "This server asks nobody for a token: plugins.jwt has no key.")
        return found

    @service.function(
        requires=(), errors=[Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION, Code.UNAVAILABLE]
    )
    async def refresh(call: Call, data: Refresh) -> Standing:
        """Go on with a newer token: the connection lasts as long as that, and calls from now on have its scopes.

        The token is of the same subject. One that is refused changes nothing.
        """
        asked = gate(call)
        if call.client is None:
            raise CallError(Code.FAILED_PRECONDITION, "Only a client has a token to be renewed.")
        principal = await asked.renew(call.client, data.token)
        return Standing(expires=principal.expires, scopes=sorted(principal.scopes))

    @service.function(requires=())
    async def whoami(call: Call) -> Identity:
        """Tell who is calling, what they may do, and until when."""
        principal = call.principal
        if principal is None:
            return Identity(sub=None, expires=None, scopes=[])
        return Identity(sub=principal.id, expires=principal.expires, scopes=sorted(principal.scopes))

    @service.function(requires=OPERATOR, errors=[Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED])
    async def revoke(call: Call, data: Revoke) -> Revoked:
        """Refuse all tokens that a subject has by now, or the one token of an id, and close their connections.

        Each server remembers its own, in memory, for as long as such a token could be good.
        """
        return Revoked(closed=gate(call).revoke(subject=data.sub, token=data.jti))

    return service
