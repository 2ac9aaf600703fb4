"""The frozen table: which event calls which function, and who owns which namespace."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from jackfield._host import FunctionInfo
from jackfield._plugins import Plugin, Served

_NEAREST_AMONG = 200
"""Names that are compared at the most, so that a wrong guess costs the same however large the table is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One function in the table."""

    plugin: str
    served: Served
    info: FunctionInfo


class Registry:
    """Every function of the plugins in service; nothing is added once it is made.

    Args:
        plugins: All plugins, whatever became of them.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        plugins = list(plugins)
        table = {
            served.event: Entry(plugin.name, served, _info(plugin, served))
            for plugin in plugins
            if plugin.in_service
            for served in plugin.served
        }
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

    def out_of_service(self, event: str) -> str | None:
        """Return why no function of the event's namespace answers, or None if that is not so."""
        owner = self._owners.get(event.rpartition(".")[0])
        if owner is None or owner.state in ("loaded", "started"):
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


def _info(plugin: Plugin, served: Served) -> FunctionInfo:
    doc = served.function.doc
    return FunctionInfo(
        event=served.event,
        kind=served.contract.kind,
        plugin=plugin.name,
        summary=doc.partition("\n")[0],
        doc=doc,
        errors=served.function.errors,
        input=served.contract.input_schema if served.contract.takes_data else {"type": "null"},
        output=served.contract.output_schema,
    )
