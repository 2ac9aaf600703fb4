"""What a store does, whatever it keeps channels in: in memory, in a file of SQLite, in Redis."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from jackfield import CallError, Json, Position
from jackfield_channels import memory_store
from jackfield_channels.sqlite_store import SqliteStore
from jackfield_channels.store import MANY, MAX_BUFFERS, PORTION, Bounds, Keep, State, Store
from plugins.channels.tests.conftest import Bench

TEN = Keep(10, 60)


async def put(store: Store, channel: str = "a", value: int = 0, keep: Keep = TEN, name: str | None = None) -> Position:
    return await store.append(channel, Json(b"%d" % value), keep, name)


async def kept(store: Store, channel: str = "a", after: int = 0) -> tuple[int, list[tuple[int, Any]]]:
    page = await store.read(channel, after, MANY)
    return page.state.floor, [(one.position.offset, one.data.value()) for one in page.publications]


async def test_offsets_grow_by_one(bench: Bench) -> None:
    """In each channel by itself; all are told, in order."""
    store = await bench.store()
    at = [await put(store, channel, value) for value, channel in enumerate(["a", "a", "b", "a"])]
    assert [one.offset for one in at] == [1, 2, 1, 3]
    assert at[0].epoch == at[1].epoch == at[3].epoch != at[2].epoch
    assert await kept(store) == (0, [(1, 0), (2, 1), (3, 3)])
    assert await kept(store, after=2) == (0, [(3, 3)])
    assert await kept(store, after=3) == (0, [])
    await bench.heard(store)
    assert [(one.channel, one.position, one.data.value()) for one in bench.told] == [
        (channel, position, value) for value, (channel, position) in enumerate(zip("aaba", at, strict=True))
    ]


async def test_a_channel_is_known_before_anything_is_published(bench: Bench) -> None:
    """Its epoch is the one that publications get."""
    store = await bench.store()
    state = await store.state("a")
    assert (state.top, state.floor) == (0, 0)
    assert await store.state("a") == state
    assert await put(store) == Position(1, state.epoch)


async def test_history_has_a_size(bench: Bench) -> None:
    """The newest stay; what is gone is told by the floor."""
    store = await bench.store()
    for value in range(1, 15):
        await put(store, value=value)
    assert await kept(store) == (4, [(value, value) for value in range(5, 15)])
    assert await kept(store, after=12) == (4, [(13, 13), (14, 14)])


async def test_history_has_a_time(bench: Bench) -> None:
    """What is too old is not read, whether it was swept already or not; offsets go on."""
    store = await bench.store()
    await put(store, value=1)
    bench.now += 30
    last = await put(store, value=2)
    bench.now += 31
    assert await kept(store) == (1, [(2, 2)])
    await store.sweep()
    assert await kept(store) == (1, [(2, 2)])
    bench.now += 30
    assert await store.state("a") == State(last.epoch, 2, 2)
    await store.sweep()
    assert await store.state("a") == State(last.epoch, 2, 2)
    assert await put(store, value=3) == Position(3, last.epoch)
    assert await kept(store) == (2, [(3, 3)])


@pytest.mark.parametrize(
    ("since", "reached"), [((0, ""), False), ((3, ""), False), ((4, ""), True), ((14, ""), True), ((15, ""), False)]
)
async def test_what_can_be_recovered_is_said(bench: Bench, since: tuple[int, str], reached: bool) -> None:
    """All of it or nothing: from the floor to the top, of the same epoch."""
    store = await bench.store()
    for value in range(14):
        last = await put(store, value=value)
    state = await store.state("a")
    assert state.reaches(Position(since[0], last.epoch)) is reached
    assert not state.reaches(Position(since[0], "other"))


async def test_history_is_read_backwards_too(bench: Bench) -> None:
    """The newest first, before an offset."""
    store = await bench.store()
    for value in range(1, 15):
        await put(store, value=value)

    async def back(before: int, limit: int = MANY) -> list[int]:
        return [one.position.offset for one in (await store.read_back("a", before, limit)).publications]

    assert await back(2**53) == list(range(14, 4, -1))
    assert await back(8) == [7, 6, 5]
    assert await back(8, 2) == [7, 6]
    assert await back(5) == await back(1) == await back(0) == []


async def test_an_answer_is_never_too_much_for_one_message(bench: Bench) -> None:
    """In count, in bytes, and in Buffers; one publication comes in any case."""
    store = await bench.store()
    keep = Keep(1000, 60)
    for value in range(MANY + 1):
        await put(store, "many", value, keep)
    for _ in range(4):
        await store.append("large", Json(b'"%b"' % (b"x" * (PORTION // 3))), keep, None)
    buffers = Json(b'[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', (b"\x00\xff", b""))
    for _ in range(MAX_BUFFERS):
        await store.append("buffers", buffers, keep, None)
    huge = Json(b'"%b"' % (b"x" * PORTION))
    await store.append("huge", huge, keep, None)

    async def pages(channel: str) -> list[int]:
        found, at = [], 0
        while page := (await store.read(channel, at, 10**6)).publications:
            found.append(len(page))
            at = page[-1].position.offset
            assert all(one.data in (buffers, huge) or channel in ("many", "large") for one in page)
        return found

    assert await pages("many") == [MANY, 1]
    assert await pages("large") == [2, 2]
    assert await pages("buffers") == [5, 5]
    assert await pages("huge") == [1]


async def test_a_second_publication_with_the_same_id_is_none(bench: Bench) -> None:
    """Within its time, in the same channel; whoever tries again is told where the first one stands."""
    store = await bench.store(dedup=10)
    first = await put(store, value=1, name="x")
    assert await put(store, value=2, name="x") == first
    assert (await put(store, value=3, name="y")).offset == 2
    assert (await put(store, "b", value=4, name="x")).offset == 1
    await bench.heard(store)
    assert len(bench.told) == 3
    bench.now += 11
    assert (await put(store, value=5, name="x")).offset == 3
    bench.now += 11
    await store.sweep()
    assert (await put(store, value=6, name="x")).offset == 4


@pytest.mark.parametrize("bench", ["memory"], indirect=True)
async def test_memory_knows_so_many_ids(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest, of all channels together; one that is used again after its time is new."""
    monkeypatch.setattr(memory_store, "_MAX_IDS", 2)
    store = await bench.store(dedup=10)
    await put(store, name="x")
    bench.now += 11
    await put(store, "b", name="y")
    again = await put(store, name="x")
    await put(store, "c", name="z")
    assert await put(store, name="x") == again
    assert (await put(store, "b", name="y")).offset == 2


async def test_those_who_try_at_the_same_time_publish_once(bench: Bench) -> None:
    """As of two requests of one publisher, of which the first was slow."""
    store = await bench.store()
    at = await asyncio.gather(*(put(store, value=value, name="x") for value in range(5)))
    assert len(set(at)) == 1
    await bench.heard(store)
    assert len(bench.told) == 1


@pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)
async def test_a_channel_that_rests_is_forgotten(bench: Bench) -> None:
    """Not before its history, nor while it has subscribers; it begins again in another epoch, and never goes on."""
    store = await bench.store(remember=1000)
    epochs = {name: (await put(store, name, keep=Keep(1, 2000))).epoch for name in ("kept", "used", "old", "back")}
    bench.used.add("used")
    bench.now += 1500
    await store.sweep()
    assert (await store.state("old")).epoch == epochs["old"]  # whose history is there
    bench.now += 501
    await store.sweep()
    assert (await store.state("back")).epoch == epochs["back"]
    bench.now += 999
    await store.sweep()
    assert (await store.state("back")).top == 1  # which was looked for meanwhile
    bench.now += 1001
    await store.sweep()
    found = {name: await store.state(name) for name in epochs}
    assert {name for name, state in found.items() if state.epoch == epochs[name]} == {"used"}
    assert {name: state.top for name, state in found.items()} == {"kept": 0, "used": 1, "old": 0, "back": 0}


@pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)
async def test_there_are_no_more_channels_than_may_be(bench: Bench) -> None:
    """One that rests makes room for another; those with history or subscribers do not."""
    store = await bench.store(channels=3)
    await put(store, "history")
    await store.state("used")
    bench.used.add("used")
    first = await store.state("resting")
    await store.state("other")
    assert (await store.state("history")).top == 1
    refused = (
        r"^resource_exhausted: There are 3 channels, and there may be no more \(plugins\.channels\.max_channels\)\.$"
    )
    bench.used.add("other")
    for attempt in (store.state("resting"), put(store, "resting")):
        with pytest.raises(CallError, match=refused):
            await attempt
    bench.used.clear()
    assert (await store.state("resting")).epoch != first.epoch


@pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)
async def test_all_history_has_a_quota(bench: Bench) -> None:
    """The channel that rested longest loses its history; offsets go on, and what is gone is told by the floor."""
    store = await bench.store(quota=1000)
    for channel in "abc":
        for _ in range(3):
            bench.now += 1
            await put(store, channel)
    assert [await kept(store, channel) for channel in "abc"] == [
        (0, [(1, 0), (2, 0), (3, 0)]),
        (0, [(1, 0), (2, 0), (3, 0)]),
        (0, [(1, 0), (2, 0), (3, 0)]),
    ]
    bench.now += 1
    await put(store, "b")
    assert await kept(store, "a") == (3, [])
    assert [(await kept(store, channel))[0] for channel in "bc"] == [0, 0]
    await store.append("d", Json(b'"%b"' % (b"x" * 800)), TEN, None)
    assert [(await kept(store, channel))[0] for channel in "bcd"] == [4, 3, 0]
    await store.append("d", Json(b'"%b"' % (b"x" * 800)), TEN, None)
    assert (await kept(store, "d"))[0] == 1
    await store.append("d", Json(b'"%b"' % (b"x" * 2000)), TEN, None)
    assert await kept(store, "d") == (3, [])


async def test_whoever_leaves_has_published_nevertheless(bench: Bench) -> None:
    """A publisher that is cancelled leaves no hole: what got an offset is told, too."""
    store = await bench.store()
    await put(store)
    leaving = [asyncio.create_task(put(store, value=value)) for value in range(5)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    last = await put(store, value=7)
    await bench.heard(store)
    assert [one.position.offset for one in bench.told] == list(range(1, last.offset + 1))


# ------------------------------------------------------------------- the file


async def open_file(path: Any, told: Any = None, **bounds: Any) -> SqliteStore:
    limits = Bounds(**{"channels": 100, "quota": 10**9, "remember": 1000, "dedup": 100, **bounds})
    store = SqliteStore(path, limits, lambda _: False)
    await store.open(told or (lambda _: None))
    return store


async def test_a_file_is_opened_again(filed):
    """With its offsets, its epochs, its history and its ids."""
    store = await open_file(filed)
    data = Json(b'{"_placeholder":true,"num":0}', (b"\x00\xff",))
    at = await store.append("a", data, TEN, "x")
    empty = await store.state("b")
    await store.close()
    store = await open_file(filed)
    try:
        page = await store.read("a", 0, 10)
        assert [(one.position, one.data) for one in page.publications] == [(at, data)]
        assert await store.append("a", data, TEN, "x") == at
        assert await store.append("a", data, TEN, None) == Position(2, at.epoch)
        assert await store.state("b") == empty
    finally:
        await store.close()


async def test_a_lost_file_is_another_epoch(filed):
    """So nobody takes its offsets for those of the old one."""
    epochs = []
    for _ in range(2):
        store = await open_file(filed)
        epochs.append((await put(store)).epoch)
        await store.close()
        for path in filed.parent.iterdir():
            path.unlink()
    assert epochs[0] != epochs[1]


async def test_a_file_is_for_one_server(filed):
    """Publications of another one would not reach the subscribers of this one."""
    store = await open_file(filed)
    with pytest.raises(sqlite3.OperationalError, match="another server has it, and one file is for one server"):
        await open_file(filed)
    await store.close()
    store = await open_file(filed)
    await store.close()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: path.write_bytes(b"no database" * 100), sqlite3.DatabaseError, "file is not a database"),
        (
            lambda path: sqlite3.connect(path).execute("CREATE TABLE other (x)").connection.close(),
            sqlite3.DatabaseError,
            "it belongs to something else than this version of jackfield-channels: user_version is 0, not 1",
        ),
        (
            lambda path: path.parent.rmdir(),
            FileNotFoundError,
            "there is no folder .* for plugins.channels.path: make it",
        ),
        (lambda path: path.mkdir(), sqlite3.OperationalError, "unable to open database file"),
    ],
    ids=["rubbish", "other", "no folder", "folder"],
)
async def test_a_file_that_cannot_be_used_is_named(filed, make, error, message):
    """At the start, with the setting."""
    path = filed.parent / "below" / "channels.sqlite3"
    path.parent.mkdir()
    make(path)
    with pytest.raises(error, match=message):
        await open_file(path)


async def test_a_file_that_fails_is_told_of_once(filed, caplog):
    """Calls are unavailable, nothing is told to subscribers, and it is back when it can be."""
    told: list[Any] = []
    store = await open_file(filed, told.append)
    try:
        await put(store)
        other = await asyncio.to_thread(lambda: store._database)
        await store._in_thread(lambda: other.execute("PRAGMA query_only = 1"))
        for _ in range(2):
            with pytest.raises(CallError, match=r"^unavailable: The channel cannot be read or written now\.$") as error:
                await put(store)
            assert error.value.retry_after == 1000
        assert store.trouble() == "attempt to write a readonly database"
        with pytest.raises(CallError, match=r"^unavailable"):
            await store.sweep()
        await store._in_thread(lambda: other.execute("PRAGMA query_only = 0"))
        await store.sweep()
        assert store.trouble() is None
        assert (await put(store)).offset == 2
        assert [one.position.offset for one in told] == [1, 2]
    finally:
        await store.close()
    lines = [record.getMessage().partition(" ")[2] for record in caplog.records]
    assert lines == [
        "cannot be used (attempt to write a readonly database): calls are answered with unavailable",
        "can be used again",
    ]


async def test_many_publications_share_a_transaction(filed):
    """And each has its own offset, in the order in which they came."""
    store = await open_file(filed)
    try:
        statements: list[str] = []
        await store._in_thread(lambda: store._database.set_trace_callback(statements.append))
        at = await asyncio.gather(*(put(store, value=value) for value in range(50)))
        assert [one.offset for one in at] == list(range(1, 51))
        assert statements.count("COMMIT") <= 2
    finally:
        await store.close()
