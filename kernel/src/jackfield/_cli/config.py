"""`jackfield config`: write a configuration to begin with, and show the one in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import click
from pydantic import BaseModel

from jackfield import _manifest
from jackfield._cli import toml
from jackfield._cli.files import replace_config
from jackfield._cli.inspection import inspect
from jackfield._cli.options import config_option, json_option, read_settings
from jackfield._cli.secrecy import hidden, masked, without_passwords
from jackfield._cli.terminal import fail, note, to_json, write, write_json
from jackfield._configuration import DEFAULT_FILE
from jackfield._host import PluginInfo
from jackfield._manifest import Found
from jackfield._settings import PREFIX, Settings

_HEAD: Final = f"""\
# The configuration of a jackfield server. What is commented out is the default.
# Variables win over this file, such as {PREFIX}SERVER__PORT=9000; options of a command win over both.
"""
_FOOT: Final = """
# A plugin's own settings stand in a table of its name, such as [plugins.weather].
"""


@click.group("config")
def command() -> None:
    """Write and show the configuration."""


@command.command()
@click.argument("path", required=False, default=Path(DEFAULT_FILE), type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@json_option
def init(path: Path, *, force: bool, as_json: bool) -> None:
    """Write a configuration with every setting explained, and the plugins that are installed now enabled.

    PATH is the file, or the folder for a jackfield.toml; this folder if left out. The policy is "listed": what is
    installed later is in service once `jackfield plugins enable` has put it on the list.
    """
    file = path / DEFAULT_FILE if path.is_dir() else path
    if not file.parent.is_dir():
        fail(f"{file} cannot be written: there is no folder {file.parent}")
    if file.exists() and not force:
        fail(f"{file} is there already; --force overwrites it")
    found = _manifest.discover()
    enabled = _names([one for one in found if one.fault is None])
    replace_config(file, _text(enabled))
    if as_json:
        write_json({"file": str(file), "enabled": enabled})
    else:
        write(f"wrote {file} with {', '.join(enabled) or 'no plugin'} enabled")
    for one in found:
        if one.fault is not None:
            note(f"{one.manifest.name} is left out: {one.fault}")


@command.command()
@click.option("--sources", is_flag=True, help="Say where each value came from, defaults included.")
@config_option
@json_option
def show(config: Path | None, *, sources: bool, as_json: bool) -> None:
    """Show the configuration in force: the file, with the variables over it. Secrets are shown as ***.

    What is a secret in a plugin's table, the plugin's own settings say: it is loaded, in a process of its own. Of a
    plugin that is not in service no text is shown. With --sources the defaults of plugins are shown too.
    """
    settings = read_settings(config)
    tables = without_passwords(settings.model_dump(mode="json"))
    tables["plugins"] |= _plugin_tables(settings, whole=sources)
    note(f"from {settings.file} and the variables" if settings.file else "from the defaults and the variables")
    if sources:
        _show_sources(tables, settings.file, as_json=as_json)
    elif as_json:
        write_json(tables)
    else:
        write("\n\n".join("\n".join(block) for block in toml.tables(tables)))


def _plugin_tables(settings: Settings, *, whole: bool) -> dict[str, Any]:
    """Return the plugins' own tables without their secrets, and with `whole` with their defaults."""
    given = settings.plugins.tables
    if not given and not whole:
        return {}
    found = inspect(settings, settings.file, wanted=None if whole else lambda one: one.name in given)
    shown: dict[str, Any] = {}
    for name in sorted({*given, *found.settings}):
        known = found.settings.get(name)
        if known is None:
            shown[name] = hidden(given[name])
            note(f"plugins.{name}: no text is shown, because {_why(found.plugins, name)}")
        elif name in given or known["values"]:
            values = known["values"] if whole and known["values"] is not None else given[name]
            shown[name] = masked(values, known["schema"])
    return shown


def _why(plugins: Sequence[PluginInfo], name: str) -> str:
    for plugin in plugins:
        if plugin.name == name:
            return f"the plugin is {plugin.state}{f' ({plugin.reason})' if plugin.reason else ''}"
    return "there is no such plugin"


def _show_sources(tables: dict[str, Any], file: Path | None, *, as_json: bool) -> None:
    from jackfield._cli.sources import Sources

    known = Sources(file)
    if as_json:
        rows = [(path, value, known.of(path)) for path, value in _flat(tables)]
        write_json(
            [
                {"key": ".".join(path), "value": value, "source": one.kind, "where": one.where, "line": one.line}
                for path, value, one in rows
            ]
        )
    else:
        blocks = toml.tables(tables, remark=lambda path: str(known.of(path)))
        write("\n\n".join("\n".join(block) for block in blocks))


def _flat(table: dict[str, Any], path: toml.Path = ()) -> Iterator[tuple[toml.Path, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, (*path, key))
        else:
            yield (*path, key), value


def _names(found: Sequence[Found]) -> list[str]:
    names = [one.manifest.name for one in found]
    return [one.manifest.name if names.count(one.manifest.name) == 1 else one.manifest.qualified for one in found]


def _text(enabled: list[str]) -> str:
    chosen = {"plugins": {"policy": "listed", "enabled": enabled}}
    blocks = [_HEAD, *("\n".join(_table(name, chosen.get(name, {}))) + "\n" for name in Settings.model_fields), _FOOT]
    return "\n".join(block.strip("\n") + "\n" for block in blocks)


def _table(name: str, chosen: dict[str, Any]) -> Iterator[str]:
    model = Settings.model_fields[name].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel)  # noqa: S101, PT018 - a model of our own
    yield f"# {_about(model)}"
    yield f"[{name}]"
    for key, info in model.model_fields.items():
        choices = _choices(info.annotation)
        known = f" Known are {', '.join(map(to_json, choices))}." if choices else ""
        yield f"# {info.description}{known}"
        for part in _parts(info.annotation):
            yield from (f"#   {name}: {inner.description}" for name, inner in part.model_fields.items())
        value = chosen.get(key, info.default)
        yield f"{'' if key in chosen else '# '}{key} = {toml.value(value)}"


def _parts(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a setting is, or is a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _choices(annotation: object) -> list[str]:
    """Return the values that a setting, or each part of it, can have, if these are few."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _about(model: type[BaseModel]) -> str:
    """Return what the model's docstring says after the name of its table."""
    words = (model.__doc__ or "").partition(": ")[2].partition("\n")[0]
    return words[:1].upper() + words[1:]
