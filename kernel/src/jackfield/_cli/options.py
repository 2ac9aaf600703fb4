"""Options and endings that commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import click

from jackfield._cli import EXIT_FAILED
from jackfield._errors import StartError
from jackfield._settings import Settings, load

F = TypeVar("F", bound=Callable[..., object])

config_option: Callable[[F], F] = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file; jackfield.toml in this folder if it is there.",
)
json_option: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def read_settings(config: Path | None, flags: dict[str, dict[str, object]] | None = None) -> Settings:
    """Return the configuration, or end the command with its faults."""
    try:
        return load(config, flags)
    except StartError as error:
        fail(error.faults)


def fail(faults: tuple[str, ...] | list[str] | str, status: int = EXIT_FAILED) -> NoReturn:
    """End the command: each fault on a line of standard error."""
    for fault in [faults] if isinstance(faults, str) else faults:
        click.secho(f"✗ {fault}", fg="red", err=True)
    raise SystemExit(status)


def write_json(value: object) -> None:
    """Write a value for programs."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
