"""What a command tells of plugins and functions: asked of the running server or, if there is none, found out here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jackfield import _manifest
from jackfield._cli import inspection, remote
from jackfield._cli.inspection import Wanted
from jackfield._cli.options import read_settings
from jackfield._cli.remote import Target
from jackfield._cli.terminal import fail, note
from jackfield._errors import CallError, Code
from jackfield._host import FunctionInfo, PluginInfo
from jackfield.client import Client, ConnectionLost
from jackfield.client._errors import NobodyThere, Refused
from jackfield.client._place import Place

REQUEST_LIMIT = 30.0
"""Seconds that the server has for an answer about itself."""
EVERYTHING = "*"
"""In the place of an event: all of them."""
_AT_ONCE = 16
"""Questions that are under way at a time; a server takes 64 by default."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was learnt.

    Attributes:
        plugins: Every plugin.
        functions: Every function that may be called; without contracts where a server was asked for all.
        faults: Why a server could not start, where none was asked.
    """

    plugins: Sequence[PluginInfo]
    functions: Sequence[FunctionInfo]
    faults: Sequence[str] = ()


class _NoSystem(CallError):
    """The server is there, and has no plugin that tells about it."""


def survey(target: Target, *, load: bool = True, event: str | None = None, wanted: Wanted | None = None) -> Survey:
    """Ask the server, or find out here, and say on standard error which it was; end the command if neither can be.

    Args:
        target: Which server.
        load: Whether to ask or to load at all; without it only metadata is read.
        event: A function whose contract is wanted too, if there is one of that name; `EVERYTHING` for all of them.
        wanted: Which plugins to load where there is no server; all that may be if left out.
    """
    settings = read_settings(target.config)
    if not load:
        found = inspection.inspect(settings, settings.file, load=False)
        note("read from metadata; nothing was imported")
        return Survey(found.plugins, found.functions, found.faults)
    try:
        at = remote.place(target, settings.server)
    except NobodyThere as error:
        reason = error.reason
    else:
        try:
            learnt = asyncio.run(ask(at, event))
            note(f"from the running server at {at.url}")
            return learnt
        except CallError as error:
            if target.url is not None and not isinstance(error, _NoSystem):
                fail(remote.explained(error, at))
            reason = error.reason if isinstance(error, NobodyThere) else remote.explained(error, at)
    found = inspection.inspect(settings, settings.file, wanted=wanted)
    note(f"{reason}; loaded here, each plugin in a process of its own")
    return Survey(found.plugins, found.functions, found.faults)


def operate(target: Target, name: str, data: object) -> None:
    """Call an operator's function of the running server, or end the command with the reason why not."""
    try:
        at = remote.place(target, read_settings(target.config).server)
        asyncio.run(_operate(at, name, data))
    except NobodyThere as error:
        fail(error.reason)
    except (Refused, ConnectionLost) as error:
        fail(remote.explained(error, at))
    except CallError as error:
        fail(f"{error.code}: {error.message}")


async def _operate(at: Place, name: str, data: object) -> None:
    async with remote.connected(at) as caller:
        await Client(caller).call(f"api.system.{name}", data, timeout=REQUEST_LIMIT)


async def ask(at: Place, event: str | None) -> Survey:
    """Ask a server.

    Args:
        at: Where it is.
        event: The function whose contract is wanted too; `EVERYTHING` for those of all that may be called.

    Raises:
        CallError: It cannot be asked, or has nothing to say of itself.
    """
    async with remote.connected(at) as caller:
        server = Client(caller)
        plugins = await _told(server, at, "plugins")
        functions = await _told(server, at, "functions")
        wanted = [row["event"] for row in functions if event in (row["event"], EVERYTHING)]
        described = []
        for several in _several(wanted):
            asked = (_told(server, at, "describe", {"event": one}) for one in several)
            described += await asyncio.gather(*asked)
    rows = {row["event"]: row for row in [*functions, *described]}
    return Survey(_plugins(plugins), [_function(row) for row in rows.values()])


async def _told(server: Client, at: Place, name: str, data: object = None) -> Any:
    try:
        return await server.call(f"api.system.{name}", data, timeout=REQUEST_LIMIT)
    except ConnectionLost:
        raise
    except CallError as error:
        raise _NoSystem(
            Code.UNIMPLEMENTED, f"the server at {at.url} has no system plugin that answers ({error})"
        ) from None


def _plugins(rows: Iterable[dict[str, Any]]) -> list[PluginInfo]:
    # The server does not tell everything; what the same plugin says of itself here is true there.
    here = {(one.manifest.name, one.manifest.version): one.manifest for one in _manifest.discover()}
    infos = []
    for row in rows:
        known = here.get((row["name"], row["version"]))
        infos.append(
            PluginInfo(
                name=row["name"],
                distribution=known.distribution if known else "",
                version=row["version"],
                summary=known.summary if known else "",
                state=row["state"],
                namespaces=tuple(row["namespaces"]),
                functions=row["functions"],
                reason=row.get("reason"),
                kind=row.get("kind"),
                hint=row.get("hint"),
            )
        )
    return infos


def _function(row: dict[str, Any]) -> FunctionInfo:
    return FunctionInfo(
        event=row["event"],
        kind=row["kind"],
        plugin=row["plugin"],
        summary=row["summary"],
        doc=row.get("doc", ""),
        errors=tuple(row.get("errors", ())),
        input=row.get("input", {}),
        output=row.get("output", {}),
        requires=None if row.get("requires") is None else tuple(row["requires"]),
        optional=row.get("optional", False),
        ordered=row.get("ordered", False),
        detached=row.get("detached", False),
        timeout=row.get("timeout"),
        deprecated=row.get("deprecated"),
        emits=row.get("emits", {}),
    )


def _several(events: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(events), _AT_ONCE):
        yield events[start : start + _AT_ONCE]
