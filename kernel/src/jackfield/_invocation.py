"""One call as it runs: it is answered exactly once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Final, TypeAlias

from jackfield._audience import Audience
from jackfield._bulkhead import Bulkhead
from jackfield._call import CURRENT, Call, delay
from jackfield._envelope import CallId
from jackfield._errors import CallError, Code
from jackfield._json import MAX_BUFFERS, Json
from jackfield._pipeline import Pipeline, Work
from jackfield._stacks import where

Places: TypeAlias = "dict[CallId | Call, Invocation]"
"""What is in flight for one client, under the id that it gave the call, or, where it gave none, under the call."""

Outcome: TypeAlias = Json | CallError
Answer: TypeAlias = Callable[[Outcome], None]
Launch: TypeAlias = "Callable[[Invocation, Places], None]"
"""Starts a call that may suspend; it is among what is in flight until its function is over."""


WATCH: Final = 1.0
"""Seconds between two looks at what runs: most calls are over long before their time is up, and need no timer."""


async def run_inline(pipeline: Pipeline, call: Call, work: Work, answer: Answer, audience: Audience) -> None:
    """Run a call of a function that never suspends, from its start to its end; the arguments are those of `Invocation`.

    This does not suspend either, so that `finish` can run it, without a task and without a timer.
    """
    CURRENT.set(call)
    if audience.starting:
        audience.started(call)
    try:
        result = await work()
        outcome: Outcome = sendable(result) if result.buffers else result
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; sys.exit() must not end the server
        outcome = audience.failed(call, error)
    answer(outcome)
    if audience.ending or pipeline.meters:
        audience.ended(call, outcome if isinstance(outcome, CallError) else None, pipeline.meters)
    del outcome  # its traceback holds this frame, and with it the call's data


def finish(coroutine: Coroutine[object, None, None]) -> None:
    """Run a coroutine that never suspends and returns nothing."""
    for _ in coroutine.__await__():  # a loop sees the end without the cost of an exception, which `send` would raise
        raise RuntimeError(f"{coroutine!r} has suspended, which its code does not show")


class Invocation:
    """One call of a function that may suspend, from its start to its answer and to its end, which may come later.

    Args:
        pipeline: The function.
        call: What the function is given.
        work: Runs it.
        answer: Called once with the result or the error, unless the client goes away first.
        audience: Who hears of it.

    Attributes:
        task: What runs it, once it has started.
        waiting: Whether it waits for a place in a bulkhead.
    """

    __slots__ = (
        "_answer",
        "_audience",
        "_begun",
        "_key",
        "_places",
        "_running",
        "_taken",
        "_timer",
        "_told",
        "_work",
        "call",
        "pipeline",
        "task",
        "waiting",
    )

    def __init__(self, pipeline: Pipeline, call: Call, work: Work, answer: Answer, audience: Audience) -> None:
        self.pipeline = pipeline
        self.call = call
        self.task: asyncio.Task[None] | None = None
        self._work = work
        call_id = call.id
        self._key = call if call_id is None else call_id
        self._answer: Answer | None = answer
        self._audience = audience
        self._begun = False
        self._told: CallError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._taken: tuple[Bulkhead, ...] = ()
        self.waiting = False
        self._running: set[Invocation]
        self._places: Places

    @property
    def answered(self) -> bool:
        """Whether its caller has got all that it will get, or has gone."""
        return self._answer is None

    def start(self, running: set[Invocation], places: Places) -> None:
        """Start it.

        Args:
            running: What runs in the whole server; it is among that until its function is over.
            places: What runs for its client, likewise.
        """
        self._running, self._places = running, places
        running.add(self)
        places[self._key] = self
        loop = asyncio.get_running_loop()
        if sys.version_info >= (3, 12):
            self.task = asyncio.Task(self._run(), loop=loop, name=self.pipeline.task_name, eager_start=True)
            if self.task.done():
                return
            if self.call.cancelled:  # while it ran up to its first wait, when there was no task to cancel
                self.task.cancel()
        else:
            self.task = asyncio.Task(self._run(), loop=loop, name=self.pipeline.task_name)
        self.watch()

    def watch(self) -> None:
        """Set a timer, if the call's time is up so soon that nobody will call this again before."""
        deadline = self.call.deadline
        if deadline is not None and self._timer is None and (remaining := deadline - monotonic()) < 2 * WATCH:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, remaining), self._expire)

    def cancel(self, error: CallError) -> None:
        """Answer with `error` now, and stop the function."""
        self._settle(error)
        self._stop()

    def abandon(self) -> None:
        """Stop the function; nobody is left to be answered."""
        self._answer = None
        self._stop()

    def detach(self) -> None:
        """Let the function run on; nobody is left to be answered."""
        self._answer = None

    def _expire(self) -> None:
        # A function that had less time than it gets by itself has shown nothing, nor has one that waits for a stream.
        call, seconds = self.call, self.pipeline.seconds
        whole = seconds is not None and call.deadline is not None and call.deadline >= call.started + seconds
        if whole and not (call.delayed or self.pipeline.streams) and self._answer is not None:
            self._audience.expired(call, where(self.task, self.pipeline.function.handler))
        self.cancel(CallError(Code.DEADLINE_EXCEEDED, f"{self.call.event} did not end in time."))

    def _stop(self) -> None:
        if self.call.cancelled:
            return  # once is enough: another time would interrupt the cleaning up
        self.call.cancelled = True
        if self._timer is not None:
            self._timer.cancel()
        if self.task is not None:
            self.task.cancel()
            if not self._begun:  # nor will it ever: what is cancelled before its first step has none
                self._begun = True
                self.task.add_done_callback(self._end)

    async def _run(self) -> None:
        self._begun = True
        CURRENT.set(self.call)
        audience = self._audience
        if audience.starting:
            audience.started(self.call)
        outcome: Outcome | None = None
        try:
            try:
                for bulkhead in self.pipeline.bulkheads:
                    if bulkhead in self.call.held:
                        continue
                    if not bulkhead.enter():
                        delay()
                        self.waiting = True
                        await bulkhead.wait()
                        self.waiting = False
                    self._taken += (bulkhead,)
                self.call.held += self._taken
                result = await self._work()
                outcome = sendable(result) if result.buffers else result
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; sys.exit() must not end the server
                if isinstance(error, GeneratorExit) and self.call.cancelled:
                    return  # the event loop has gone, and the call with it
                outcome = audience.failed(self.call, error)
            self._settle(outcome)
        finally:
            self._end()
            if audience.ending or self.pipeline.meters:
                audience.ended(self.call, self._told, self.pipeline.meters)
            self._told = outcome = None  # the traceback of an error holds this call's frames, and with them its data

    def _settle(self, outcome: Outcome) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            if isinstance(outcome, CallError):
                self._told = outcome
            answer(outcome)

    def _end(self, _: object = None) -> None:
        for bulkhead in self._taken:
            bulkhead.leave()
        if self._timer is not None:
            self._timer.cancel()
        self._running.discard(self)
        self._places.pop(self._key, None)


def sendable(result: Json) -> Json:
    """Return the result.

    Raises:
        CallError: Clients would refuse it.
    """
    if len(result.buffers) > MAX_BUFFERS:
        raise CallError(
            Code.RESOURCE_EXHAUSTED,
            f"The result holds {len(result.buffers)} Buffers; clients take {MAX_BUFFERS} in one reply.",
        )
    return result
