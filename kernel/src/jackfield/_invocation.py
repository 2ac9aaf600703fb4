"""One call as it runs: it is answered exactly once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterable
from time import monotonic
from typing import Final, TypeAlias

from jackfield._bulkhead import Bulkhead
from jackfield._call import CURRENT, Call, delay
from jackfield._envelope import CallId
from jackfield._errors import CallError, Code
from jackfield._facade import does_nothing
from jackfield._guard import TimeIsUp
from jackfield._hooks import Observer
from jackfield._json import MAX_BUFFERS, Json
from jackfield._pipeline import Pipeline, Work
from jackfield._stacks import where
from jackfield._throttle import Throttle

Places: TypeAlias = "dict[CallId | Call, Invocation]"
"""What is in flight for one client, under the id that it gave the call, or, where it gave none, under the call."""

Outcome: TypeAlias = Json | CallError
Answer: TypeAlias = Callable[[Outcome], None]
Launch: TypeAlias = "Callable[[Invocation, Places], None]"
"""Starts a call that may suspend; it is among what is in flight until its function is over."""


WATCH: Final = 1.0
"""Seconds between two looks at what runs: most calls are over long before their time is up, and need no timer."""

log: Final = logging.getLogger("jackfield.calls")


class Reporter:
    """Writes what went wrong inside the server, under an id that the caller is given too."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def internal(self, error: BaseException, what: str, call: Call | None = None) -> CallError:
        """Log an exception and return what its caller may know of it.

        The log gets a line for every error, and the traceback once a second for each place that raises.
        """
        error_id = secrets.token_hex(8)
        place = _last_place(error)
        full = self._throttle.ready((type(error), place))
        text = " ".join(str(error).split())[:200]
        log.error(
            "%s failed, error_id %s: %s: %s (%s)",
            what,
            error_id,
            type(error).__name__,
            text,
            place,
            exc_info=error if full else None,
            extra={"error_id": error_id, "call": call},
        )
        return CallError(Code.INTERNAL, f"Something went wrong in the server (error {error_id}).", error_id=error_id)

    def overdue(self, event: str, place: str) -> None:
        """Log that a call did not end in time, once a second for each function."""
        if self._throttle.ready(("overdue", event)):
            log.warning("%s did not end in time; it was at %s", event, place)

    def complain(self, error: BaseException, what: str) -> None:
        """Log an exception that changes nothing for anybody, once a second for each `what`."""
        if self._throttle.ready(what):
            log.error("%s raised %s", what, type(error).__name__, exc_info=error)


class Audience:
    """Who hears of calls: the plugins' observers, and the log where a function fails.

    Args:
        observers: The observers, with their plugins' names.
        reporter: The log.
        blame: Told of each call that failed by its function's fault, how, and by which exception.

    Attributes:
        starting: What is told of the start of a call, with its plugin; the same list all the time.
        ending: What is told of its end, likewise.
    """

    def __init__(
        self,
        observers: Iterable[tuple[str, Observer]],
        reporter: Reporter,
        blame: Callable[[Call, str, BaseException | None], None],
    ) -> None:
        self.starting: list[tuple[str, Callable[[Call], None]]] = []
        self.ending: list[tuple[str, Callable[[Call, CallError | None], None]]] = []
        self.tell(observers)
        self._reporter = reporter
        self._blame = blame

    def tell(self, observers: Iterable[tuple[str, Observer]]) -> None:
        """Tell these from now on, and nobody else."""
        found = list(observers)
        self.starting[:] = [(plugin, each.started) for plugin, each in found if not does_nothing(each.started)]
        self.ending[:] = [(plugin, each.ended) for plugin, each in found if not does_nothing(each.ended)]

    def started(self, call: Call) -> None:
        """Tell the observers that a call is about to run."""
        for plugin, started in self.starting:
            try:
                started(call)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the call goes on
                self._reporter.complain(error, f"started of the observer of plugin {plugin}")

    def ended(self, call: Call, told: CallError | None) -> None:
        """Tell the observers that a call is over, and which error its caller got."""
        for plugin, ended in self.ending:
            try:
                ended(call, told)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the call goes on
                self.not_heard(plugin, error)

    def not_heard(self, plugin: str, error: BaseException) -> None:
        """Log what an observer raised when it was told of the end of a call."""
        self._reporter.complain(error, f"ended of the observer of plugin {plugin}")

    def failed(self, call: Call, error: BaseException) -> CallError:
        """Return what the caller is told of an exception, and log it if it is the function's fault."""
        if isinstance(error, CallError):
            return error
        if call.cancelled and isinstance(error, asyncio.CancelledError):
            return CallError(Code.CANCELED, "The call was cancelled.")
        told = self._reporter.internal(error, call.event, call)
        self._blame(call, f"{type(error).__name__} in {call.event} ({_last_place(error)})", error)
        return told

    def expired(self, call: Call, place: str) -> None:
        """Take note of a call that had all the time that its function gets, and did not end."""
        self._reporter.overdue(call.event, place)
        self._blame(call, f"{call.event} did not end in time; it was at {place}", None)


def _last_place(error: BaseException) -> str:
    """Return the file and the line that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, TimeIsUp):
        del frames[-1:]  # that is who raised it in the middle of the function
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?:0"


async def run_inline(call: Call, work: Work, answer: Answer, audience: Audience) -> None:
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
    if audience.ending:
        audience.ended(call, outcome if isinstance(outcome, CallError) else None)
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
            if audience.ending:
                audience.ended(self.call, self._told)
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


def sendable(result: Json) -> Outcome:
    """Return the result, or, where clients would refuse it, the error that says so."""
    if len(result.buffers) > MAX_BUFFERS:
        return CallError(
            Code.RESOURCE_EXHAUSTED,
            f"The result holds {len(result.buffers)} Buffers; clients take {MAX_BUFFERS} in one reply.",
        )
    return result
