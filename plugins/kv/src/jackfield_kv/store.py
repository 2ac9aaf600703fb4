"""What a store can do, whatever it keeps values in; and the words for it.

A store counts its changes: each has a revision, one more than the one before it. The version of a value is the
revision of the change that made it, so no key has the same version twice. The newest changes are remembered, so that
whoever knows a revision can learn what has happened since.

All times are milliseconds since 1970, on the clock of the store. A value whose time is over is not there, for
nobody; that it has expired is a change, made by the next `sweep` or by the next one who changes the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from jackfield_kv.faults import Conflict, Exists, NotFound, OutOfReach, TooMuch

Event: TypeAlias = Literal["set", "delete", "expire"]
"""What a change did to its key."""

PORTION: Final = 1024 * 1024
"""Bytes of values after which a store gives no more of them at once."""
OVERHEAD: Final = 200
"""About as many bytes as a change takes beside its key and its value."""
MANY: Final = 500
"""Keys, or changes, that a store gives at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value.

    Args:
        key: The key.
        version: The version of the value.
        value: The value as `values.pack` makes it; None where it was not asked for.
        expires: When its time is over, if ever.
    """

    key: str
    version: int
    value: bytes | None = None
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the keys, in order.

    Args:
        entries: What they have.
        revision: The revision of the store when they had it.
        next: The key behind which there may be others; None where this was all.
    """

    entries: list[Entry]
    revision: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one key.

    Args:
        revision: The revision that it made; of a value that was set, also its version.
        key: The key.
        event: What was done to it.
        value: The value as `values.pack` makes it, where one was set.
        expires: When its time is over, if ever.
    """

    revision: int
    key: str
    event: Event
    value: bytes | None = None
    expires: int | None = None

    @property
    def size(self) -> int:
        """About as many bytes as it takes in memory."""
        return OVERHEAD + len(self.key) + len(self.value or b"")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be set.

    Args:
        key: The key.
        value: The value as `values.pack` makes it.
        ttl: Milliseconds after which it expires; None for never.
        if_version: The version that the value before it must have, if any will not do.
        if_absent: Whether there must be none.
    """

    key: str
    value: bytes
    ttl: int | None = None
    if_version: int | None = None
    if_absent: bool = False

    @property
    def size(self) -> int:
        """The bytes that count for the quota."""
        return size_of(self.key, self.value)

    def check(self, version: int | None) -> None:
        """Refuse the order where the value before it, None for none, is not as it must be.

        Raises:
            Exists: There is one, and must be none.
            Conflict: It has another version.
        """
        if self.if_absent and version is not None:
            raise Exists(f"{self.key!r} has a value already, of the version {version}.")
        check_version(self.key, version, self.if_version)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a store keeps.

    Args:
        keys: How many keys.
        quota: Bytes of all keys and values.
        history: Of how many changes watches may be behind.
    """

    keys: int
    quota: int
    history: int

    def refuse_key(self) -> TooMuch:
        """Return the refusal of one key more."""
        return TooMuch(f"There are {self.keys:,} keys, and there may be no more (plugins.kv.max_keys).")

    def refuse_size(self, size: int) -> TooMuch:
        """Return the refusal of a value with which all take `size` bytes."""
        return TooMuch(
            f"All keys and values would take {size:,} bytes with it, and may take {self.quota:,} (plugins.kv.quota)."
        )


class Store(Protocol):
    """What keeps values. Every method raises `Away` where the store cannot be reached."""

    async def open(self) -> None:
        """Make it ready; to be called once, before all others."""

    async def close(self) -> None:
        """Give back what `open` took; nothing is called after it."""

    def trouble(self) -> str | None:
        """Tell why the store cannot be reached, if that is so."""

    async def get(self, key: str) -> Entry | None:
        """Return what a key has, None for nothing."""

    async def set(self, order: Order) -> int:
        """Set a value, and return its version; when this returns it is kept.

        Raises:
            Exists, Conflict: As `Order.check` says.
            TooMuch: It does not fit.
        """

    async def delete(self, key: str, if_version: int | None) -> int:
        """Delete a value, and return the revision of the store then.

        Raises:
            NotFound: There is none.
            Conflict: It has another version.
        """

    async def page(self, prefix: str, after: str, limit: int, *, values: bool) -> Page:
        """Return some of the keys that begin with a prefix and come after a key, in the order of code points."""

    async def revision(self) -> int:
        """Return the revision of the newest change."""

    async def changes(self, after: int) -> list[Change]:
        """Return changes after a revision, in order and without a gap, not all of them where there are many.

        Raises:
            OutOfReach: Some of them are forgotten, or the store has not come so far.
        """

    async def wait(self, after: int) -> None:
        """Return when there may be changes after a revision, or after some time."""

    async def sweep(self) -> bool:
        """Let values expire whose time is over, some of them; tell whether there may be more."""


def size_of(key: str, value: bytes) -> int:
    """Return the bytes that a key and its value count for."""
    return len(key.encode()) + len(value)


def check_version(key: str, version: int | None, wanted: int | None) -> None:
    """Refuse a value, of which None is the version of none, that has not the version that is wanted.

    Raises:
        Conflict: It has not.
    """
    if wanted is not None and version != wanted:
        now = "no value" if version is None else f"the version {version}"
        raise Conflict(f"{key!r} has {now} now, and the version {wanted} was expected; read it again.")


def not_found(key: str) -> NotFound:
    """Return the refusal of a key that has no value."""
    return NotFound(f"{key!r} has no value.")


def out_of_reach(after: int, horizon: int, revision: int) -> OutOfReach:
    """Return the refusal of a watch that cannot go on.

    Args:
        after: From where it was to go on.
        horizon: The last revision that is forgotten.
        revision: That of the newest change.
    """
    if after > revision:
        return OutOfReach(f"There is no revision {after} yet, the newest one is {revision}; watch without `after`.")
    return OutOfReach(
        f"Changes up to the revision {horizon} are forgotten, so no watch can begin after {after};"
        " watch without `after`."
    )
