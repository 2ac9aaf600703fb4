"""What a store does, whatever it keeps values in: each test is run with a file of SQLite, and with Redis."""

from __future__ import annotations

import asyncio

import pytest

from jackfield_kv.faults import Conflict, Exists, NotFound, OutOfReach, TooMuch
from jackfield_kv.store import MANY, PORTION, Change, Entry, Order
from plugins.kv.tests.waiting import gone
from tests.support.waiting import LIMIT


async def keys(store, prefix="", after="", limit=100):
    page = await store.page(prefix, after, limit, values=False)
    assert all(entry.value is None for entry in page.entries)
    return [entry.key for entry in page.entries], page.next


async def test_a_value_is_kept_with_its_version(make):
    """A version is the revision of the change that made the value."""
    store = await make()
    before = await store.revision()
    assert await store.get("a") is None
    assert await store.set(Order("a", b"1")) == before + 1
    assert await store.set(Order("b", b"\x00\xff\n")) == before + 2
    assert await store.set(Order("a", b"2")) == before + 3
    assert await store.get("a") == Entry("a", before + 3, b"2")
    assert await store.get("b") == Entry("b", before + 2, b"\x00\xff\n")
    assert await store.revision() == before + 3


async def test_a_deleted_value_is_gone(make):
    """Deleting counts as a change, and the next value has a version that no other had."""
    store = await make()
    first = await store.set(Order("a", b"1"))
    assert await store.delete("a", None) == first + 1
    assert await store.get("a") is None
    with pytest.raises(NotFound, match=r"^'a' has no value\.$"):
        await store.delete("a", None)
    with pytest.raises(NotFound, match=r"^'a' has no value\.$"):
        await store.delete("a", first)
    assert await store.set(Order("a", b"1")) == first + 2


async def test_compare_and_set(make):
    """Whoever comes with another version changes nothing, and is told which one there is."""
    store = await make()
    first = await store.set(Order("a", b"1", if_absent=True))
    with pytest.raises(Exists, match=rf"^'a' has a value already, of the version {first}\.$"):
        await store.set(Order("a", b"2", if_absent=True))
    second = await store.set(Order("a", b"2", if_version=first))
    lost = rf"^'a' has the version {second} now, and the version {first} was expected; read it again\.$"
    with pytest.raises(Conflict, match=lost):
        await store.set(Order("a", b"3", if_version=first))
    with pytest.raises(Conflict, match=lost):
        await store.delete("a", first)
    with pytest.raises(Conflict, match=r"^'b' has no value now, and the version 7 was expected; read it again\.$"):
        await store.set(Order("b", b"3", if_version=7))
    assert await store.get("a") == Entry("a", second, b"2")
    assert await store.delete("a", second) == second + 1


async def test_a_value_expires(make):
    """It is gone for all as soon as its time is over; the sweep makes a change of that."""
    store = await make()
    version = await store.set(Order("a", b"1", ttl=1))
    await gone(store, "a")
    assert await keys(store) == ([], None)
    assert not await store.sweep()
    assert await store.changes(version) == [Change(version + 1, "a", "expire")]


async def test_a_value_that_lasts_tells_until_when(make):
    """Another value without a time lasts for ever."""
    store = await make()
    await store.set(Order("a", b"1", ttl=60_000))
    await store.set(Order("b", b"1", ttl=61_000))
    one, two = await store.get("a"), await store.get("b")
    assert 0 <= two.expires - one.expires - 1000 < 60_000
    await store.set(Order("a", b"2"))
    assert (await store.get("a")).expires is None
    await store.sweep()
    assert await keys(store) == (["a", "b"], None)


async def test_whoever_changes_an_expired_value_lets_it_expire_first(make):
    """Even without a sweep the changes are in order, and conditions see no value."""
    store = await make()
    version = await store.set(Order("a", b"1", ttl=1))
    await gone(store, "a")
    with pytest.raises(Conflict):
        await store.set(Order("a", b"2", if_version=version))
    assert await store.set(Order("a", b"2", ttl=1, if_absent=True)) == version + 2
    await gone(store, "a")
    with pytest.raises(NotFound):
        await store.delete("a", version + 2)
    assert [(change.event, change.revision) for change in await store.changes(version)] == [
        ("expire", version + 1),
        ("set", version + 2),
        ("expire", version + 3),
    ]


async def test_a_sweep_does_some_at_a_time(make):
    """Whoever has much to sweep lets others in between."""
    store = await make()
    await asyncio.gather(*(store.set(Order(f"{number:03}", b"1", ttl=1)) for number in range(MANY)))
    last = await store.set(Order("last", b"1", ttl=2))
    await gone(store, "last")
    assert await store.sweep()
    assert not await store.sweep()
    assert not await store.sweep()
    assert await store.revision() == last + MANY + 1


async def test_keys_are_listed_in_order(make):
    """By code points, those with a prefix, those behind a key, some at a time."""
    store = await make()
    names = ["a", "a/1", "a/10", "a/2", "a/\uffff", "a/\U0010ffff", "b", "é", "\uffff", "\U0001f4a1"]
    for name in reversed(names):
        await store.set(Order(name, b"1"))
    assert await keys(store) == (names, None)
    assert await keys(store, "a/") == (["a/1", "a/10", "a/2", "a/\uffff", "a/\U0010ffff"], None)
    assert await keys(store, "a/1") == (["a/1", "a/10"], None)
    assert await keys(store, "a/", "a/10", 2) == (["a/2", "a/\uffff"], "a/\uffff")
    assert await keys(store, "a/", "a/\uffff", 2) == (["a/\U0010ffff"], None)
    assert await keys(store, "a/", "a") == (["a/1", "a/10", "a/2", "a/\uffff", "a/\U0010ffff"], None)
    assert await keys(store, "a/", "b") == ([], None)
    assert await keys(store, "", "b") == (["é", "\uffff", "\U0001f4a1"], None)
    assert await keys(store, "nothing") == ([], None)


async def test_a_page_has_values_and_a_revision(make):
    """And no more values than fit."""
    store = await make()
    before = await store.revision()
    await store.set(Order("a", b"x" * PORTION))
    await store.set(Order("b", b"2"))
    page = await store.page("", "", 10, values=True)
    assert page.entries == [Entry("a", before + 1, b"x" * PORTION)]
    assert (page.revision, page.next) == (before + 2, "a")
    page = await store.page("", "a", 10, values=True)
    assert (page.entries, page.next) == ([Entry("b", before + 2, b"2")], None)


async def test_changes_come_in_order(make):
    """All that happened after a revision, each with its value."""
    store = await make()
    before = await store.revision()
    assert await store.changes(before) == []
    await store.set(Order("a", b"1"))
    await store.set(Order("a", b"2", ttl=60_000))
    await store.delete("a", None)
    expires = (await store.changes(before))[1].expires
    assert expires is not None
    assert await store.changes(before) == [
        Change(before + 1, "a", "set", b"1"),
        Change(before + 2, "a", "set", b"2", expires),
        Change(before + 3, "a", "delete"),
    ]
    assert await store.changes(before + 2) == [Change(before + 3, "a", "delete")]
    assert await store.changes(before + 3) == []
    with pytest.raises(OutOfReach, match=rf"^There is no revision {before + 4} yet, the newest one is {before + 3}; "):
        await store.changes(before + 4)


async def test_many_changes_come_in_portions(make):
    """By number, and by size."""
    store = await make()
    before = await store.revision()
    await asyncio.gather(*(store.set(Order("a", b"1")) for _ in range(MANY + 1)))
    assert [change.revision for change in await store.changes(before)] == [before + n + 1 for n in range(MANY)]
    await store.set(Order("a", b"x" * PORTION))
    assert [change.revision for change in await store.changes(before + MANY)] == [before + MANY + 1, before + MANY + 2]
    assert len(await store.changes(before + MANY + 1)) == 1


async def test_old_changes_are_forgotten(make):
    """As many are remembered as the settings say; values are not history, and stay."""
    store = await make(history=3)
    before = await store.revision()
    for number in range(5):
        await store.set(Order(f"{number}", b"1"))
    assert [change.key for change in await store.changes(before + 2)] == ["2", "3", "4"]
    with pytest.raises(
        OutOfReach,
        match=rf"^Changes up to the revision {before + 2} are forgotten, so no watch can begin after {before + 1}; ",
    ):
        await store.changes(before + 1)
    assert await keys(store) == (["0", "1", "2", "3", "4"], None)


async def test_there_are_no_more_keys_than_allowed(make):
    """Those that are there can be changed, and one that is deleted makes room."""
    store = await make(keys=2)
    await store.set(Order("a", b"1"))
    await store.set(Order("b", b"1"))
    with pytest.raises(TooMuch, match=r"^There are 2 keys, and there may be no more \(plugins\.kv\.max_keys\)\.$"):
        await store.set(Order("c", b"1"))
    await store.set(Order("b", b"2"))
    await store.delete("a", None)
    await store.set(Order("c", b"1", ttl=1))
    await gone(store, "c")
    await store.sweep()
    await store.set(Order("d", b"1"))


async def test_all_together_take_no_more_than_the_quota(make):
    """Bytes of keys in UTF-8 and of values, exactly."""
    store = await make(quota=20)
    await store.set(Order("é", b"x" * 8))
    await store.set(Order("b", b"x" * 9))
    with pytest.raises(
        TooMuch, match=r"^All keys and values would take 21 bytes with it, and may take 20 \(plugins\.kv\.quota\)\.$"
    ):
        await store.set(Order("b", b"x" * 10))
    with pytest.raises(TooMuch):
        await store.set(Order("c", b" "))
    await store.set(Order("b", b"x" * 8))
    await store.set(Order("é", b"x" * 9))
    await store.delete("b", None)
    await store.set(Order("c", b"x" * 8))


async def test_a_smaller_quota_lets_values_become_smaller(make):
    """Whoever lowers it finds values that are too large, and these may shrink."""
    large, small = await make(quota=1000), await make(quota=10)
    await large.set(Order("a", b"x" * 100))
    with pytest.raises(TooMuch):
        await small.set(Order("a", b"x" * 101))
    await small.set(Order("a", b"x" * 99))


async def test_two_have_the_same_values(make):
    """As two servers do: what one has changed, the other one sees, and is woken by."""
    one, two = await make(), await make()
    version = await one.set(Order("a", b"1"))
    assert await two.get("a") == Entry("a", version, b"1")
    with pytest.raises(Exists):
        await two.set(Order("a", b"1", if_absent=True))

    async def heard():
        while not (found := await two.changes(version)):
            await two.wait(version)
        return found

    listening = asyncio.create_task(heard())
    assert await one.set(Order("b", b"2")) == version + 1
    async with asyncio.timeout(LIMIT):
        assert await listening == [Change(version + 1, "b", "set", b"2")]


async def test_many_at_once_lose_nothing(make):
    """Each of many adds to the same value, through two stores, by compare-and-set."""
    stores = [await make(), await make()]
    await stores[0].set(Order("sum", b"0"))

    async def add(store):
        while True:
            before = await store.get("sum")
            try:
                return await store.set(Order("sum", b"%d" % (int(before.value) + 1), if_version=before.version))
            except Conflict:
                continue

    versions = await asyncio.gather(*(add(stores[number % 2]) for number in range(40)))
    assert len(set(versions)) == 40
    assert (await stores[1].get("sum")).value == b"40"
