"""`jackfield plugins`: what is installed, what became of it, and what is to be in service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from jackfield import _manifest
from jackfield._cli.inspection import is_faulty
from jackfield._cli.options import config_option, json_option, target_options
from jackfield._cli.remote import Target
from jackfield._cli.survey import Survey, operate, survey
from jackfield._cli.terminal import clean, columns, complain, end, fail, line, nearest, note, write, write_json
from jackfield._host import FunctionInfo, PluginInfo
from jackfield._manifest import Manifest

F = TypeVar("F", bound=Callable[..., object])

_STYLES = {"started": "green", "loaded": "green", "quarantined": "red", "refused": "red"}

no_load_option: Callable[[F], F] = click.option(
    "--no-load", is_flag=True, help="Read metadata only: nothing of any plugin is run, and no server is asked."
)
names_argument: Callable[[F], F] = click.argument("names", metavar="NAME...", nargs=-1, required=True)


@click.group("plugins")
def command() -> None:
    """List plugins, and switch them on and off."""


@command.command("list")
@no_load_option
@target_options
@json_option
def list_(target: Target, *, no_load: bool, as_json: bool) -> None:
    """List the plugins, with the reason where one is not in service.

    The running server is asked. Where there is none, each plugin that would be in service is loaded in a process of
    its own. Exit status 1: a server could not start with these plugins, because two of them collide or one that the
    configuration names is missing.
    """
    learnt = _survey(target, no_load=no_load)
    if as_json:
        write_json([_row(plugin) for plugin in learnt.plugins])
    elif learnt.plugins:
        for text in _table(learnt.plugins):
            write(text)
    else:
        note("no plugin is installed   → pip install jackfield-demo")
    complain(learnt.faults)
    end(failed=bool(learnt.faults))


@command.command()
@click.argument("name")
@no_load_option
@target_options
@json_option
def show(name: str, target: Target, *, no_load: bool, as_json: bool) -> None:
    """Show one plugin: its manifest, its state, its functions.

    NAME is a plugin's name, or distribution:name.
    """
    learnt = _survey(target, no_load=no_load, name=name)
    plugins = [plugin for plugin in learnt.plugins if name in (plugin.name, f"{plugin.distribution}:{plugin.name}")]
    if not plugins:
        fail(f"no plugin {name!r} is installed{nearest(name, [plugin.name for plugin in learnt.plugins])}")
    shown = [
        (plugin, _manifest_of(plugin), [f for f in learnt.functions if f.plugin == plugin.name]) for plugin in plugins
    ]
    if as_json:
        rows = [_whole(plugin, manifest, functions) for plugin, manifest, functions in shown]
        write_json(rows[0] if len(rows) == 1 else rows)
    else:
        for number, (plugin, manifest, functions) in enumerate(shown):
            if number:
                write()
            for text in _page(plugin, manifest, functions):
                write(text)
    complain(learnt.faults)
    end(failed=bool(learnt.faults))


@command.command()
@names_argument
@config_option
@json_option
def enable(names: tuple[str, ...], config: Path | None, *, as_json: bool) -> None:
    """Put plugins in service.

    NAME is a plugin's name, or distribution:name. Takes it off `plugins.disabled` and, where the policy is "listed",
    puts it on `plugins.enabled`. Comments and layout of the file stay.
    """
    _switch(names, config, on=True, as_json=as_json)


@command.command()
@names_argument
@config_option
@json_option
def disable(names: tuple[str, ...], config: Path | None, *, as_json: bool) -> None:
    """Take plugins out of service.

    NAME is a plugin's name, or distribution:name. Puts it on `plugins.disabled` and takes it off `plugins.enabled`.
    Comments and layout of the file stay.
    """
    _switch(names, config, on=False, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True, help="Why, for other operators.")
@target_options
def quarantine(name: str, reason: str, target: Target) -> None:
    """Take a plugin of the running server out of service, at once and until it is released.

    Its functions answer `unavailable`. The configuration stays as it is: a server that starts anew has the plugin in
    service again.
    """
    operate(target, "quarantine", {"plugin": name, "reason": reason})
    write(f"{name} is out of service   → jackfield plugins release {name}")


@command.command()
@click.argument("name")
@target_options
def release(name: str, target: Target) -> None:
    """Take a plugin of the running server back into service that was quarantined while it ran."""
    operate(target, "release", {"plugin": name})
    write(f"{name} is in service")


def _switch(names: tuple[str, ...], config: Path | None, *, on: bool, as_json: bool) -> None:
    from jackfield._cli.switching import switch

    outcome = switch(names, config, on=on)
    if as_json:
        write_json(outcome.as_dict())
    else:
        for text in outcome.sentences:
            write(clean(text))
    if outcome.changed:
        note("restart the server for this to take effect")
    for variable in outcome.overridden:
        note(f"the variable {variable} is set here, and wins over the file")


def _survey(target: Target, *, no_load: bool, name: str | None = None) -> Survey:
    if no_load and target.url is not None:
        raise click.UsageError("--no-load and --url exclude each other.")
    if name is None:
        return survey(target, load=not no_load)
    return survey(target, load=not no_load, wanted=lambda one: name in (one.name, one.manifest.qualified))


def _row(plugin: PluginInfo) -> dict[str, object]:
    row = asdict(plugin)
    row["namespaces"] = list(plugin.namespaces)
    # The running server does not tell them, and this machine may not know.
    row["distribution"], row["summary"] = plugin.distribution or None, plugin.summary or None
    return row


def _whole(plugin: PluginInfo, manifest: Manifest | None, functions: Sequence[FunctionInfo]) -> dict[str, object]:
    return {
        **_row(plugin),
        "target": manifest.target if manifest else None,
        "requires_kernel": manifest.requires_kernel if manifest else None,
        "requires": sorted(manifest.requires) if manifest else None,
        "functions": [{"event": f.event, "kind": f.kind, "summary": f.summary} for f in functions],
    }


def _manifest_of(plugin: PluginInfo) -> Manifest | None:
    """Return the plugin's manifest, where what is installed here is the very same."""
    wanted = (plugin.distribution, plugin.name, plugin.version)
    manifests = (found.manifest for found in _manifest.discover())
    return next((one for one in manifests if (one.distribution, one.name, one.version) == wanted), None)


def _table(plugins: Sequence[PluginInfo]) -> Iterator[str]:
    names = [plugin.name for plugin in plugins]
    rows = [["NAME", "VERSION", "STATE", "NAMESPACES", "FUNCTIONS"]]
    for plugin in plugins:
        alone = names.count(plugin.name) == 1
        rows.append(
            [
                line(plugin.name if alone else f"{plugin.distribution}:{plugin.name}"),
                line(plugin.version),
                click.style(line(plugin.state), fg=_STYLES.get(plugin.state), dim=plugin.state == "disabled"),
                line(", ".join(plugin.namespaces)) or "-",
                str(plugin.functions) if plugin.state in ("loaded", "started") else "-",
            ]
        )
    header, *lines = columns(rows)
    yield header
    for plugin, text in zip(plugins, lines, strict=True):
        yield text
        if reason := _reason(plugin):
            yield f"  {reason}"


def _reason(plugin: PluginInfo) -> str:
    """Return why the plugin is not in service, and what to do about it; an empty string where it is."""
    why = plugin.reason or plugin.kind
    if why is None:
        return ""
    hint = f"   → {line(plugin.hint)}" if plugin.hint else ""
    mark = click.style("✗", fg="red") + " " if is_faulty(plugin) else ""
    return f"{mark}{line(why)}{hint}"


def _page(plugin: PluginInfo, manifest: Manifest | None, functions: Sequence[FunctionInfo]) -> Iterator[str]:
    state = click.style(line(plugin.state), fg=_STYLES.get(plugin.state))
    yield f"{click.style(line(plugin.name), bold=True)} {line(plugin.version)}   {state}"
    if reason := _reason(plugin):
        yield f"  {reason}"
    if plugin.summary:
        yield f"  {line(plugin.summary)}"
    rows = [["distribution", plugin.distribution], ["namespaces", ", ".join(plugin.namespaces)]]
    if manifest is not None:
        rows += [
            ["module", manifest.target],
            ["kernel", f"jackfield {manifest.requires_kernel}" if manifest.requires_kernel else "any"],
            ["requires", ", ".join(sorted(manifest.requires))],
        ]
    for text in columns([[name, line(value) or "-"] for name, value in rows]):
        yield f"  {text}"
    if functions:
        yield "  functions"
        for text in columns([[line(f.event), line(f.kind), line(f.summary)] for f in functions]):
            yield f"    {text}"
