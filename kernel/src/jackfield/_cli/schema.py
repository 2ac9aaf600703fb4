"""`jackfield schema`: what can be called, as a document for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import click

from jackfield._cli.contract import document, reading
from jackfield._cli.contract.document import Document, DocumentError
from jackfield._cli.options import identity_options
from jackfield._cli.remote import Target
from jackfield._cli.terminal import fail, note, to_json, write

Format = Literal["contract", "jsonschema", "asyncapi"]


@click.command("schema")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    default="contract",
    help="What to write: the contract that `jackfield diff` reads, JSON Schema 2020-12, or AsyncAPI 3.1.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write it to.")
@click.option("--load", is_flag=True, help="Load plugins even where their distributions carry their contracts.")
@identity_options
def command(sources: tuple[str, ...], form: Format, target: Target, *, output: Path | None, load: bool) -> None:
    """Write the contract of plugins: their functions, with what each takes, gives, emits and requires.

    Each SOURCE is the name of an installed plugin, a wheel, a JSON file that this command has written, or the address
    of a running server, which tells what the caller may call. Left out, it is all plugins that would be in service.

    The contract of a wheel, and that of an installed plugin whose distribution carries it, is read without importing
    anything of it. Other plugins are loaded, each in a process of its own.
    """
    try:
        if sources:
            found = document.merged([reading.read(source, target, load=load) for source in sources])
        else:
            found = reading.installed(None, target.config, load=load)
    except DocumentError as error:
        fail(str(error).splitlines())
    servers = [source for source in sources if reading.is_server(source)]
    text = _text(found, form, servers[0] if len(servers) == 1 else None)
    if output is None:
        write(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}")
    note(f"wrote {output}: {_count(found)}")


def _text(contract: Document, form: Format, url: str | None) -> str:
    if form == "contract":
        return contract.to_json()
    from jackfield._cli.contract import exports

    made: dict[str, Any] = exports.json_schema(contract) if form == "jsonschema" else exports.asyncapi(contract, url)
    return f"{to_json(made, indent=2)}\n"


def _count(contract: Document) -> str:
    plugins, functions = len(contract.plugins), len(contract.functions)
    return f"{plugins} plugin{'' if plugins == 1 else 's'}, {functions} function{'' if functions == 1 else 's'}"
