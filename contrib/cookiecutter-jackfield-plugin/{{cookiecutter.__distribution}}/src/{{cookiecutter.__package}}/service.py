"""What the plugin does. Nothing here knows of jackfield, so that it can be tested, and used, by itself."""

from __future__ import annotations

{% if cookiecutter.streams or cookiecutter.background %}
import asyncio
{% endif %}
{% if cookiecutter.background %}
import time
{% endif %}
{% if cookiecutter.streams %}
from collections.abc import AsyncGenerator
{% endif %}
{% if cookiecutter.streams or cookiecutter.background %}

{% endif %}

class TooMany(Exception):
    """There are as many things as there may be."""


class Tally:
    """Counts things.

    Args:
        max_things: How many things have a total at once.
    """

    def __init__(self, max_things: int) -> None:
        self._max_things = max_things
        self._totals: dict[str, int] = {}
{% if cookiecutter.background %}
        self._counted: dict[str, float] = {}
{% endif %}
{% if cookiecutter.streams %}
        self._changes: set[asyncio.Event] = set()
{% endif %}

    def add(self, thing: str, count: int) -> int:
        """Count a thing, and return its total.

        Raises:
            TooMany: It would be one thing more than there may be.
        """
        if thing not in self._totals and len(self._totals) >= self._max_things:
            raise TooMany
        self._totals[thing] = total = self._totals.get(thing, 0) + count
{% if cookiecutter.background %}
        self._counted[thing] = time.monotonic()
{% endif %}
{% if cookiecutter.streams %}
        self._tell()
{% endif %}
        return total

    def total(self, thing: str) -> int:
        """Return the total of a thing; 0 for one that nobody has counted."""
        return self._totals.get(thing, 0)
{% if cookiecutter.streams %}

    async def watch(self, thing: str) -> AsyncGenerator[int, None]:
        """Yield the total of a thing, now and when it has changed; who reads slowly gets the newest only."""
        change = asyncio.Event()
        self._changes.add(change)
        try:
            yield (told := self.total(thing))
            while True:
                await change.wait()
                change.clear()
                if (total := self.total(thing)) != told:
                    yield (told := total)
        finally:
            self._changes.remove(change)

    def _tell(self) -> None:
        for change in self._changes:
            change.set()
{% endif %}
{% if cookiecutter.background %}

    async def forget(self, keep: float) -> None:
        """Forget things that nobody counts, until it is cancelled.

        Args:
            keep: Seconds that a thing is kept after it was counted.
        """
        while True:
            await asyncio.sleep(keep / 10)
            now = time.monotonic()
            for thing in [thing for thing, counted in self._counted.items() if now - counted >= keep]:
                del self._totals[thing], self._counted[thing]
{% if cookiecutter.streams %}
            self._tell()
{% endif %}
{% endif %}
