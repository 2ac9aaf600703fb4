"""`jackfield diff`: what is different between two contracts, and what of it breaks callers."""

from __future__ import annotations

from collections.abc import Sequence

import click

from jackfield._cli.contract import reading
from jackfield._cli.contract.comparing import Change, compare
from jackfield._cli.contract.document import Document, DocumentError
from jackfield._cli.options import identity_options, json_option
from jackfield._cli.remote import Target
from jackfield._cli.terminal import columns, end, fail, line, write, write_json

_EXIT_UNREADABLE = 2


@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--breaking", "breaking_only", is_flag=True, help="Leave out the changes that break nobody.")
@identity_options
@json_option
def command(old: str, new: str, target: Target, *, breaking_only: bool, as_json: bool) -> None:
    """Show how the contract NEW differs from OLD, and what of it breaks callers who keep to OLD.

    OLD and NEW are each a wheel, a JSON file that `jackfield schema` has written, the address of a running server, or
    the name of an installed plugin. A wheel's contract is read without importing anything of it. Where one of the two
    is a server, its plugins count that the other has.

    What cannot be decided, such as whether one regular expression takes all that another does, counts as breaking.

    Exit status: 0 nothing breaks, 1 something does, 2 the command was wrong or one of the two cannot be read.
    """
    try:
        before, after = reading.read(old, target), reading.read(new, target)
    except DocumentError as error:
        fail(str(error).splitlines(), _EXIT_UNREADABLE)
    if reading.is_server(old) != reading.is_server(new):
        before, after = _shared(before, after) if reading.is_server(old) else _shared(after, before)[::-1]
    changes = compare(before, after)
    breaking = [change for change in changes if change.breaking]
    shown = breaking if breaking_only else changes
    if as_json:
        write_json({"breaking": bool(breaking), "changes": [change.as_dict() for change in shown]})
    else:
        for text in _lines(shown):
            write(text)
        write(_verdict(len(breaking), len(changes)))
    end(failed=bool(breaking))


def _shared(server: Document, other: Document) -> tuple[Document, Document]:
    """Leave out of a server what the other is not about."""
    names = {plugin.name for plugin in other.plugins}
    plugins = [one for one in server.plugins if one.name in names or other.namespaces & set(one.namespaces)]
    return server.model_copy(update={"plugins": tuple(plugins)}), other


def _lines(changes: Sequence[Change]) -> list[str]:
    rows = []
    for change in changes:
        mark = click.style("✗", fg="red") if change.breaking else click.style("✓", fg="green")
        rows.append([mark, change.rule, line(change.where), line(change.summary)])
    return columns(rows) if rows else []


def _verdict(breaking: int, all_changes: int) -> str:
    if not all_changes:
        return "no change"
    several = f"{all_changes} change{'s' if all_changes > 1 else ''}"
    if not breaking:
        return f"{several}, none of which breaks callers"
    return f"{several}, {breaking} of which break{'s' if breaking == 1 else ''} callers"
