"""The frozen table: which event calls which function, and who owns which namespace."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from jackfield._access import Access, Rules
from jackfield._host import FunctionInfo
from jackfield._identity import Principal
from jackfield._plugins import Plugin, Served

_NEAREST_AMONG = 200
"""Names that are compared at the most, so that a wrong guess costs the same however large the table is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One function in the table."""

    plugin: str
    served: Served
    info: FunctionInfo
    access: Access | None = None


class Registry:
    """Every function of the plugins in service; nothing is added once it is made.

    Args:
        plugins: All plugins, whatever became of them.
        rules: Who may call what.
    """

    def __init__(self, plugins: Iterable[Plugin], rules: Rules | None = None) -> None:
        plugins = list(plugins)
        self._rules = rules = rules or Rules()
        table = {}
        for plugin in plugins:
            for served in plugin.served if plugin.in_service else ():
                access = rules.of(served.event, served.function)
                table[served.event] = Entry(plugin.name, served, _info(plugin, served, access), access)
        self.table = MappingProxyType(dict(sorted(table.items())))
        self._owners = {
            namespace: plugin.info
            # A plugin in service owns its namespaces, whoever else claims them.
            for plugin in sorted(plugins, key=lambda p: p.in_service)
            for namespace in plugin.manifest.namespaces
        }
        self._in_namespace: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for event in self.table:
            namespace, _, name = event.rpartition(".")
            self._in_namespace[namespace].append(name)
            self._by_name[name].append(event)

    def out_of_service(self, event: str, principal: Principal | None) -> str | None:
        """Return why no function of the event's namespace answers; None if that is not so, or not for this caller."""
        owner = self._owners.get(event.rpartition(".")[0])
        if owner is None or owner.state in ("loaded", "started"):
            return None
        access = self._rules.of(event)
        if access is not None and not access.admits(principal):
            return None
        return f"{event}: the plugin {owner.name} is {owner.state}."

    def nearest(self, event: str, visible: Callable[[str], bool]) -> list[str]:
        """Return up to three events that the caller may have meant and may see."""
        found = dict.fromkeys(name for name in self._candidates(event) if visible(name))
        return list(found)[:3]

    def _candidates(self, event: str) -> Iterator[str]:
        namespace, _, name = event.rpartition(".")
        names = self._in_namespace.get(namespace, [])[:_NEAREST_AMONG]
        yield from (f"{namespace}.{near}" for near in difflib.get_close_matches(name, names, n=3))
        yield from self._by_name.get(name, [])[:3]
        namespaces = list(self._in_namespace)[:_NEAREST_AMONG]
        for near in difflib.get_close_matches(namespace, namespaces, n=1):
            names = self._in_namespace[near][:_NEAREST_AMONG]
            yield from (f"{near}.{close}" for close in difflib.get_close_matches(name, names, n=3))


def _info(plugin: Plugin, served: Served, access: Access | None) -> FunctionInfo:
    function, contract, doc = served.function, served.contract, served.function.doc
    return FunctionInfo(
        event=served.event,
        kind=contract.kind,
        plugin=plugin.name,
        summary=doc.partition("\n")[0],
        doc=doc,
        errors=function.errors,
        input=contract.input_schema if contract.takes_data else {"type": "null"},
        output=contract.output_schema,
        requires=function.requires if access is None else access.requires,
        optional=contract.optional,
        ordered=function.ordered,
        detached=function.detached,
        timeout=function.timeout,
        deprecated=function.deprecated,
        emits=contract.emits,
    )
