"""What is served beside the Socket.IO endpoint: the health of the server, and the routes of plugins.

The routes are the operator's, unless they are public. Where there is an admin listener they are there; else clients of
this machine find them on the main port.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import parse_qs

from jackfield._health import Health
from jackfield._identity import Handshake
from jackfield._route import AsgiApp, Route
from jackfield._settings import Limits, ServerSettings
from jackfield._throttle import Throttle
from jackfield._transport.asgi import NOTHING_HERE, TEXT, Event, Receive, Scope, Send, answer, respond, sender, split
from jackfield._transport.eio import forbidden
from jackfield._transport.listener import listen_tcp
from jackfield._transport.request import read_headers
from jackfield._transport.server import HttpServer
from jackfield._transport.trust import Trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Place: TypeAlias = Literal["main", "admin", "both"]
"""Where a request came: the main port beside an admin listener, the admin listener, or the one port that there is."""

_OWN: Final = ("/livez", "/readyz", "/healthz")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_SAY_AGAIN: Final = 60.0
"""Seconds between two hints that a route is the operator's."""

log: Final = logging.getLogger("jackfield")


class Routes:
    """The routes of one server.

    Args:
        settings: Where the server listens, and to whom.
        health: What the probes are answered from.
    """

    def __init__(self, settings: ServerSettings, health: Health) -> None:
        self._health = health
        self._taken = {settings.path: "the Socket.IO endpoint", **dict.fromkeys(_OWN, "the server's health")}
        self._mounted: dict[str, tuple[str, Route]] = {}
        self._trust = Trust(settings)
        self._hints = Throttle(_SAY_AGAIN)
        self._faults = Throttle()

    def at(self, place: Place) -> AsgiApp:
        """Return the ASGI application for one of the listeners."""
        return partial(self._serve, place)

    def mount(self, plugin: str, ask: Callable[[], Mapping[str, Route]]) -> None:
        """Take the routes that a plugin returns; what cannot be is logged and left out."""
        try:
            routes = ask()
        except Exception:
            log.exception("jackfield_http of the plugin %s failed; its routes are left out", plugin)
            return
        for path, route in routes.items():
            owner = next((owner for taken, owner in self._taken.items() if f"{path}/".startswith(f"{taken}/")), None)
            if not _PATH.fullmatch(path):
                fault = "a path begins with /, does not end with it, and has letters, digits and . _ ~ - only"
            elif owner is not None:
                fault = f"it is {owner}"
            elif path in self._mounted:
                fault = f"the plugin {self._mounted[path][0]} has it already"
            else:
                self._mounted[path] = plugin, route
                continue
            log.error("the plugin %s does not get the path %r: %s", plugin, path, fault)

    def unmount(self) -> None:
        """Serve the health alone from now on."""
        self._mounted.clear()

    async def _serve(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        root, path = split(scope)
        own = path.rstrip("/") or "/"
        headers = read_headers(scope["headers"])
        address, secure = sender(self._trust, scope)
        on_machine = Handshake(headers=headers, address=address).local
        local = place == "admin" or on_machine
        host = headers.get("host")
        if own in _OWN and scope["type"] == "http" and not (own == "/healthz" and place == "main"):
            await self._probe(own, scope, send, local=local and (not on_machine or self._trust.is_own_name(host)))
            return
        found = self._find(path)
        if found is None or not self._shows(found, place, local=local):
            await answer(scope, send, NOTHING_HERE)
            return
        plugin, route = self._mounted[found]
        everybodys = route.public and place != "admin"
        if not (self._trust.serves(host) if everybodys else not on_machine or self._trust.is_own_name(host)):
            await answer(scope, send, forbidden("The server is not asked under this name (server.hosts)"))
            return
        inner = {**scope, "root_path": root + found, "path": root + path}
        if scope.get("client") and address != scope["client"][0]:
            inner["client"] = (address, 0)
        if secure:
            inner["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        await self._run(f"{found} of the plugin {plugin}", route.app, inner, receive, send)

    async def _probe(self, path: str, scope: Scope, send: Send, *, local: bool) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, b"GET or HEAD", TEXT, {"allow": "GET, HEAD"})
            return
        if path != "/readyz":
            await respond(send, 200, b"ok", TEXT, {})
            return
        findings = await self._health.look()
        ready = all(finding.mark != "-" for finding in findings)
        text = "ok" if ready else "not ready"
        if local and b"verbose" in parse_qs(scope["query_string"], keep_blank_values=True):
            text = "\n".join([*map(str, findings), f"readyz {'passed' if ready else 'failed'}", ""])
        await respond(send, 200 if ready else 503, text.encode(), TEXT, {})

    def _find(self, path: str) -> str | None:
        """Return the longest path with a route that the path is, or is below."""
        while path:
            if path in self._mounted:
                return path
            path = path.rpartition("/")[0]
        return None

    def _shows(self, path: str, place: Place, *, local: bool) -> bool:
        if place == "admin" or self._mounted[path][1].public:
            return True
        if place == "both" and not local and self._hints.ready(path):
            log.warning(
                "somebody on another machine, or behind a proxy, asked for %s, which is the operator's: "
                "serve it on a listener of its own with server.admin",
                path,
            )
        return place == "both" and local

    async def _run(self, name: str, app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        def remember(event: Event) -> Awaitable[None]:
            nonlocal begun
            begun = True
            return send(event)

        try:
            await app(scope, receive, remember)
        except asyncio.CancelledError:
            raise
        except BaseException:  # a plugin may raise anything; sys.exit() must not end the server
            if self._faults.ready(name):
                log.exception("the route %s failed", name)
            if begun:  # the connection is of no more use, and the web server closes it
                raise RuntimeError(f"the route {name} failed in the middle of its answer") from None
            await _failed(scope, send)


@asynccontextmanager
async def administered(settings: ServerSettings, limits: Limits, routes: Routes) -> AsyncIterator[str]:
    """Serve the admin listener while the block runs; yields its address, empty if there is none.

    Raises:
        StartError: It cannot listen.
    """
    if settings.admin_address is None:
        yield ""
        return
    plain = settings.model_copy(update={"tls_certificate": None, "tls_key": None, "websocket": "asgi"})
    with listen_tcp(*settings.admin_address, "server.admin") as listener:
        server = HttpServer(plain, limits, listener=listener, beside=routes.at("admin"))
        await server.start()
        try:
            yield server.url
        finally:
            await server.stop()


async def _failed(scope: Scope, send: Send) -> None:
    if scope["type"] == "http":
        await respond(send, 500, b"This route failed", TEXT, {})
    else:
        await send({"type": "websocket.close", "code": 1011})
