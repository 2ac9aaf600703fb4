"""Bulkheads: places, queues, and whoever gives up waiting."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import CallError
from jackfield._bulkhead import Bulkhead, Bulkheads
from jackfield._settings import BulkheadSettings


def make(calls: int, queue: int) -> Bulkhead:
    return Bulkhead("api.slow", "bulkhead.rules", calls, queue)


async def take(bulkhead: Bulkhead) -> None:
    if not bulkhead.enter():
        await bulkhead.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_finds_neither_a_place_nor_a_queue_is_turned_away() -> None:
    """The error says how many there are, which setting says so, and when to come back."""
    bulkhead = make(1, 0)
    await take(bulkhead)
    with pytest.raises(CallError) as raised:
        bulkhead.enter()
    assert raised.value.as_dict() == {
        "code": "resource_exhausted",
        "message": "1 calls of api.slow run, and 0 wait (bulkhead.rules).",
        "retry_after": 1000,
    }


async def test_places_are_handed_over_in_order() -> None:
    """Who leaves hands the place to who has waited longest, and nobody slips in between."""
    bulkhead = make(1, 2)
    await take(bulkhead)
    order: list[int] = []

    async def work(number: int) -> None:
        await take(bulkhead)
        order.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(2)]
    await settle()
    assert (bulkhead.running, bulkhead.queued, order) == (1, 2, [])
    bulkhead.leave()
    assert not bulkhead.enter()  # the place is taken already, though the one who has it has not run yet
    await settle()
    assert order == [0]
    bulkhead.leave()
    await asyncio.gather(*tasks)
    assert order == [0, 1]


def test_rules_are_looked_up_by_pattern() -> None:
    """The first rule that matches decides; streams are not counted unless a rule says so; all share their plugin's."""
    rules = [{"functions": ["api.a.*"], "calls": 1, "queue": 0}, {"functions": "*", "calls": 9}]
    some = Bulkheads(BulkheadSettings.model_validate({"rules": rules[:1]}))
    common = some.of_plugin("p")
    assert some.of_function("p", "api.b.f", streams=False) == (common,)
    assert some.of_function("p", "api.b.f", streams=True) == ()
    assert len(some.of_function("p", "api.a.f", streams=True)) == 1
    every = Bulkheads(BulkheadSettings.model_validate({"rules": rules}))
    first, shared = every.of_function("p", "api.a.f", streams=False)
    assert shared is every.of_plugin("p")
    assert first.enter()
    with pytest.raises(CallError):
        first.enter()
    second, shared = every.of_function("p", "api.b.f", streams=False)
    assert shared is every.of_plugin("p")
    assert second.enter()


@given(st.integers(1, 3), st.integers(1, 3), st.lists(st.sampled_from(["come", "leave", "cancel"]), max_size=40))
async def test_places_are_neither_lost_nor_made(calls: int, outer_calls: int, steps: list[str]) -> None:
    """However callers come, leave and give up: in the end every place is free, and never were too many taken."""
    outer = make(outer_calls, 100)
    bulkhead = make(calls, 100)
    inside: list[asyncio.Event] = []
    tasks: list[asyncio.Task[None]] = []

    async def call() -> None:
        await take(bulkhead)
        try:
            await take(outer)
        except BaseException:
            bulkhead.leave()
            raise
        done = asyncio.Event()
        inside.append(done)
        try:
            assert bulkhead.running <= calls
            assert outer.running <= outer_calls
            await done.wait()
        finally:
            outer.leave()
            bulkhead.leave()
            inside.remove(done)

    for number, step in enumerate(steps):
        if step == "come":
            tasks.append(asyncio.create_task(call()))
        elif step == "leave" and inside:
            inside[number % len(inside)].set()
        elif step == "cancel" and tasks:
            tasks[number % len(tasks)].cancel()
        if number % 3:
            await asyncio.sleep(0)
    while not all(task.done() for task in tasks):
        for done in inside:
            done.set()
        await asyncio.sleep(0)
    assert (bulkhead.running, bulkhead.queued, outer.running, outer.queued) == (0, 0, 0, 0)
