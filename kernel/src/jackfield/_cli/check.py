"""`jackfield check`: everything that is wrong, before a server finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import click

from jackfield._cli.contract.carried import outdated
from jackfield._cli.inspection import Inspection, inspect, is_faulty
from jackfield._cli.options import config_option, json_option
from jackfield._cli.readiness import unfounded, unmatched, unopened, unservable
from jackfield._cli.terminal import clean, columns, complain, end, line, note, write, write_json
from jackfield._configuration import DEFAULT_FILE, load
from jackfield._errors import StartError
from jackfield._host import PluginInfo
from jackfield._settings import Settings

Broken: TypeAlias = Mapping[str, Sequence[str]]
"""By plugin, in what it breaks the contract that its distribution carries."""

_HINT: Final = "install a wheel that was built from the code which runs"


@click.command("check")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@config_option
@json_option
def command(path: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Check the configuration and every plugin that would be in service.

    PATH is a configuration file, as with --config, or a folder with a jackfield.toml; the file that a server would
    read, if left out.
    Each plugin is loaded in a process of its own; none is started. Plugins that are disabled, or not on the list, are
    no faults. One that does not keep the contract which its distribution carries is one.

    The address must be one of this machine, and TLS files must be there; that a server listens there already is no
    fault. A rule that matches no function is told of and is no fault either.

    Exit status: 0 there is no fault, 1 there is one.
    """
    if path is not None and config is not None:
        raise click.UsageError("PATH and --config exclude each other.")
    file = path / DEFAULT_FILE if path is not None and path.is_dir() else path or config
    try:
        settings = load(file)
    except StartError as error:
        faults = list(error.faults)
        if as_json:
            named = str(file) if file else None
            write_json({"ok": False, "file": named, "faults": _general(faults), "warnings": [], "plugins": []})
        complain(faults)
        note("the plugins were not checked, because the configuration does not say which")
        end(failed=True)
        return
    found = inspect(settings, settings.file)
    found = replace(found, faults=[*unservable(settings), *found.faults, *unfounded(settings, found)])
    warnings = [*unmatched(settings, found), *unopened(settings, found)]
    broken = outdated(found.plugins, found.functions)
    faulty = [plugin for plugin in found.plugins if is_faulty(plugin)]
    if as_json:
        write_json({**_report(settings, found, faulty, broken), "warnings": warnings})
    else:
        for text in _lines(settings, found, broken):
            write(text)
    for text in warnings:
        click.secho(f"! {clean(text)}", fg="yellow", err=True)
    complain(found.faults)
    count = len(found.faults) + len(faulty) + len(broken)
    if count:
        complain(f"{count} faults" if count > 1 else "1 fault")
    elif not as_json:
        write(f"all is well: {_count(found.plugins)}")
    end(failed=bool(count))


def _general(faults: Sequence[str]) -> list[dict[str, object]]:
    return [{"plugin": None, "kind": "StartError", "reason": fault, "hint": None} for fault in faults]


def _report(settings: Settings, found: Inspection, faulty: Sequence[PluginInfo], broken: Broken) -> dict[str, object]:
    faults = _general(found.faults)
    faults += [{"plugin": one.name, "kind": one.kind, "reason": one.reason, "hint": one.hint} for one in faulty]
    faults += [
        {"plugin": name, "kind": "BrokenContract", "reason": "; ".join(changes), "hint": _HINT}
        for name, changes in broken.items()
    ]
    return {
        "ok": not faults,
        "file": str(settings.file) if settings.file else None,
        "faults": faults,
        "plugins": [
            {"name": one.name, "version": one.version, "state": one.state, "functions": one.functions}
            for one in found.plugins
        ],
    }


def _lines(settings: Settings, found: Inspection, broken: Broken) -> list[str]:
    source = str(settings.file) if settings.file else "defaults: there is no jackfield.toml here"
    rows = [[click.style("✓", fg="green"), "configuration", clean(source)]]
    for plugin in found.plugins:
        if is_faulty(plugin):
            hint = f"   → {line(plugin.hint)}" if plugin.hint else ""
            mark, said = click.style("✗", fg="red"), f"{plugin.state}: {line(plugin.reason or '')}{hint}"
        elif plugin.name in broken:
            mark, said = click.style("✗", fg="red"), f"does not keep the contract that it carries   → {_HINT}"
        elif plugin.state == "loaded":
            mark, said = click.style("✓", fg="green"), _served(plugin)
        else:
            mark, said = "-", plugin.state if plugin.state == "disabled" else "not on the list"
        rows.append([mark, line(f"{plugin.name} {plugin.version}"), said])
        rows += [["", "", line(change)] for change in broken.get(plugin.name, ())]
    return columns(rows)


def _served(plugin: PluginInfo) -> str:
    if not plugin.namespaces:
        return "hooks alone"
    return f"{', '.join(plugin.namespaces)}, {_several(plugin.functions, 'function')}"


def _count(plugins: Sequence[PluginInfo]) -> str:
    loaded = [plugin for plugin in plugins if plugin.state == "loaded"]
    functions = sum(plugin.functions for plugin in loaded)
    return f"{_several(len(loaded), 'plugin')}, {_several(functions, 'function')}"


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
