"""Watches: in order, without a gap, or with a word about it."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from contextvars import ContextVar

import pytest

from jackfield_kv import tables, tail, watches
from jackfield_kv.faults import Away, Behind, OutOfReach, TooMuch
from jackfield_kv.sqlite_store import SqliteStore
from jackfield_kv.store import Bounds, Change, Order
from jackfield_kv.watches import Reached, Wanted, Watches
from plugins.kv.tests.waiting import gone
from tests.support.waiting import LIMIT, until

ALL = Wanted("")


@pytest.fixture(name="history")
def _history():
    """How many changes are remembered."""
    return 1000


@pytest.fixture(name="store")
async def _store(tmp_path, history):
    store = SqliteStore(tmp_path / "file", Bounds(10_000, 10**9, history))
    await store.open()
    yield store
    await store.close()


@pytest.fixture(name="watching")
async def _watching(store, history):
    opened = Watches(store, 2, history)
    yield opened
    await opened.close()


async def put(store, key, value=b"1"):
    return await store.set(Order(key, value))


async def take(items, number=1):
    """Return the next items of a watch."""
    async with asyncio.timeout(LIMIT):
        taken = [await anext(items) for _ in range(number)]
    return taken if number > 1 else taken[0]


async def test_first_what_there_is_and_then_what_changes(store, watching):
    """By key, then `reached`, then by revision."""
    await put(store, "b")
    await put(store, "a/2")
    await put(store, "a/1")
    async with aclosing(watching.watch(Wanted("a/"), None)) as items:
        assert await take(items, 3) == [Change(3, "a/1", "set", b"1"), Change(2, "a/2", "set", b"1"), Reached(3)]
        await put(store, "b", b"2")
        await put(store, "a/1", b"2")
        await store.delete("a/2", None)
        assert await take(items, 2) == [Change(5, "a/1", "set", b"2"), Change(6, "a/2", "delete")]


async def test_one_key(store, watching):
    """And not those that begin with it."""
    await put(store, "a/1")
    async with aclosing(watching.watch(Wanted("a", exact=True), None)) as items:
        assert await take(items) == Reached(1)
        await put(store, "a/2")
        await put(store, "a")
        assert await take(items) == Change(3, "a", "set", b"1")
    async with aclosing(watching.watch(Wanted("a", exact=True), None)) as items:
        assert await take(items, 2) == [Change(3, "a", "set", b"1"), Reached(3)]


async def test_a_watch_goes_on_after_a_revision(store, watching):
    """With all that has happened meanwhile, and what happens then."""
    for value in (b"1", b"2", b"3"):
        await put(store, "a", value)
    async with aclosing(watching.watch(ALL, 1)) as items:
        assert await take(items, 3) == [Change(2, "a", "set", b"2"), Change(3, "a", "set", b"3"), Reached(3)]
        await put(store, "a", b"4")
        assert await take(items) == Change(4, "a", "set", b"4")
    async with aclosing(watching.watch(ALL, 4)) as items:
        assert await take(items) == Reached(4)
    async with aclosing(watching.watch(ALL, 5)) as items:
        with pytest.raises(
            OutOfReach, match=r"^There is no revision 5 yet, the newest one is 4; watch without `after`\.$"
        ):
            await take(items)


async def test_an_expired_value_is_told_of(store, watching):
    """When a sweep has found it."""
    async with aclosing(watching.watch(ALL, None)) as items:
        assert await take(items) == Reached(0)
        await store.set(Order("a", b"1", ttl=1))
        assert (await take(items)).event == "set"
        await gone(store, "a")
        await store.sweep()
        assert await take(items) == Change(2, "a", "expire")


@pytest.mark.parametrize("seed", range(5))
async def test_what_is_told_is_what_there_was(store, watching, monkeypatch, seed):
    """Others write while the beginning is read page by page: whoever listens has every state from `reached` on."""
    monkeypatch.setattr(watches, "MANY", 3)
    monkeypatch.setattr(tail, "RECENT", 4)
    chance = random.Random(seed)
    written: dict[int, tuple[str, bytes | None]] = {}

    async def write():
        key, value = f"{chance.randrange(20):02}", chance.randbytes(3)
        if chance.random() < 0.3 and await store.get(key) is not None:
            written[await store.delete(key, None)] = (key, None)
        else:
            written[await put(store, key, value)] = (key, value)

    for _ in range(30):
        await write()
    heard: dict[str, bytes | None] = {}
    newest: dict[str, int] = {}
    last = goal = 0
    async with aclosing(watching.watch(ALL, None)) as items:
        while last < 120:
            item = await take(items)
            if isinstance(item, Reached):
                goal = last = item.revision
                state: dict[str, bytes | None] = {}
                for revision in sorted(written):
                    if revision <= goal:
                        state[written[revision][0]] = written[revision][1]
                assert {k: v for k, v in heard.items() if v} == {k: v for k, v in state.items() if v}
            else:
                assert item.revision > newest.get(item.key, 0)  # no key goes back
                assert not goal or item.revision == last + 1  # nothing is left out
                newest[item.key] = item.revision
                heard[item.key] = item.value
                last = item.revision if goal else 0
            while len(written) < 120 and chance.random() < 0.6:
                await write()


async def test_who_is_slow_misses_nothing(store, watching, monkeypatch):
    """What is no longer held for all comes from the store."""
    monkeypatch.setattr(tail, "RECENT", 5)
    async with aclosing(watching.watch(ALL, None)) as slow, aclosing(watching.watch(ALL, None)) as quick:
        assert await take(slow) == await take(quick) == Reached(0)
        for number in range(1, 51):
            await put(store, "a", b"%d" % number)
            assert (await take(quick)).revision == number
        assert [item.value for item in await take(slow, 50)] == [b"%d" % number for number in range(1, 51)]


@pytest.mark.parametrize("history", [10])
async def test_who_is_too_slow_is_told(store, watching, monkeypatch):
    """Never is a change left out without a word."""
    monkeypatch.setattr(tail, "RECENT", 5)
    async with aclosing(watching.watch(ALL, None)) as slow, aclosing(watching.watch(ALL, None)) as quick:
        assert await take(slow) == await take(quick) == Reached(0)
        await put(store, "a")
        assert (await take(slow)).revision == (await take(quick)).revision == 1
        for number in range(2, 20):
            await put(store, "a")
            assert (await take(quick)).revision == number
        with pytest.raises(
            Behind,
            match=r"^Changes after the revision 1 are forgotten, and were not told yet; watch without `after`\.$",
        ):
            await take(slow)


@pytest.mark.parametrize("history", [40])
async def test_who_hears_nothing_learns_how_far_it_is(store, watching):
    """So that a watch of what seldom changes can be gone on with."""
    async with aclosing(watching.watch(Wanted("seldom"), None)) as items:
        assert await take(items) == Reached(0)
        waiting = asyncio.create_task(take(items))
        for _ in range(25):
            await put(store, "often")
        assert 10 <= (await waiting).revision <= 25


async def test_so_many_and_no_more(store, watching):
    """Whoever leaves makes room; where nobody watches, nobody looks."""
    async with aclosing(watching.watch(ALL, None)) as one:
        await take(one)
        async with aclosing(watching.watch(ALL, None)) as two, aclosing(watching.watch(ALL, None)) as three:
            await take(two)
            with pytest.raises(
                TooMuch, match=r"^There are 2 watches, and there may be no more \(plugins\.kv\.max_watches\)\.$"
            ):
                await take(three)
        async with aclosing(watching.watch(ALL, None)) as two:
            await take(two)
    assert "kv-tail" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_store_that_fails_ends_watches_with_where_to_go_on(store, watching, monkeypatch):
    """Everybody is told, also who was slow; whoever comes again misses nothing."""
    changes = store.changes

    async def fail(after):
        raise Away("It is away.")

    async with aclosing(watching.watch(ALL, None)) as one, aclosing(watching.watch(ALL, 0)) as two:
        assert await take(one) == await take(two) == Reached(0)
        await put(store, "a")
        assert (await take(one)).revision == 1
        monkeypatch.setattr(store, "changes", fail)
        with pytest.raises(Away, match=r"^It is away\. The watch can go on with `after` 1\.$"):
            await take(one)
        monkeypatch.setattr(store, "changes", changes)
        await put(store, "a")
        async with aclosing(watching.watch(ALL, 1)) as three:
            assert await take(three, 2) == [Change(2, "a", "set", b"1"), Reached(2)]
            with pytest.raises(Away, match=r"^It is away\. The watch can go on with `after` 0\.$"):
                await take(two)
            await put(store, "a")
            assert (await take(three)).revision == 3


async def test_a_store_that_has_gone_back_ends_watches(store, watching, monkeypatch):
    """As one that was restored from a copy: nobody hears of other changes under revisions that they know."""
    async with aclosing(watching.watch(ALL, None)) as items:
        assert await take(items) == Reached(0)
        await put(store, "a")
        assert (await take(items)).revision == 1
        monkeypatch.setattr(tables, "changes", lambda database, after: _raise(OutOfReach("it went back")))
        with pytest.raises(Behind):
            await take(items)


def _raise(error):
    raise error


async def test_the_beginning_may_take_longer_than_the_history(tmp_path, monkeypatch):
    """Whoever reads it so slowly is told to begin anew."""
    monkeypatch.setattr(watches, "MANY", 2)
    monkeypatch.setattr(tail, "RECENT", 2)
    store = SqliteStore(tmp_path / "file", Bounds(100, 10**6, 3))
    await store.open()
    watching = Watches(store, 1, 3)
    try:
        for key in "abcd":
            await put(store, key)
        async with aclosing(watching.watch(ALL, None)) as items:
            assert await take(items, 2) == [Change(1, "a", "set", b"1"), Change(2, "b", "set", b"1")]
            for _ in range(8):
                await put(store, "a")
            assert await take(items, 2) == [Change(3, "c", "set", b"1"), Change(4, "d", "set", b"1")]
            with pytest.raises(Behind, match=r"^Changes after the revision 4 are forgotten, and were not told yet; "):
                await take(items)
    finally:
        await watching.close()
        await store.close()


async def test_one_reads_for_all(store, watching, monkeypatch):
    """However many watch, each change is read from the store once."""
    read: list[int] = []
    changes = store.changes

    async def noted(after):
        found = await changes(after)
        read.extend(change.revision for change in found)
        return found

    monkeypatch.setattr(store, "changes", noted)
    async with aclosing(watching.watch(ALL, None)) as one, aclosing(watching.watch(ALL, None)) as two:
        assert await take(one) == await take(two) == Reached(0)
        for _ in range(3):
            await put(store, "a")
        await until(lambda: len(read) >= 3)
        assert await take(one, 3) == await take(two, 3)
    assert read == [1, 2, 3]


async def test_what_is_read_for_all_is_part_of_no_call(store, monkeypatch):
    """The log would name the call of whoever watched first, and so would its traces, as long as anybody watches."""
    call = ContextVar("call", default="none")
    seen = []
    revision = store.revision

    async def asked():
        seen.append(call.get())
        return await revision()

    monkeypatch.setattr(store, "revision", asked)
    call.set("the first watch")
    follows = tail.Tail(store)
    await until(lambda: seen)
    await follows.close()
    assert seen == ["none"]
