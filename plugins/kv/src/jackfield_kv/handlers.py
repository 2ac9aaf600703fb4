"""The functions of `api.kv`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from jackfield import Call, CallError, Code, Service
from jackfield_kv import faults, store
from jackfield_kv.kv import Kv
from jackfield_kv.messages import (
    Deleted,
    DeleteRequest,
    Entry,
    GetRequest,
    ListRequest,
    SetRequest,
    WatchItem,
    WatchRequest,
    Written,
)
from jackfield_kv.values import unpack
from jackfield_kv.watches import Reached, Wanted

_CODES: Final = {
    faults.BadKey: Code.INVALID_ARGUMENT,
    faults.BadValue: Code.INVALID_ARGUMENT,
    faults.NotFound: Code.NOT_FOUND,
    faults.Exists: Code.ALREADY_EXISTS,
    faults.Conflict: Code.ABORTED,
    faults.TooMuch: Code.RESOURCE_EXHAUSTED,
    faults.OutOfReach: Code.OUT_OF_RANGE,
    faults.Behind: Code.ABORTED,
    faults.Away: Code.UNAVAILABLE,
}
_ALWAYS: Final = (Code.INVALID_ARGUMENT, Code.UNAVAILABLE)
_RETRY: Final = 1000
"""Milliseconds after which a store that was away may be back."""

READ: Final = "kv:read"
WRITE: Final = "kv:write"
"""The scopes that callers need, where clients have to say who they are."""

_ALL_KEYS: Final = ListRequest()
_ALL_CHANGES: Final = WatchRequest()


def make_service(opened: Callable[[Call], Kv]) -> Service:
    """Return the service; `opened` tells which store a call is about."""
    service = Service("api.kv")

    @service.function(requires=READ, errors=[*_ALWAYS, Code.NOT_FOUND])
    async def get(call: Call, data: GetRequest) -> Entry:
        """Return the value of a key, with its version."""
        with _told():
            return _entry(await opened(call).get(data.key))

    @service.function(
        name="set", requires=WRITE, errors=[*_ALWAYS, Code.ALREADY_EXISTS, Code.ABORTED, Code.RESOURCE_EXHAUSTED]
    )
    async def set_value(call: Call, data: SetRequest) -> Written:
        """Set the value of a key, in the place of the one before; it is kept when this is answered."""
        with _told():
            version = await opened(call).set(
                data.key, data.value, data.ttl, if_version=data.if_version, if_absent=data.if_absent
            )
        return Written(version=version)

    @service.function(requires=WRITE, errors=[*_ALWAYS, Code.NOT_FOUND, Code.ABORTED])
    async def delete(call: Call, data: DeleteRequest) -> Deleted:
        """Delete the value of a key."""
        with _told():
            return Deleted(revision=await opened(call).delete(data.key, data.if_version))

    @service.function(name="list", requires=READ, errors=_ALWAYS)
    async def list_entries(call: Call, data: ListRequest = _ALL_KEYS) -> AsyncIterator[Entry]:
        """Send the keys that begin with a prefix, in order, with their values."""
        with _told():
            found = opened(call).list(data.prefix, data.after, data.limit, values=data.values)
            async with aclosing(found) as entries:
                async for entry in entries:
                    yield _entry(entry)

    @service.function(requires=READ, errors=[*_ALWAYS, Code.OUT_OF_RANGE, Code.ABORTED, Code.RESOURCE_EXHAUSTED])
    async def watch(call: Call, data: WatchRequest = _ALL_CHANGES) -> AsyncIterator[WatchItem]:
        """Send what keys have, and then every change of them, in order and without a gap.

        An item `reached` says that all up to its revision has been told: the first one when what the keys had is
        complete, others from time to time. Its revision, or that of any later item, is where another watch can go on.
        """
        wanted = Wanted(data.prefix) if data.key is None else Wanted(data.key, exact=True)
        with _told():
            async with aclosing(opened(call).watch(wanted, data.after)) as told:
                async for item in told:
                    yield _item(item)

    return service


@contextmanager
def _told() -> Generator[None, None, None]:
    """Tell the caller what is wrong with its request."""
    try:
        yield
    except faults.KvFault as fault:
        retry_after = _RETRY if isinstance(fault, faults.Away) else None
        raise CallError(_CODES[type(fault)], str(fault), retry_after=retry_after) from None


def _entry(entry: store.Entry) -> Entry:
    return Entry(key=entry.key, value=_value(entry.value), version=entry.version, expires=_time(entry.expires))


def _item(item: store.Change | Reached) -> WatchItem:
    if isinstance(item, Reached):
        return WatchItem(event="reached", revision=item.revision)
    return WatchItem(
        event=item.event, revision=item.revision, key=item.key, value=_value(item.value), expires=_time(item.expires)
    )


def _value(packed: bytes | None) -> Any:
    return None if packed is None else unpack(packed)


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
