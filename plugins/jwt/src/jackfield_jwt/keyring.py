"""Where the keys are: on this machine, or with the issuer, whose keys change."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Final

from jackfield import CallError, Code
from jackfield_jwt.fetching import FetchFault, fetch
from jackfield_jwt.keys import Key, KeyFault, KeySet, read_set
from jackfield_jwt.settings import JwtSettings

log: Final = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 30.0
"""Seconds between attempts to fetch what could not be fetched."""
_SHOWN: Final = 3
"""Keys that a line of the log tells of."""


class LocalKeys:
    """Keys that stay what they were at the start.

    Args:
        keys: The keys.
    """

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    async def find(self, algorithm: str, key_id: str | None) -> Key | None:
        """Return the key for a token, if there is one."""
        return self._keys.find(algorithm, key_id)

    async def open(self) -> None:
        """Make ready: nothing is to be done."""

    async def close(self) -> None:
        """Give back: nothing was taken."""

    @property
    def health(self) -> str:
        """A line about the keys."""
        return _count(self._keys)

    @property
    def ill(self) -> bool:
        """Whether tokens cannot be verified."""
        return False


class RemoteKeys:
    """Keys that the issuer publishes: fetched in the background, again and again.

    Args:
        url: Where they are.
        settings: How long they are used, and what they may verify.
    """

    def __init__(self, url: str, settings: JwtSettings) -> None:
        self._url = url
        self._settings = settings
        self._keys = KeySet()
        self._fetched: float | None = None
        self._fault = "they were not fetched yet"
        self._asked = float("-inf")
        self._refreshing: asyncio.Task[bool] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Fetch the keys once, and from then on in the background."""
        went_well = await self._refreshed()
        self._keeper = asyncio.create_task(self._keep(went_well), name="jwt-keys")

    async def close(self) -> None:
        """End what runs."""
        tasks = [task for task in (self._keeper, self._refreshing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def find(self, algorithm: str, key_id: str | None) -> Key | None:
        """Return the key for a token; one that is not known is looked for at the issuer, once in a cool-down.

        Raises:
            CallError: `unavailable`: the keys are not to be had.
        """
        key = self._current().find(algorithm, key_id) if not self.ill else None
        if key is not None:
            return key
        now = time.monotonic()
        if self._refreshing is not None and not self._refreshing.done():
            await self._refreshed()
        elif now - self._asked >= self._settings.jwks_cooldown:
            self._asked = now
            await self._refreshed()
        return self._current().find(algorithm, key_id)

    @property
    def health(self) -> str:
        """A line about the keys."""
        if self._fetched is None:
            return f"no keys: {self._fault}"
        age = time.monotonic() - self._fetched
        return f"{_count(self._keys)}, fetched {age:.0f} s ago" + (f"; now {self._fault}" if self._fault else "")

    @property
    def ill(self) -> bool:
        """Whether tokens cannot be verified."""
        return not self._keys.keys or self._stale()

    def _current(self) -> KeySet:
        if self.ill:
            raise CallError(
                Code.UNAVAILABLE,
                "Tokens cannot be verified now; try again later.",
                retry_after=random.randint(1000, 5000),  # noqa: S311 - no secret
            )
        return self._keys

    def _stale(self) -> bool:
        return self._fetched is None or time.monotonic() - self._fetched > self._settings.jwks_max_stale

    async def _refreshed(self) -> bool:
        """Fetch the keys, or wait for the fetch that is under way; tell whether it went well."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="jwt-refresh")
        return await asyncio.shield(self._refreshing)  # whoever waits for it may go away, and others wait too

    async def _refresh(self) -> bool:
        try:
            found = read_set(await fetch(self._url, self._settings.jwks_timeout), self._settings.algorithms)
        except (FetchFault, KeyFault) as fault:
            if self._fault != str(fault):
                log.warning("the keys of jwks_url cannot be fetched: %s", fault)
            self._fault = str(fault)
            return False
        if found != self._keys or self._fault:
            self._tell(found)
        self._keys, self._fetched, self._fault = found, time.monotonic(), ""
        return True

    def _tell(self, found: KeySet) -> None:
        log.log(logging.INFO if found.keys else logging.ERROR, "jwks_url has %s", _count(found))
        if found.ignored:
            more = len(found.ignored) - _SHOWN
            text = "; ".join(found.ignored[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
            log.warning("keys of jwks_url that are not used: %s", text)

    async def _keep(self, went_well: bool) -> None:
        pause = _FIRST_PAUSE
        while True:
            if went_well:
                pause = _FIRST_PAUSE
                await asyncio.sleep(self._settings.jwks_lifetime * random.uniform(0.8, 1.0))  # noqa: S311 - no secret
            else:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause = min(pause * 2, _LAST_PAUSE)
            went_well = await self._refreshed()


def _count(keys: KeySet) -> str:
    number = len(keys.keys)
    return f"{number} key" if number == 1 else f"{number} keys"
