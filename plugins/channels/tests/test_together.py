"""Publications that are stored together, where that fails."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence

import pytest

from jackfield import CallError, Code, Json
from jackfield_channels.store import Keep
from jackfield_channels.together import Order, Outcome, Together


async def test_what_was_refused_is_freed_at_once() -> None:
    """Not when Python looks for what holds itself: until then a Redis that is away would cost more and more memory."""
    refusals: list[weakref.ref[CallError]] = []

    def refusal() -> CallError:
        error = CallError(Code.UNAVAILABLE, "no")
        refusals.append(weakref.ref(error))
        return error

    async def write(_: Sequence[Order]) -> Sequence[Outcome]:
        raise refusal()

    async def publish(together: Together) -> None:
        with pytest.raises(CallError, match=r"^unavailable: no$"):
            await together.append(Order("a", Json(b"1"), Keep(1, 1), None))

    gc.disable()
    try:
        together = Together(write)
        await asyncio.gather(*(publish(together) for _ in range(3)))
        await publish(together)
        await asyncio.sleep(0)
        assert [refused() for refused in refusals] == [None, None]
    finally:
        gc.enable()
