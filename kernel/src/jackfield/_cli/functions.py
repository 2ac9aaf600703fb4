"""`jackfield functions`: what can be called."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import click

from jackfield._cli import schemas
from jackfield._cli.inspection import is_faulty
from jackfield._cli.options import json_option, target_options
from jackfield._cli.remote import Target
from jackfield._cli.survey import survey
from jackfield._cli.terminal import (
    clean,
    columns,
    complain,
    end,
    fail,
    line,
    meant,
    note,
    write,
    write_json,
)
from jackfield._contract import Kind
from jackfield._host import FunctionInfo, PluginInfo

_WILD = frozenset("*?[")


@click.command("functions")
@click.argument("pattern", required=False)
@target_options
@json_option
def command(pattern: str | None, target: Target, *, as_json: bool) -> None:
    """List the functions that can be called, or show one of them.

    PATTERN is a pattern as file names have them, such as 'api.services.*', a namespace, or one function: that one is
    shown with all that it takes and gives. With --json it is an array all the same, of one object.

    The running server is asked, and tells what the caller may call. Where there is none, each plugin that would be in
    service is loaded in a process of its own.
    """
    learnt = survey(target, event=pattern)
    chosen = [function for function in learnt.functions if pattern is None or _matches(function.event, pattern)]
    if pattern is not None and not chosen:
        complain(learnt.faults)
        fail(_nothing(pattern, learnt.functions, learnt.plugins))
    single = len(chosen) == 1 and chosen[0].event == pattern
    if as_json:
        write_json([_whole(function) if single else _row(function) for function in chosen])
    else:
        for text in _page(chosen[0]) if single else _table(chosen):
            write(text)
    if faulty := [plugin.name for plugin in learnt.plugins if is_faulty(plugin)]:
        note(f"not in service: {', '.join(faulty)}   → jackfield plugins list")
    complain(learnt.faults)
    end(failed=bool(learnt.faults))


def _matches(event: str, pattern: str) -> bool:
    if _WILD.isdisjoint(pattern):
        return event == pattern or event.startswith(f"{pattern}.")
    return fnmatchcase(event, pattern)


def _nothing(pattern: str, functions: Sequence[FunctionInfo], plugins: Sequence[PluginInfo]) -> str:
    """Return why nothing was found: its plugin is out of service, or it is called otherwise."""
    for plugin in plugins:
        owned = any(f"{pattern}.".startswith(f"{namespace}.") for namespace in plugin.namespaces)
        if owned and plugin.state not in ("loaded", "started"):
            why = plugin.reason or plugin.kind
            return f"{pattern}: the plugin {plugin.name} is {plugin.state}{f': {why}' if why else ''}"
    return f"no function matches {pattern!r}{meant(_near(pattern, [function.event for function in functions]))}"


def _near(pattern: str, events: Sequence[str]) -> list[str]:
    """Return what may have been meant: a name beside it, the same name elsewhere, another namespace."""
    namespace, _, name = pattern.rpartition(".")
    beside = [event.rpartition(".")[2] for event in events if event.rpartition(".")[0] == namespace]
    found = [f"{namespace}.{near}" for near in difflib.get_close_matches(name, beside, n=3)]
    found += [event for event in events if event.rpartition(".")[2] == name]
    if not found:
        namespaces = {event.rpartition(".")[0] for event in events}
        found = difflib.get_close_matches(pattern, namespaces, n=1) or difflib.get_close_matches(pattern, events, n=3)
    return list(dict.fromkeys(found))[:3]


def _row(function: FunctionInfo) -> dict[str, object]:
    return {
        "event": function.event,
        "kind": function.kind,
        "plugin": function.plugin,
        "summary": function.summary,
    }


def _whole(function: FunctionInfo) -> dict[str, object]:
    return {
        **_row(function),
        "doc": function.doc,
        "errors": list(function.errors),
        "input": function.input,
        "output": function.output,
        "optional": function.optional,
        "requires": function.requires,
        "ordered": function.ordered,
        "detached": function.detached,
        "timeout": function.timeout,
        "deprecated": function.deprecated,
        "emits": function.emits,
    }


def _table(functions: Sequence[FunctionInfo]) -> Iterator[str]:
    rows = [[line(f.event), line(f.kind), line(f.plugin), line(f.summary)] for f in functions]
    yield from columns([["EVENT", "KIND", "PLUGIN", "SUMMARY"], *rows])


def _page(function: FunctionInfo) -> Iterator[str]:
    yield f"{click.style(line(function.event), bold=True)}   {line(function.kind)}   plugin {line(function.plugin)}"
    for text in clean(function.doc).splitlines():
        yield f"  {text}".rstrip()
    if function.deprecated is not None:
        yield click.style(f"  deprecated: {line(function.deprecated)}", fg="yellow")
    takes = "takes a stream of" if function.kind in (Kind.CLIENT, Kind.BOTH) else "takes"
    gives = "gives a stream of" if function.kind in (Kind.SERVER, Kind.BOTH) else "gives"
    for title, schema in ((takes, function.input), (gives, function.output)):
        yield title
        yield from (f"  {text}" for text in schemas.describe(schema))
    for event, schema in function.emits.items():
        yield f"emits {line(event)}"
        yield from (f"  {text}" for text in schemas.describe(schema))
    if function.requires:
        yield "requires"
        yield f"  {', '.join(map(line, function.requires))}"
    if function.errors:
        yield "errors"
        yield f"  {', '.join(map(line, function.errors))}"
