"""What `jackfield doctor` looks at on this machine."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal
from urllib.error import HTTPError
from urllib.request import urlopen

from jackfield._cli import secrecy
from jackfield._cli.diagnosis import certificates
from jackfield._cli.diagnosis.finding import Finding, fault, ok, warning
from jackfield._cli.remote import Target, connected
from jackfield._configuration import SECRETS_VARIABLE
from jackfield._errors import CallError, StartError
from jackfield._settings import ServerSettings, Settings
from jackfield._transport.listener import listen
from jackfield._transport.server import BACKLOG
from jackfield.client import Client
from jackfield.client._place import Place

_STANDARD: Final = 'pip install "jackfield[standard]"'
_SPARE_FILES: Final = 100
"""Open files beside those of clients: libraries, logs, what plugins open."""
_FEW_CLIENTS: Final = 4000
_SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")
_ANSWER_LIMIT: Final = 3.0
_OPTIONAL: Final = (
    ("aiohttp", "the commands that speak with a server"),
    ("structlog", "the log in JSON"),
    ("tomlkit", "jackfield plugins enable and disable"),
    ("jackfield_system", "what a running server tells of itself"),
)


def implementations(websocket: Literal["auto", "picows", "asgi"]) -> Iterator[Finding]:
    """Say which implementations a server would have, and what is missing.

    Args:
        websocket: `server.websocket`.
    """
    broken = {name: reason for name in ("picows", "uvloop", "httptools", "orjson") if (reason := _broken(name))}
    for name, reason in broken.items():
        yield fault(name, f"it is installed and cannot be imported: {reason}", f"pip install --force-reinstall {name}")
    if websocket == "asgi":
        yield ok("websocket", f"asgi, websockets {version('websockets')} (server.websocket)")
    else:
        yield from _fast("websocket", "picows", f"asgi, websockets {version('websockets')}", needed=websocket)
    yield from _fast("http", "httptools", "h11")
    yield from _fast("loop", "uvloop", "asyncio")
    yield ok("json", f"orjson {version('orjson')}")
    if missing := [(name, purpose) for name, purpose in _OPTIONAL if find_spec(name) is None]:
        yield warning("extras", "; ".join(f"no {name}, for {purpose}" for name, purpose in missing), _STANDARD)


def system(settings: Settings) -> Iterator[Finding]:
    """Say what the system allows a server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (settings.limits.connections or _FEW_CLIENTS) + _SPARE_FILES
    allowed = f"{_count(soft)} ({_count(hard)} can be set)"
    if soft in (resource.RLIM_INFINITY, -1) or soft >= wanted:
        yield ok("open files", allowed)
    else:
        clients = max(0, soft - _SPARE_FILES)
        how = "`ulimit -n 65536` before the start, or LimitNOFILE=65536 in the unit of systemd"
        yield warning("open files", f"{allowed}: enough for about {clients} clients in each process", how)
    if _SOMAXCONN.exists() and (most := int(_SOMAXCONN.read_text(encoding="ascii"))) < BACKLOG:
        what = f"net.core.somaxconn is {most}: so many clients can come at one moment, the server asks for {BACKLOG}"
        yield warning("backlog", what, f"sysctl -w net.core.somaxconn={2 * BACKLOG}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    many = "; one process uses one of them (jackfield serve --workers)" if cores > 1 else ""
    yield ok("processors", f"{cores}{many}")


def configuration(settings: Settings) -> Iterator[Finding]:
    """Say which file was read, and who else can read or write it."""
    file = settings.file
    if file is None:
        yield ok("configuration", "defaults and variables: there is no jackfield.toml here")
    else:
        mode = file.stat().st_mode
        if mode & stat.S_IWOTH:
            yield fault("configuration", f"everybody on this machine can change {file}", f"chmod o-w {file}")
        elif mode & stat.S_IROTH and _holds_secrets(file):
            yield warning("configuration", f"{file} holds secrets, and everybody can read it", f"chmod o-r {file}")
        else:
            yield ok("configuration", str(file))
    folder = os.environ.get(SECRETS_VARIABLE)
    if folder:
        open_ = [one.name for one in sorted(Path(folder).iterdir()) if one.is_file() and _public(one)]
        if open_:
            yield warning("secrets", f"everybody can read {', '.join(open_)} in {folder}", f"chmod -R o-r {folder}")
        else:
            yield ok("secrets", folder)


def certificate(server: ServerSettings) -> Iterator[Finding]:
    """Say whether TLS can be served, and for how long."""
    if server.tls_certificate is None:
        return
    from jackfield._transport.tls import server_context

    try:
        server_context(server.tls_certificate, server.tls_key)
    except StartError as error:
        for reason in error.faults:
            yield fault("certificate", reason, "let the user that serves read a certificate and its key, in PEM")
        return
    yield certificates.lifetime(server.tls_certificate)
    key = server.tls_key or server.tls_certificate
    if _public(key):
        yield warning("key", f"everybody on this machine can read {key}", f"chmod o-r {key}")


def address(settings: Settings, place: Callable[[Target, ServerSettings], Place]) -> Iterator[Finding]:
    """Say whether a server could listen, and who does if it could not.

    Args:
        settings: The configuration.
        place: Returns where a client finds the server.
    """
    server = settings.server
    try:
        if server.unix is not None and server.unix.is_socket():
            yield ok("address", f"there is a socket at {server.unix} already, which a server takes over if it is dead")
            return
        listen(server).close()
        if server.unix is not None:
            server.unix.unlink(missing_ok=True)
    except StartError as error:
        at = place(Target(), server)
        who = asyncio.run(_who(at))
        if who is not None:
            yield ok("address", f"{who} serves at {at.url} already")
            yield from _unready(at)
        else:
            yield fault("address", error.faults[0], "stop what listens there, or set server.host and server.port")
        return
    where = server.unix or f"{server.host}:{server.port}"
    yield ok("address", f"{where} is free" if server.port or server.unix else f"any free port of {server.host}")


async def _who(at: Place) -> str | None:
    """Return which server of ours answers there, if one does."""
    try:
        async with asyncio.timeout(_ANSWER_LIMIT), connected(at) as caller:
            info: Any = await Client(caller).call("api.system.info")
            return f"{info['name']} {info['version']}"
    except CallError as error:
        # It speaks the protocol, and has no system plugin, or wants to know who is asking.
        return "a jackfield server" if error.code in ("not_found", "unauthenticated", "permission_denied") else None
    except (TimeoutError, TypeError, KeyError):
        return None


def _fast(check: str, name: str, otherwise: str, needed: str = "auto") -> Iterator[Finding]:
    if find_spec(name) is not None:
        yield ok(check, f"{name} {version(name)}")
    elif needed == name:
        yield fault(check, f"server.{check} asks for {name}, which is not installed", f"pip install {name}")
    else:
        yield warning(check, f"{otherwise}: it works, and {name} is faster", f"pip install {name}")


def _broken(name: str) -> str | None:
    if find_spec(name) is None:
        return None
    try:
        import_module(name)
    except Exception as error:  # noqa: BLE001 - an extension for another Python may raise anything
        return f"{type(error).__name__}: {error}"
    return None


def _holds_secrets(file: Path) -> bool:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    tables["server"] = {key: value for key, value in tables.get("server", {}).items() if key != "tls_key"}
    return bool(secrecy.masked(tables, {}) != tables)


def _unready(at: Place) -> Iterator[Finding]:
    """Say why a server of ours that runs on this machine is not ready, if it is not."""
    try:
        with urlopen(f"{at.url}/readyz?verbose", timeout=_ANSWER_LIMIT):  # noqa: S310 - our own address
            return
    except HTTPError as error:
        told = error.read().decode(errors="replace")
    except OSError:  # such as a certificate for another name
        return
    for line in told.splitlines():
        if line.startswith("[-]"):
            yield fault("ready", line.removeprefix("[-]"), "end what it names; the server is ready again by itself")


def _public(file: Path) -> bool:
    return bool(file.stat().st_mode & stat.S_IROTH)


def _count(limit: int) -> str:
    return "no limit" if limit in (resource.RLIM_INFINITY, -1) else str(limit)
