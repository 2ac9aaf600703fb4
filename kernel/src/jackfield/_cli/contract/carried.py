"""The contract that a distribution carries, and whether its plugin still fits it.

A server looks when it starts, so nothing is imported here for plugins that carry none or that fit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from jackfield._cli.contract.metadata import text_of
from jackfield._host import FunctionInfo, PluginInfo

if TYPE_CHECKING:
    from jackfield._cli.contract.document import PluginContract

log: Final = logging.getLogger("jackfield.plugins")


def outdated(plugins: Iterable[PluginInfo], functions: Sequence[FunctionInfo]) -> dict[str, list[str]]:
    """Return, by plugin, in what it breaks the contract that its distribution carries: a line for each change.

    Args:
        plugins: Those that are installed; what was not loaded is passed over.
        functions: What they serve, by their authors' word.
    """
    found: dict[str, list[str]] = {}
    for info in plugins:
        if info.state not in ("loaded", "started"):
            continue
        if text_of(info.distribution) is not None and (broken := _broken(info, functions)):
            found[info.name] = broken
    return found


def warn(plugins: Iterable[PluginInfo], functions: Sequence[FunctionInfo]) -> None:
    """Say in the log which plugins no longer fit the contracts that their distributions carry, and in what."""
    for name, changes in outdated(plugins, functions).items():
        for change in changes:
            log.warning("plugin %s does not keep the contract that it carries: %s", name, change)


def _broken(info: PluginInfo, functions: Sequence[FunctionInfo]) -> list[str]:
    from jackfield._cli.contract import document

    try:
        promised = document.carried(info.distribution, info.name)
    except document.DocumentError as error:
        return [str(error)]
    if promised is None:
        return []
    served = promised.model_copy(update={"functions": document.functions_of(info.name, functions)})
    return [] if served.model_dump_json() == promised.model_dump_json() else _changes(promised, served)


def _changes(promised: PluginContract, served: PluginContract) -> list[str]:
    from jackfield._cli.contract.comparing import compare
    from jackfield._cli.contract.document import Document

    changes = compare(Document(plugins=(promised,)), Document(plugins=(served,)))
    return [f"{change.where}: {change.rule}: {change.summary}" for change in changes if change.breaking]
