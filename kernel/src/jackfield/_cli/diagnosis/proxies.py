"""What `jackfield doctor --url` sees of a server from outside: what a proxy before it lets through, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jackfield._cli.diagnosis.finding import Finding, fault, ok, warning
from jackfield._cli.diagnosis.raw import Lost, Polling, Websocket, WithCookies, has_client, opened
from jackfield.client._place import Place

_HELD_BACK: Final = 2.0
"""Seconds past those of an ordinary answer after which something on the way has held back what was sent."""
_SESSIONS: Final = 4
"""Sessions by polling; of two servers that take turns, one of them meets what it does not know."""
_SMALL: Final = 1000
"""Bytes below which it is not the size of a message that is in its way."""
_SPOOFED: Final = "192.0.2.77"
"""An address that nobody has (RFC 5737)."""

_NOBODY: Final = ("status 502", "status 503", "status 504")
"""What a proxy says without a server to ask, and a server that takes no clients."""

_UPGRADE: Final = (
    "pass the headers Upgrade and Connection on; in nginx: proxy_http_version 1.1; proxy_set_header Upgrade "
    '$http_upgrade; proxy_set_header Connection "upgrade"'
)
_STICKY: Final = "keep each client with one server, such as by its address or its sid, or allow websockets only"


async def examine(at: Place) -> list[Finding]:
    """Look at a server from outside.

    Args:
        at: Where it is, and who is asking.
    """
    if not has_client():
        return [fault("client", "looking from outside needs aiohttp", 'pip install "jackfield[standard]"')]
    try:
        terms = await opened(at)
    except Lost as error:
        websocket = await _websocket(at)
        if websocket.status == "fault" and str(error).startswith(_NOBODY):
            what = f"no server takes clients behind {at.url}{at.path}: {error}"
            return [
                fault("server", what, "see /readyz?verbose of each server, and whether the proxy has their addresses")
            ]
        if websocket.status == "fault":
            return [fault("server", f"no Socket.IO server answers at {at.url}{at.path}: {error}", "see the address")]
        return [ok("polling", f"none ({error})"), websocket, *await _let_in(at, Websocket)]
    findings = [ok("server", f"it answers at {at.url}{at.path}"), polling := await _polling(at)]
    if "websocket" not in terms.get("upgrades", ()):
        websocket = ok("websocket", "the server allows none (server.transports)")
        return [*findings, websocket, *await _let_in(at, Polling)]
    findings.append(websocket := await _websocket(at))
    if polling.status != "fault":
        findings += await _let_in(at, Polling if polling.status == "ok" else WithCookies)
    if websocket.status != "fault":
        findings += [one for one in await _let_in(at, Websocket) if one not in findings]
    return findings


async def _websocket(at: Place) -> Finding:
    try:
        async with Websocket(at):
            return ok("websocket", "it comes through")
    except Lost as error:
        return fault("websocket", f"it does not come through: {error}", _UPGRADE)


async def _polling(at: Place) -> Finding:
    reason = await _strays(at, Polling)
    if reason is None:
        return ok("polling", f"its requests stay on one server ({_SESSIONS} sessions)")
    if await _strays(at, WithCookies) is not None:
        return fault("polling", f"its requests do not stay on one server: {reason}", _STICKY)
    what = "it stays on one server by a cookie alone, which programs that are no browser do not keep"
    return warning("polling", what, _STICKY)


async def _strays(at: Place, carrier: type[Polling]) -> str | None:
    """Return how a request of a session has failed, or None if none has."""
    for _ in range(_SESSIONS):
        try:
            async with carrier(at) as session:
                if await session.join() is None:
                    for _ in range(3):
                        await session.call("api.system.ping")
        except Lost as error:
            return str(error)
    return None


async def _let_in(at: Place, carrier: type[Websocket | Polling]) -> list[Finding]:
    """Look at what only a client sees that has been let in."""
    try:
        async with carrier(at, {"X-Forwarded-For": _SPOOFED}) as session:
            if (refusal := await session.join()) is not None:
                return [warning("access", f"not let in: {refusal}", "say who you are with --token or --token-file")]
            info = await session.call("api.system.info")
            delay = _held_back(f"{carrier.name} delay", *await session.delay())
            address = _address(info, session.own) if session.own is not None else ()
        return [*delay, *address, await _size(at, carrier, int(session.terms.get("maxPayload", 0)))]
    except Lost as error:
        return [fault(carrier.name, f"a session is lost while it is used: {error}", "let the proxy wait for answers")]


def _held_back(check: str, usual: float, waited: float) -> Iterator[Finding]:
    if waited > usual + _HELD_BACK:
        what = f"what the server sends comes {waited:.1f} s later: something on the way holds it back"
        yield warning(check, what, "turn buffering off; in nginx: proxy_buffering off")
    else:
        yield ok(check, f"{1000 * waited:.0f} ms for an answer to a client that waits for one")


def _address(info: Any, own: str | None) -> Iterator[Finding]:
    seen = info.get("address") if isinstance(info, dict) else None
    if seen is None:
        yield warning("address", "the server does not say whose address it sees", "update jackfield-system there")
    elif seen == _SPOOFED:
        what = "the server believes the X-Forwarded-For that a client sends, so everybody can have any address"
        yield fault("address", what, "let the proxy set that header anew, and trust that proxy alone")
    elif seen == own:
        yield ok("address", f"the server sees that of the client, {seen}")
    else:
        what = f"the server takes this client, {own}, for {seen}: without NAT in between that is the proxy's address"
        todo = "let the proxy add X-Forwarded-For, and name the proxy in server.trusted_proxies"
        yield warning("address", what, todo)


async def _size(at: Place, carrier: type[Websocket | Polling], limit: int) -> Finding:
    """See whether a message as large as the server takes comes through, and if not, how large one may be."""
    check = f"{carrier.name} size"
    refusal = await _refusal(at, carrier, limit)
    if refusal is None:
        return ok(check, f"{limit} bytes come through, which is limits.message_size")
    size, passed = limit // 2, 0
    while size > _SMALL and not passed:
        passed = size if await _refusal(at, carrier, size) is None else 0
        size //= 2
    what = f"messages of {limit} bytes, which the server takes, do not come through ({refusal})"
    some = f"; {passed} bytes do" if passed else ""
    todo = f"allow {limit} bytes (in nginx: client_max_body_size), or lower limits.message_size"
    return fault(check, what + some, todo)


async def _refusal(at: Place, carrier: type[Websocket | Polling], size: int) -> str | None:
    """Return how a message of so many bytes was refused, or None if there was an answer to it."""
    try:
        async with carrier(at) as session:
            await session.join()
            await session.call("api.system.ping", size)
    except Lost as error:
        return str(error)
    return None
