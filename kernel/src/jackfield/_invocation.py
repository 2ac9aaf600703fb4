"""One call in flight: it is answered exactly once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from jackfield._call import Call
from jackfield._envelope import Envelope
from jackfield._errors import CallError, Code
from jackfield._hooks import Observer
from jackfield._json import MAX_BUFFERS, Json
from jackfield._pipeline import Pipeline
from jackfield._throttle import Throttle

Outcome: TypeAlias = Json | CallError
Answer: TypeAlias = Callable[[Outcome], None]

log: Final = logging.getLogger("jackfield.calls")


class Reporter:
    """Writes what went wrong inside the server, under an id that the caller is given too."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def internal(self, error: BaseException, what: str) -> CallError:
        """Log an exception and return what its caller may know of it.

        The log gets a line for every error, and the traceback once a second for each place that raises.
        """
        error_id = secrets.token_hex(8)
        frames = traceback.extract_tb(error.__traceback__)
        place = (frames[-1].filename, frames[-1].lineno) if frames else ("?", 0)
        full = self._throttle.ready((type(error), place))
        text = " ".join(str(error).split())[:200]
        log.error(
            "%s failed, error_id %s: %s: %s (%s:%s)",
            what,
            error_id,
            type(error).__name__,
            text,
            *place,
            exc_info=error if full else None,
        )
        return CallError(Code.INTERNAL, f"Something went wrong in the server (error {error_id}).", error_id=error_id)

    def complain(self, error: BaseException, what: str) -> None:
        """Log an exception that changes nothing for anybody, once a second for each `what`."""
        if self._throttle.ready(what):
            log.error("%s raised %s", what, type(error).__name__, exc_info=error)


class Invocation:
    """One call of one function, from its start to its answer and to its end, which may come later.

    Args:
        pipeline: The function.
        call: What the function is given.
        envelope: What the client sent.
        buffers: Whether the client's message held Buffers.
        answer: Called once with the result or the error, unless the client goes away first.
        observers: Who is told of the start and the end, with the plugin's name.
        reporter: Where unexpected exceptions go.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        call: Call,
        envelope: Envelope,
        *,
        buffers: bool,
        answer: Answer,
        observers: Sequence[tuple[str, Observer]],
        reporter: Reporter,
    ) -> None:
        self.pipeline = pipeline
        self.call = call
        self._envelope = envelope
        self._buffers = buffers
        self._answer: Answer | None = answer
        self._told: CallError | None = None
        self._observers = observers
        self._reporter = reporter
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, ended: Callable[[], None]) -> None:
        """Start it; `ended` is called when the function is over, answered or not."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name=f"call:{self.call.event}")
        self._task.add_done_callback(lambda _: ended())
        remaining = self.call.remaining()
        if remaining is not None:
            self._timer = loop.call_later(remaining, self._expire)

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
        self.cancel(CallError(Code.DEADLINE_EXCEEDED, f"{self.call.event} did not end in time."))

    def _stop(self) -> None:
        self.call.cancelled = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        self._observe("started", lambda observer: observer.started(self.call))
        try:
            self._settle(await self._outcome())
        except GeneratorExit as error:  # the function's own, unless the event loop has gone and the call with it
            if not self.call.cancelled:
                self._settle(self._reporter.internal(error, self.call.event))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._observe("ended", lambda observer: observer.ended(self.call, self._told))
            self._told = None  # its traceback holds this call's frames, and they its data: let all of it go now

    async def _outcome(self) -> Outcome:
        try:
            result = await self.pipeline.run(self.call, self._envelope, buffers=self._buffers)
        except CallError as error:
            return error
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; sys.exit() must not end the server
            if self.call.cancelled and isinstance(error, asyncio.CancelledError):
                return CallError(Code.CANCELED, "The call was cancelled.")
            return self._reporter.internal(error, self.call.event)
        if len(result.buffers) > MAX_BUFFERS:
            return CallError(
                Code.RESOURCE_EXHAUSTED,
                f"The result holds {len(result.buffers)} Buffers; clients take {MAX_BUFFERS} in one reply.",
            )
        return result

    def _settle(self, outcome: Outcome) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self._told = outcome if isinstance(outcome, CallError) else None
            answer(outcome)

    def _observe(self, what: str, tell: Callable[[Observer], None]) -> None:
        for plugin, observer in self._observers:
            try:
                tell(observer)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the call goes on
                self._reporter.complain(error, f"{what} of the observer of plugin {plugin}")
