"""What would keep a server from starting here, whatever its plugins are like, and what it would do in vain."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec

from jackfield._access import Rules
from jackfield._cli import logs
from jackfield._cli.inspection import Inspection, is_faulty
from jackfield._errors import StartError
from jackfield._kernel import AUTHENTICATION
from jackfield._settings import ServerSettings, Settings
from jackfield._transport.listener import listen
from jackfield._transport.tls import server_context


def unservable(settings: Settings) -> list[str]:
    """Return why a server could not listen and log here; that one does already is no reason."""
    server = settings.server
    faults = _faults(lambda: logs.check(settings.log))
    if server.tls_certificate is not None:
        faults += _faults(lambda: server_context(server.tls_certificate, server.tls_key))  # type: ignore[arg-type]
    if server.websocket == "picows" and find_spec("picows") is None:
        faults.append("picows is not installed: pip install picows (server.websocket)")
    return faults + (_unreachable(server) if server.unix is None else _no_folder(server))


def unfounded(settings: Settings, found: Inspection) -> list[str]:
    """Return what a server would miss of its plugins, beside what is wrong with each of them."""
    faults = []
    for name in settings.plugins.required:
        claimants = [one for one in found.plugins if name in (one.name, f"{one.distribution}:{one.name}")]
        if not any(one.state == "loaded" or is_faulty(one) for one in claimants):
            faults += [f"plugin {one.name} is {one.state} (plugins.required)" for one in claimants]
    absent = [one for one in found.plugins if is_faulty(one) and AUTHENTICATION in one.namespaces]
    if Rules(settings.access.rules).need_scopes and not found.authenticates and not absent:
        faults.append("access.rules say who may call what, but no plugin in service says who is calling")
    return faults


def unmatched(settings: Settings, found: Inspection) -> list[str]:
    """Return the patterns of rules that match no function; those of plugins that were not loaded nobody knows."""
    unknown = [space for plugin in found.plugins if plugin.state != "loaded" for space in plugin.namespaces]

    def is_known(pattern: str) -> bool:
        return any(fnmatchcase(function.event, pattern) for function in found.functions) or any(
            pattern.startswith(space) or fnmatchcase(f"{space}.", pattern) for space in unknown
        )

    return [f"{key}: {pattern!r} matches no function" for key, pattern in _patterns(settings) if not is_known(pattern)]


def unopened(settings: Settings, found: Inspection) -> list[str]:
    """Return the namespaces with functions that nobody may call, as far as their authors and the rules say."""
    return Rules(settings.access.rules, authenticated=found.authenticates).unopened(found.functions)


def _patterns(settings: Settings) -> Iterator[tuple[str, str]]:
    for number, access in enumerate(settings.access.rules):
        yield from ((f"access.rules.{number}.functions", pattern) for pattern in access.functions)
    for number, bulkhead in enumerate(settings.bulkhead.rules):
        yield from ((f"bulkhead.rules.{number}.functions", pattern) for pattern in bulkhead.functions)


def _unreachable(server: ServerSettings) -> list[str]:
    try:
        listen(server).close()
    except StartError as error:
        taken = isinstance(error.__context__, OSError) and error.__context__.errno == errno.EADDRINUSE
        return [] if taken else list(error.faults)
    return []


def _no_folder(server: ServerSettings) -> list[str]:
    assert server.unix is not None  # noqa: S101 - whoever calls has looked
    if server.unix.exists() and not server.unix.is_socket():
        return [f"cannot listen on {server.unix}: there is a file that is no socket (server.unix)"]
    if not server.unix.absolute().parent.is_dir():
        return [f"cannot listen on {server.unix}: there is no folder {server.unix.parent} (server.unix)"]
    return []


def _faults(look: Callable[[], object]) -> list[str]:
    try:
        look()
    except StartError as error:
        return list(error.faults)
    return []
