"""Blocking work in threads, none of which outlives the call that it is done for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def start(function: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> asyncio.Future[T]:
    """Run a function in a thread; whoever starts it waits for its end, with `ended` or `over`."""
    return asyncio.get_running_loop().run_in_executor(None, function, *arguments)


async def ended(work: asyncio.Future[T], stop: Callable[[], None] | None = None) -> T:
    """Return what a thread returns, or raise what it raises.

    When the call is cancelled this waits for the thread all the same: what it works with cannot be closed before.

    Args:
        work: The thread's work.
        stop: Called at a cancellation, so that the thread ends early.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await over(work)
        raise


async def over(work: asyncio.Future[T]) -> None:
    """Wait until a thread has ended, however it ends; a cancellation comes after that."""
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            await asyncio.wait([work])  # which also lets run what is to be called at its end
        except asyncio.CancelledError as error:
            cancelled = error
        if work.done():
            break
    work.exception()  # nobody asks for it any more
    if cancelled is not None:
        raise cancelled


async def in_thread(function: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
    """Run a function in a thread to its end, and return what it returns."""
    return await ended(start(function, *arguments))
