"""Options that commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from jackfield._cli.remote import Target
from jackfield._cli.terminal import fail
from jackfield._configuration import TOKEN_VARIABLE, load
from jackfield._errors import StartError
from jackfield._settings import Settings

SCHEMES: Final = ("http", "https", "ws", "wss")
"""How the address of a server may begin."""

F = TypeVar("F", bound=Callable[..., object])

config_option: Callable[[F], F] = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file; jackfield.toml in this folder if it is there.",
)
json_option: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


class Url(click.ParamType[str]):
    """The address of a server: `http://host:port`, or `host:port`."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address with its scheme."""
        url = value if "://" in value else f"http://{value}"
        try:
            parts = urlsplit(url)
            usable = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username or parts.query or parts.fragment:
            self.fail(f"{value!r} is no address of a server, such as http://127.0.0.1:8000", param, ctx)
        return url.rstrip("/")


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which server to speak with, as one argument `target`."""

    @click.option("--url", type=Url(), help="The server's address; from the configuration if left out.")
    @identity_options
    @functools.wraps(command)
    def with_target(*args: Any, url: str | None, target: Target, **kwargs: Any) -> None:
        command(*args, target=replace(target, url=url), **kwargs)

    return with_target


def identity_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say who is calling, and the configuration, as one argument `target`."""

    @click.option(
        "--token",
        help="Who you are, for servers that ask; others on this machine can read it. JACKFIELD_TOKEN if left out.",
    )
    @click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File that holds the token.",
    )
    @config_option
    @functools.wraps(command)
    def with_identity(
        *args: Any, token: str | None, token_file: Path | None, config: Path | None, **kwargs: Any
    ) -> None:
        if token is not None and token_file is not None:
            raise click.UsageError("--token and --token-file exclude each other.")
        if token_file is not None:
            token = _read_token(token_file)
        elif token is None:
            token = os.environ.get(TOKEN_VARIABLE) or None
        command(*args, target=Target(config, None, token), **kwargs)

    return with_identity


def read_settings(config: Path | None, flags: dict[str, dict[str, object]] | None = None) -> Settings:
    """Return the configuration, or end the command with its faults."""
    try:
        return load(config, flags)
    except StartError as error:
        fail(error.faults)


def _read_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(f"{str(file)!r} is no text that can be read.", param_hint="--token-file") from None
