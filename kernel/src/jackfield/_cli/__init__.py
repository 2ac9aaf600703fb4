"""The command line. Each command is a module of its own, imported only when it is run."""

from __future__ import annotations

import difflib
import gc
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "new": "Make the project of a plugin.",
    "serve": "Start the server.",
    "plugins": "List plugins, and switch them on and off.",
    "functions": "List what can be called, or show one function.",
    "call": "Call a function of a running server.",
    "top": "Show what a running server is doing, as it happens.",
    "schema": "Write the contract of plugins, for programs.",
    "diff": "Show which changes of a contract break callers.",
    "check": "Check configuration and plugins, for CI.",
    "config": "Write and show the configuration.",
    "doctor": "See whether this machine, or a proxy, is fit for a server.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            from jackfield._cli import contributed

            found = contributed.choose(cmd_name, tuple(_COMMANDS))
            return found.load() if found else None
        command = import_module(f"jackfield._cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - a module of our own
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from jackfield._cli import contributed

            if near := difflib.get_close_matches(name, [*_COMMANDS, *contributed.discover()], n=1):
                ctx.fail(f"No such command {name!r}. Did you mean {near[0]!r}?")
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The help of the group imports no command.
        from jackfield._cli import contributed

        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        if others := list(contributed.rows(contributed.discover(), tuple(_COMMANDS))):
            with formatter.section("Commands of plugins"):
                formatter.write_dl(others)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from jackfield._cli import contributed

        known = {**_COMMANDS, **dict(contributed.rows(contributed.discover(), tuple(_COMMANDS)))}
        items = [CompletionItem(name, help=words) for name, words in known.items() if name.startswith(incomplete)]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jackfield", prog_name="jackfield")
@click.pass_context
def group(ctx: click.Context) -> None:
    """jackfield: an event-driven API server that runs what plugins bring.

    Data goes to standard output, what is said about it to standard error. There is colour on a terminal only, and
    none where NO_COLOR is set.

    Exit status: 0 it went well, 1 it failed, 2 the command was wrong, 3 the server could not start, 130 Ctrl+C.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run the command line."""
    # Nothing of what is imported is garbage, which a tenth of the time of a start would go into finding out.
    gc.set_threshold(100_000, *gc.get_threshold()[1:])
    group(prog_name="jackfield")
