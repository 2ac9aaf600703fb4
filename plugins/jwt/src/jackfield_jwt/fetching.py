"""Fetch a JWK Set in a thread, so that an issuer that is slow holds up nobody."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final

from jackfield_jwt.keys import MAX_SET

_PIECE: Final = 16 * 1024
_OK: Final = 200


class FetchFault(Exception):
    """It could not be fetched; the text says why."""


async def fetch(url: str, timeout: float) -> bytes:
    """Return what is at a URL.

    Args:
        url: Where; redirections are not followed, since they could lead anywhere.
        timeout: Seconds for all of it.

    Raises:
        FetchFault: It did not come, or it is too large.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[bytes] = loop.create_future()

    def settle(body: bytes | None, fault: FetchFault | None) -> None:
        if outcome.done():
            return
        if fault is not None:
            outcome.set_exception(fault)
        elif body is not None:
            outcome.set_result(body)

    def work() -> None:
        body, fault = None, None
        try:
            body = _get(url, timeout)
        except FetchFault as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - whatever it is, there are no keys
            fault = FetchFault(type(error).__name__)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, body, fault)

    # A thread of its own that nobody waits for: looking up a name cannot be interrupted, and may take minutes.
    threading.Thread(target=work, name="jwt-fetch", daemon=True).start()
    try:
        async with asyncio.timeout(timeout):
            return await outcome
    except TimeoutError:
        raise FetchFault(f"nothing came within {timeout:g} s") from None


def _get(url: str, timeout: float) -> bytes:
    opener = urllib.request.OpenerDirector()  # of its own: the usual one follows redirections, also to files
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "jackfield-jwt"})  # noqa: S310 - the settings let http and https in alone
    end = time.monotonic() + timeout
    try:
        with opener.open(request, timeout=timeout) as response:
            if response.status != _OK:
                raise FetchFault(f"the answer has the status {response.status}")
            body = b""
            while piece := response.read1(_PIECE):
                body += piece
                if len(body) > MAX_SET:
                    raise FetchFault(f"the answer has more than {MAX_SET} bytes")
                if time.monotonic() > end:
                    raise FetchFault("the answer takes too long")
            if response.length:
                raise FetchFault("the answer was cut off")
            return body
    except urllib.error.URLError as error:
        raise FetchFault(f"no connection: {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise FetchFault(f"{type(error).__name__}") from None
