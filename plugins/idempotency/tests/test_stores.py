"""What a store promises, whichever kind it is."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from jackfield import CallError
from jackfield_idempotency.keys import Ticket
from jackfield_idempotency.records import Outcome, Record
from tests.support.waiting import eventually

DONE = Outcome("succeeded", b"6\n\x00\xff\ntea")
RUNNING = Outcome("running")


def ticket(name: str = "n", owner: str = "o", digest: str = "d") -> Ticket:
    """A call; those of one name are the same one, made again."""
    return Ticket(name, owner, digest, secrets.token_hex(8))


async def test_one_of_many_begins(make):
    """At whatever server; the others get what is known of it."""
    one, two = await make(), await make()
    found = await asyncio.gather(*((one, two)[n % 2].begin(ticket(digest="first")) for n in range(20)))
    assert found.count(None) == 1
    assert [each for each in found if each is not None] == [Record("first", RUNNING, True)] * 19


async def test_what_ended_is_found(make):
    """By those who come later, also at another server and when the first one is gone."""
    one, two = await make(), await make()
    first = ticket()
    assert await one.begin(first) is None
    await one.end(first, DONE)
    for store in (one, two, await make()):
        found = await store.begin(ticket())
        assert (found.digest, found.outcome) == ("d", DONE)


async def test_what_was_not_done_is_forgotten(make):
    """Somebody else may begin it."""
    store = await make()
    first, second = ticket(), ticket()
    assert await store.begin(first) is None
    await store.free(first)
    assert await store.begin(second) is None
    assert await store.begin(first) is not None


async def test_only_who_began_a_call_ends_it(make):
    """Whoever believes so, too late or by mistake, changes nothing."""
    store = await make()
    first, other = ticket(), ticket()
    assert await store.begin(first) is None
    await store.free(other)
    await store.end(other, DONE)
    await store.renew([other])
    assert await store.begin(other) == Record("d", RUNNING, True)
    await store.end(first, DONE)
    await store.end(other, Outcome("unknown"))
    await store.free(other)
    assert (await store.begin(other)).outcome == DONE


async def test_a_silent_server_is_noticed(make):
    """Its lease ends, unless it says that it is there. What it says at last is true all the same."""
    one, two = await make(lease=0.5), await make(lease=0.5)
    lost, held = ticket("lost"), ticket("held")
    for each in (lost, held):
        assert await one.begin(each) is None

    async def noticed() -> bool:
        await one.renew([held])
        found = await two.begin(ticket("lost"))
        assert found.outcome == RUNNING
        return not found.held

    await eventually(noticed)
    assert (await two.begin(ticket("held"))).held
    await one.end(lost, DONE)
    assert (await two.begin(ticket("lost"))).outcome == DONE


async def test_what_is_old_is_forgotten(make):
    """When its window is over, whatever has become of it; not before, as long as it runs."""
    store = await make(window=1, lease=0.5)
    ended, lost, running = ticket("ended"), ticket("lost"), ticket("running")
    for each in (ended, lost, running):
        assert await store.begin(each) is None
    await store.end(ended, DONE)

    async def forgotten(name: str) -> bool:
        await store.renew([running])
        return await store.begin(ticket(name)) is None

    await eventually(lambda: forgotten("ended"))
    await eventually(lambda: forgotten("lost"))
    assert await store.begin(ticket("running")) == Record("d", RUNNING, True)


async def test_each_caller_has_so_many(make):
    """Of those that are kept; another caller has as many."""
    store = await make(max_keys=2, window=1, lease=0.5)
    for name in "ab":
        first = ticket(name)
        assert await store.begin(first) is None
        await store.end(first, DONE)
    with pytest.raises(CallError, match=r"^resource_exhausted: 2 of your idempotency-keys are kept"):
        await store.begin(ticket("c"))
    assert await store.begin(ticket("c", owner="other")) is None

    async def taken() -> bool:
        try:
            return await store.begin(ticket("d")) is None
        except CallError:
            return False

    await eventually(taken)


async def test_what_is_freed_does_not_count(make):
    """Nothing was done."""
    store = await make(max_keys=1)
    for _ in range(3):
        first = ticket(secrets.token_hex(4))
        assert await store.begin(first) is None
        await store.free(first)
