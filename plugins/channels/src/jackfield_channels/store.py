"""What a store can do, whatever it keeps channels in; and the words for it.

A store counts the publications of each channel: each has an offset, one more than the one before it. The epoch says
which count that is: a channel that the store has lost, or forgotten, begins again with another one, so no pair of both
ever comes a second time. The newest publications are kept, without a hole between them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from jackfield import CallError, Code, Json, Position

MANY: Final = 100
"""Publications that a store gives at once."""
PORTION: Final = 1024 * 1024
"""Bytes of publications after which it gives no more of them at once."""
MAX_BUFFERS: Final = 10
"""Buffers that one message can carry to every client."""
_LENGTH: Final = 4
"""Bytes of the length of a part, in front of it."""
_OVERHEAD: Final = 100
"""About the bytes that a publication takes beside its data."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a channel's history is kept.

    Args:
        size: How many publications.
        ttl: Seconds.
    """

    size: int
    ttl: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a store keeps.

    Args:
        channels: How many channels.
        quota: Bytes of all publications.
        remember: Seconds that a channel without history or subscribers is known.
        dedup: Seconds that the ids of publications are known.
    """

    channels: int
    quota: int
    remember: float
    dedup: float

    def refuse_channel(self) -> CallError:
        """Return the refusal of one channel more."""
        return CallError(
            Code.RESOURCE_EXHAUSTED,
            f"There are {self.channels:,} channels, and there may be no more (plugins.channels.max_channels).",
        )


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published.

    Args:
        channel: Where.
        position: Which one it is there.
        data: It.
    """

    channel: str
    position: Position
    data: Json


@dataclass(frozen=True, slots=True)
class State:
    """How far a channel is.

    Args:
        epoch: Which count it is.
        top: The offset of its newest publication; 0 for none.
        floor: The publications after this offset are kept, all of them.
    """

    epoch: str
    top: int
    floor: int

    def reaches(self, since: Position) -> bool:
        """Tell whether all publications after a position are there."""
        return since.epoch == self.epoch and self.floor <= since.offset <= self.top


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the publications of a channel, in order.

    Args:
        state: How far the channel was.
        publications: They; without a hole.
    """

    state: State
    publications: list[Publication]


Told: TypeAlias = Callable[[Publication], None]
Used: TypeAlias = Callable[[str], bool]
"""Tells whether a channel has subscribers, so that it must not be forgotten; it may be asked from any thread."""


class Store(Protocol):
    """What keeps channels. Every method but `trouble` raises `CallError` (`unavailable`) where it cannot be used."""

    async def open(self, told: Told) -> None:
        """Make it ready; to be called once, before all others.

        Args:
            told: Called in the event loop with each publication, in the order of offsets within a channel, whoever
                published it and whatever has become of them.
        """

    async def close(self) -> None:
        """Give back what `open` took; nothing is called after it."""

    def trouble(self) -> str | None:
        """Tell why it cannot be used, if that is so."""

    async def state(self, channel: str) -> State:
        """Return how far a channel is; one that is not known is from now on.

        Raises:
            CallError: `resource_exhausted`: there are too many.
        """

    async def append(self, channel: str, data: Json, keep: Keep, id: str | None) -> Position:
        """Publish, and return where that stands; when this returns it is kept.

        Args:
            channel: Where.
            data: What.
            keep: How much of the channel is kept.
            id: The publisher's name for it; one that was published with the same name lately is what this returns.

        Raises:
            CallError: `resource_exhausted`: there are too many channels.
        """

    async def read(self, channel: str, after: int, limit: int) -> Page:
        """Return publications after an offset, the oldest that are kept first, not all where there are many."""

    async def read_back(self, channel: str, before: int, limit: int) -> Page:
        """Return publications before an offset, the newest first."""

    async def sweep(self) -> None:
        """Let go of what is too old."""


class Portion:
    """Publications, as many as fit into one answer."""

    def __init__(self, limit: int) -> None:
        self.publications: list[Publication] = []
        self._limit = min(limit, MANY)
        self._size = self._buffers = 0

    def add(self, publication: Publication) -> bool:
        """Add one; tell whether it fits. The first one does."""
        data = publication.data
        self._size += size_of(data)
        self._buffers += len(data.buffers)
        fits = len(self.publications) < self._limit and self._size <= PORTION and self._buffers <= MAX_BUFFERS
        if fits or not self.publications:
            self.publications.append(publication)
            return True
        return False


def size_of(data: Json) -> int:
    """Return the bytes that a publication counts for."""
    return _OVERHEAD + bytes_of(data)


def bytes_of(data: Json) -> int:
    """Return the bytes of data: its text, and its Buffers."""
    return len(data.text) + sum(map(len, data.buffers))


def new_epoch() -> str:
    """Return an epoch that has never been."""
    return secrets.token_hex(6)


def join(parts: Iterable[bytes]) -> bytes:
    """Return parts as one."""
    return b"".join(len(part).to_bytes(_LENGTH, "big") + part for part in parts)


def split(joined: bytes) -> tuple[bytes, ...]:
    """Return the parts that were joined.

    Raises:
        ValueError: These are none.
    """
    found: list[bytes] = []
    at = 0
    while at < len(joined):
        start = at + _LENGTH
        at = start + int.from_bytes(joined[at:start], "big")
        found.append(joined[start:at])
    if at > len(joined):
        raise ValueError("the last part is not whole")
    return tuple(found)
