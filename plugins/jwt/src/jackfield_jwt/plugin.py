"""What the kernel asks the plugin for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from jackfield import Client, Handshake, Kernel, Principal, Service, hookimpl
from jackfield_jwt.handlers import make_service
from jackfield_jwt.settings import JwtSettings

if TYPE_CHECKING:
    from jackfield_jwt.gate import Gate

log: Final = logging.getLogger(__name__)

_gates: Final[dict[Kernel, Gate]] = {}
"""What is open, by the kernel that it is the gate of: a process may run several."""


@hookimpl
def jackfield_settings() -> type[JwtSettings]:
    """Return the model of `[plugins.jwt]`."""
    return JwtSettings


@hookimpl
def jackfield_abstain(settings: JwtSettings) -> list[str]:
    """Without keys ask nobody for a token: the plugin would otherwise close the server by being installed."""
    connections = ["jackfield_authenticate", "jackfield_connect", "jackfield_disconnect"]
    return [] if settings.configured else connections


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [make_service(lambda call: _gates.get(call.kernel))]


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: JwtSettings) -> None:
    """Read the keys, so that a server that cannot verify a token says so at its start."""
    if not settings.configured:
        log.warning("plugins.jwt has no key, so it asks nobody for a token: clients are let in as if it were not there")
        return
    from jackfield_jwt.gate import Gate  # noqa: PLC0415 - a server without a key pays for no cryptography

    gate = Gate(settings)
    await gate.keys.open()
    _gates[kernel] = gate


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """End what runs."""
    gate = _gates.pop(kernel, None)
    if gate is not None:
        await gate.keys.close()


@hookimpl
async def jackfield_health(kernel: Kernel) -> str:
    """Tell how many keys there are; without any, nobody can be let in."""
    gate = _gates.get(kernel)
    if gate is None:
        return "no key is configured: nobody is asked for a token"
    if gate.keys.ill:
        raise LookupError(gate.keys.health)
    return gate.keys.health


@hookimpl
async def jackfield_authenticate(handshake: Handshake, kernel: Kernel) -> Principal | None:
    """Tell who is connecting, by their token."""
    return await _gates[kernel].authenticate(handshake)


@hookimpl
async def jackfield_connect(client: Client) -> None:
    """Take note of a client, so that it can be put out."""
    gate = _gate_of(client)
    if gate is not None:
        gate.arrived(client)


@hookimpl
async def jackfield_disconnect(client: Client) -> None:
    """Forget a client."""
    gate = _gate_of(client)
    if gate is not None:
        gate.left(client)


def _gate_of(client: Client) -> Gate | None:
    """Return the gate through which a client came; who was let in by another plugin came through none."""
    return getattr(client.principal, "gate", None)
