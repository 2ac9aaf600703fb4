"""Write the tables of settings, options and public names into the documentation: `python -m tests.docs.tables`.

They are made from the models that read the configuration, from the commands and from docstrings, so they cannot say
anything else.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jackfield._cli import group
from jackfield._cli.contract.rules import RULES
from jackfield._host import FunctionInfo
from jackfield._kernel import JackfieldKernel
from jackfield._settings import (
    AccessRule,
    AccessSettings,
    BulkheadRule,
    BulkheadSettings,
    Limits,
    LogSettings,
    PluginSettings,
    QuarantineSettings,
    ServerSettings,
    Settings,
    WatchdogSettings,
)
from jackfield_channels.settings import Rule as ChannelRule
from jackfield_ratelimit.settings import Rule
from tests.docs.api import DOORS, reference, summary

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [*ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")]
"""Where tables stand."""

COMMAND: Final = "python -m tests.docs.tables"

PAST: Final = {
    "message_size": "the connection is closed with 1009; a POST is answered with 413",
    "fragments": "the connection is closed with 1008",
    "header_size": "HTTP status 431",
    "headers": "HTTP status 431",
    "request_timeout": "HTTP status 408",
    "backlog": "the connection is closed with 4008",
    "backlog_timeout": "the connection is closed with 4008",
    "unpacked_size": "`resource_exhausted`",
    "unpack_ratio": "`resource_exhausted`",
    "depth": "`resource_exhausted`",
    "message_rate": "`resource_exhausted` with `retry_after`; after 100 in a minute the connection is closed with 1008",
    "byte_rate": "`resource_exhausted` with `retry_after`; after 100 in a minute the connection is closed with 1008",
    "batch": "`resource_exhausted`, one for the whole batch",
    "calls": "`resource_exhausted` with `retry_after`",
    "cancels": "the connection is closed with 1008",
    "streams": "`resource_exhausted` with `retry_after`",
    "stream_buffer": "the server gives no more credit until items are consumed",
    "stream_idle": "`deadline_exceeded`",
    "call_timeout": "`deadline_exceeded`",
    "max_timeout": "a longer `timeout` is shortened, then `deadline_exceeded`",
    "invoke_depth": "`resource_exhausted`, for the function that calls",
    "requests": "`resource_exhausted`, for the function that asks",
    "threads": "the call waits for a thread, within its time",
    "auth_size": "the connection is closed with 1008",
    "auth_timeout": "`connect_error` with `unavailable` and `retry_after`",
    "connections": "HTTP status 503 with `Retry-After`",
    "connections_per_address": "HTTP status 503 with `Retry-After`",
    "connections_per_principal": "`connect_error` with `resource_exhausted` and `retry_after`",
    "connects": "HTTP status 503 with `Retry-After`",
    "loop_lag": "HTTP status 503 with `Retry-After`; calls: `unavailable` with `retry_after`",
    "memory": "the same",
    "pending": "HTTP status 503 with `Retry-After`",
    "buffers_timeout": "the connection is closed with 1008",
    "connect_timeout": "the connection is closed with 1000",
}
"""What a client meets past each limit."""

_TABLE: Final = re.compile(r"(<!-- (\w+): made by `[^`]+` -->\n).*?(<!-- end of the table -->)", re.DOTALL)


def limits() -> str:
    """Return the table of the limits: setting, default, what happens past it."""
    rows = [
        f"| `limits.{name}` | {_default(field)} | {field.description} | {PAST[name]} |"
        for name, field in Limits.model_fields.items()
    ]
    return "\n".join(["| setting | default | what it limits | past it |", "|---|---|---|---|", *rows])


def table(model: type[BaseModel]) -> str:
    """Return the table of one table of the configuration: key, default, meaning."""
    rows = [f"| `{name}` | {_default(field)} | {field.description} |" for name, field in model.model_fields.items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def keys() -> Iterator[str]:
    """Yield every key of the configuration, such as `server.port`."""
    for name, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type), name
        assert issubclass(field.annotation, BaseModel), name
        yield from (f"{name}.{key}" for key in field.annotation.model_fields)


def commands(command: click.Command = group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with the words after `jackfield`."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands(inner, f"{path} {name}".strip())


def plugin_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that a plugin brings."""
    for entry in entry_points(group="jackfield.commands"):
        yield entry.name, entry.load()


def plugin_settings() -> dict[str, type[BaseModel]]:
    """Return the model of each plugin's settings, by the plugin's name."""
    plugins = {entry.name: entry.load() for entry in entry_points(group="jackfield.plugins")}
    return {
        name: plugin.jackfield_settings() for name, plugin in plugins.items() if hasattr(plugin, "jackfield_settings")
    }


def plugin_functions() -> dict[str, list[FunctionInfo]]:
    """Return the functions of each plugin that has any, by the plugin's name."""
    kernel = JackfieldKernel(Settings())
    kernel.load()
    found: dict[str, list[FunctionInfo]] = {}
    for function in kernel.served():
        found.setdefault(function.plugin, []).append(function)
    return found


def functions(served: list[FunctionInfo]) -> str:
    """Return the table of a plugin's functions."""
    rows = [
        f"| `{function.event}` | {function.kind} | {_scopes(function.requires)} | {function.summary} |"
        for function in served
    ]
    return "\n".join(["| function | kind | requires | what it does |", "|---|---|---|---|", *rows])


def _scopes(requires: tuple[str, ...] | None) -> str:
    if requires is None:
        return "the operator says"
    return ", ".join(f"`{scope}`" for scope in requires) or "nothing"


def options(path: str, command: click.Command) -> str:
    """Return how a command is written, and the table of its options without `--help`."""
    context = click.Context(command)
    rows = [
        f"| {_names(option, context)} | {option.help} |"
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    usage = " ".join(["jackfield", path, *command.collect_usage_pieces(context)])
    return "\n".join([f"`{usage}`", "", "| option | meaning |", "|---|---|", *rows])


def _names(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(context).removesuffix(' RANGE')}"
    value = value.replace("|", "\\|")  # in a table a bare one would begin the next cell, in code too
    return ", ".join(f"`{name}{value}`" for name in [*option.opts, *option.secondary_opts])


def rules() -> str:
    """Return the table of the rules by which contracts are compared."""
    rows = [f"| `{name}` | {'yes' if rule.breaking else 'no'} | {rule.reason} |" for name, rule in RULES.items()]
    return "\n".join(["| rule | breaks callers | why |", "|---|---|---|", *rows])


def floors() -> str:
    """Return the table of the kernel's modules from the top floor to the lowest, each with what it is for."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract.get("containers") == ["jackfield"])
    rows = [
        f"| {len(layers) - number} | `{name}` | {summary(name)} |"
        for number, layer in enumerate(layers)
        for name in re.findall(r"\w+", layer)
    ]
    return "\n".join(["| floor | module | what it is |", "|--:|---|---|", *rows])


TABLES: Final[dict[str, Callable[[], str]]] = {
    "limits": limits,
    "contract_rules": rules,
    "floors": floors,
    "server_keys": partial(table, ServerSettings),
    "limits_keys": partial(table, Limits),
    "plugins_keys": partial(table, PluginSettings),
    "access_keys": partial(table, AccessSettings),
    "access_rule_keys": partial(table, AccessRule),
    "quarantine_keys": partial(table, QuarantineSettings),
    "bulkhead_keys": partial(table, BulkheadSettings),
    "bulkhead_rule_keys": partial(table, BulkheadRule),
    "watchdog_keys": partial(table, WatchdogSettings),
    "log_keys": partial(table, LogSettings),
    **{f"{name}_keys": partial(table, model) for name, model in plugin_settings().items()},
    **{f"{name}_functions": partial(functions, served) for name, served in plugin_functions().items()},
    "channels_rules": partial(table, ChannelRule),
    "ratelimit_rules": partial(table, Rule),
    **{
        f"options_{path.replace(' ', '_')}": partial(options, path, command)
        for path, command in [*commands(), *plugin_commands()]
    },
    **{f"api_{door.replace('.', '_')}": partial(reference, door) for door in DOORS},
}


def renewed(text: str) -> str:
    """Return the text of a document with its tables made anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", text)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str | Path):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    if isinstance(value, int) and value >= 10_000:
        return f"`{value:_}`"
    return f"`{value:g}`"


def main() -> None:
    """Renew the tables of every document."""
    for path in PAGES:
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
