"""`jackfield token`: tokens for development, signed with the configured secret or with the private key of a file."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import ValidationError

from jackfield import JackfieldError, plugin_table
from jackfield_jwt.keyring import LocalKeys
from jackfield_jwt.keys import Key, KeyFault, KeySet, able, read_local
from jackfield_jwt.settings import JwtSettings
from jackfield_jwt.tokens import Rejected, Verifier

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SECRET_SIZE: Final = 64


class Duration(click.ParamType[int]):
    """A time: `90`, `30s`, `15m`, `1h`, `1d`."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it in seconds."""
        found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value), re.ASCII)
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is no time such as 90, 30s, 15m, 1h or 1d", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


@click.command()
@click.option("--sub", help="Who the token is for.")
@click.option("--scope", "scopes", multiple=True, help="What they may do: words in one text, or the option again.")
@click.option("--for", "lasts", type=Duration(), default="1h", show_default=True, help="How long it is good.")
@click.option("--jti", help="Its own id, by which it can be revoked.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key in PEM, where the configuration has public ones.",
)
@click.option("--kid", help="Id of that key; from the configuration if it is there.")
@click.option("--generate-secret", is_flag=True, help="Write a good secret for plugins.jwt.secret, and no token.")
@click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file; jackfield.toml in this folder if it is there.",
)
def command(
    sub: str | None,
    scopes: tuple[str, ...],
    lasts: int,
    jti: str | None,
    key_file: Path | None,
    kid: str | None,
    generate_secret: bool,
    config: Path | None,
) -> None:
    """Make a token for development, as the issuer of [plugins.jwt] would.

    The token is written to standard output, alone. In production tokens come from where people log in.
    """
    if generate_secret:
        click.echo(secrets.token_urlsafe(_SECRET_SIZE))
        return
    if sub is None:
        raise click.UsageError("Missing option '--sub': who is the token for?")
    settings = _settings(config)
    algorithm, value, verifying = _signing(settings, key_file, kid)
    now = int(time.time())
    claims: dict[str, Any] = {"iss": settings.issuer, "aud": settings.audience[0], "sub": sub, "iat": now}
    claims |= {"exp": now + lasts, settings.scope_claim: " ".join(" ".join(scopes).split())}
    if jti is not None:
        claims["jti"] = jti
    made = jwt.encode(claims, value, algorithm, headers={"kid": verifying.id} if verifying.id else None)
    try:
        asyncio.run(Verifier(settings, LocalKeys(KeySet((verifying,)))).read(made))
    except Rejected as rejected:
        _fail(f"a server with this configuration refuses such a token: {rejected}")
    click.echo(made)


def _settings(config: Path | None) -> JwtSettings:
    try:
        settings = JwtSettings.model_validate(plugin_table("jwt", config))
    except JackfieldError as error:
        _fail(str(error))
    except ValidationError as error:
        _fail("; ".join(f"plugins.jwt: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors()))
    if not settings.configured:
        _fail("plugins.jwt has no key, so no server asks for a token   → jackfield token --generate-secret")
    return settings


def _signing(settings: JwtSettings, key_file: Path | None, kid: str | None) -> tuple[str, Any, Key]:
    """Return the algorithm, what signs, and what a server verifies it with."""
    try:
        known = read_local(settings)
    except KeyFault as fault:
        _fail(f"plugins.jwt: {fault}")
    if settings.secret is not None or settings.secret_file is not None:
        if key_file is not None:
            _fail("the configuration has a secret, which signs tokens: leave --key-file out")
        assert known is not None  # noqa: S101 - it is on this machine
        return settings.algorithms[0], known.keys[0].value, known.keys[0]
    if key_file is None:
        _fail("the configuration has public keys alone, which sign nothing   → give --key-file with the private one")
    private = _private(key_file)
    try:
        fitting = able(private.public_key(), settings.algorithms)
    except KeyFault as fault:
        _fail(f"--key-file: {fault}")
    algorithm = next((one for one in settings.algorithms if one in fitting), None)
    if algorithm is None:
        _fail(f"--key-file holds a key that does not fit {', '.join(settings.algorithms)}")
    if known is None:  # they are with the issuer
        return algorithm, private, Key(private.public_key(), fitting, kid)
    for key in known.keys:
        if key.value == private.public_key() and algorithm in key.algorithms:
            return algorithm, private, key
    _fail("--key-file holds a key whose public half the configuration does not have, so a server refuses its tokens")


def _private(file: Path) -> Any:
    try:
        return load_pem_private_key(file.read_bytes(), None)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no key
        _fail(f"--key-file {str(file)!r} holds no private key in PEM that can be read without a password")


def _fail(reason: str) -> NoReturn:
    click.echo(f"✗ {reason}", err=True)
    raise click.exceptions.Exit(1)
