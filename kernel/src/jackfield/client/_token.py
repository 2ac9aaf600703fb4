"""Who the client is: a token, or a function that gives a fresh one."""

from __future__ import annotations

import asyncio
import binascii
import inspect
import json
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from jackfield.client._errors import ConnectError

Token: TypeAlias = "str | Callable[[], str | Awaitable[str]]"  # noqa: S105 - a type
"""A token, or a plain or asynchronous function that is asked for a fresh one each time that one is shown."""


async def fresh(token: Token | None, limit: float) -> str | None:
    """Return the token to be shown now.

    Args:
        token: A token, or what gives one.
        limit: Seconds that it has.

    Raises:
        ConnectError: What was to give one failed, took too long, or gave something else.
    """
    if token is None or isinstance(token, str):
        return token
    try:
        async with asyncio.timeout(limit):
            given = token()
            shown = await given if inspect.isawaitable(given) else given
    except Exception as error:
        raise ConnectError(f"the function that gives the token failed ({type(error).__name__})") from error
    if not isinstance(shown, str):
        raise ConnectError(f"the function that gives the token returned a {type(shown).__name__}")
    return shown


def expiry(token: str | None) -> float | None:
    """Return when a token ends, in seconds since the epoch, if it is a JWT that says so; it is not verified."""
    try:
        _, payload, _ = (token or "").split(".")
        ends = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        return None
    return ends if type(ends) in (int, float) and 0 < ends < 2**53 else None
