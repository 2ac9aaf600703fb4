"""Calls from inside the server: of one function by another, and of a plugin by itself."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Protocol

from jackfield import _json
from jackfield._call import Call
from jackfield._channel import Outlet, Wait, of_item
from jackfield._contract import Kind
from jackfield._envelope import NO_OPTIONS, Envelope, Options
from jackfield._errors import CallError, Code, EncodeError
from jackfield._frames import Item
from jackfield._host import FunctionInfo, Items, Kernel, Told
from jackfield._identity import Principal
from jackfield._invocation import Answer, Outcome, Places
from jackfield._json import Json, Value
from jackfield._pipeline import Ends, Pipeline
from jackfield._progress import Progress
from jackfield._settings import Limits


class Exchange(Protocol):
    """What finds functions and runs calls; the dispatcher implements it."""

    @property
    def kernel(self) -> Kernel:
        """The kernel that serves the calls."""

    @property
    def limits(self) -> Limits:
        """The limits of the protocol."""

    @property
    def authenticates(self) -> bool:
        """Whether clients have to say who they are."""

    def accept(self) -> None:
        """Raise `CallError` if the server takes nothing new."""

    def find(self, event: str, principal: Principal | None) -> Pipeline:
        """Return the function, or raise the `CallError` that its caller is to be told."""

    def run(
        self,
        pipeline: Pipeline,
        call: Call,
        envelope: Envelope,
        buffers: bool,
        answer: Answer,
        places: Places,
        ends: Ends | None = None,
    ) -> None:
        """Run a call, with a stream if it has `ends`."""


class Inside:
    """What calls and the kernel reach functions through.

    Args:
        exchange: The dispatcher; it is an attribute, too.

    Attributes:
        kernel: The kernel that serves the calls.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.kernel = exchange.kernel

    async def invoke(
        self, outer: Call | None, event: str, data: object, items: Items | None, timeout: float | None
    ) -> Value:
        """Call a function that gives one result, as part of `outer` if there is one.

        Raises:
            CallError: As a client would be told.
        """
        pipeline = self._find(outer, event, items)
        if pipeline.info.kind in (Kind.SERVER, Kind.BOTH):
            raise CallError(Code.INVALID_ARGUMENT, f"{event} gives a stream: call it with stream, not with invoke.")
        ends = None if items is None else _Ends(pipeline, items, _Handover())
        envelope, buffers = _enveloped(outer, event, data)
        return await self.result(pipeline, self._call(outer, pipeline, envelope, timeout), envelope, buffers, ends)

    async def result(
        self, pipeline: Pipeline, call: Call, envelope: Envelope, buffers: bool, ends: Ends | None = None
    ) -> Value:
        """Run a call of a function that gives one result, and return that, or raise what a client would be told."""
        result: asyncio.Future[Json] = asyncio.get_running_loop().create_future()

        def answer(outcome: Outcome) -> None:
            if not result.done():
                if isinstance(outcome, CallError):
                    result.set_exception(outcome)
                else:
                    result.set_result(outcome)

        places: Places = {}
        self.exchange.run(pipeline, call, envelope, buffers, answer, places, ends)
        try:
            return (await result).value()
        finally:
            await _stopped(places)

    async def stream(
        self, outer: Call | None, event: str, data: object, items: Items | None, timeout: float | None
    ) -> AsyncGenerator[Value, None]:
        """Call a function that gives a stream, as part of `outer` if there is one, and yield its items.

        Raises:
            CallError: As a client would be told.
        """
        pipeline = self._find(outer, event, items)
        if pipeline.info.kind in (Kind.UNARY, Kind.CLIENT):
            raise CallError(Code.INVALID_ARGUMENT, f"{event} gives one result: call it with invoke, not with stream.")
        handover = _Handover()
        ends = _Ends(pipeline, items, handover)
        places: Places = {}
        envelope, buffers = _enveloped(outer, event, data)
        call = self._call(outer, pipeline, envelope, timeout)
        self.exchange.run(pipeline, call, envelope, buffers, handover.end, places, ends)
        try:
            while (item := await handover.next()) is not None:
                ends.outlet.grant(1)
                yield item.value()
        finally:
            await _stopped(places)

    def _find(self, outer: Call | None, event: str, items: object) -> Pipeline:
        limit = self.exchange.limits.invoke_depth
        if outer is not None and outer.depth >= limit:
            raise CallError(Code.RESOURCE_EXHAUSTED, f"{limit} calls stand inside one another (limits.invoke_depth).")
        pipeline = self.exchange.find(event, None if outer is None else outer.principal)
        if items is not None and not isinstance(items, AsyncIterable | Iterable):
            raise TypeError(f"items for {event} are an iterable or an async one, not {items!r:.100}")
        takes_stream = pipeline.info.kind in (Kind.CLIENT, Kind.BOTH)
        if takes_stream is not (items is not None):
            wanted = "takes a stream: give it items" if takes_stream else "takes no stream: give it data, not items"
            raise CallError(Code.INVALID_ARGUMENT, f"{event} {wanted}.")
        return pipeline

    def _call(self, outer: Call | None, pipeline: Pipeline, envelope: Envelope, timeout: float | None) -> Call:
        seconds = pipeline.seconds if timeout is None else min(timeout, self.exchange.limits.max_timeout)
        now = time.monotonic()
        deadline = None if seconds is None else now + seconds
        if outer is not None and outer.deadline is not None:  # a stream may have none, and a call inside has its own
            deadline = outer.deadline
        principal, client = (None, None) if outer is None else (outer.principal, outer.client)
        call = Call(envelope, principal, client, now, deadline, self, outer)
        if call.remaining() == 0:
            raise CallError(Code.DEADLINE_EXCEEDED, f"No time is left for {envelope.event}.")
        return call


class Deputy:
    """Makes calls for somebody who need not be connected; plugins see it, and its methods, as `Behalf`."""

    def __init__(self, inside: Callable[[], Inside], principal: Principal | None) -> None:
        self._inside, self._principal = inside, principal

    def accept(self) -> None:
        """Raise `CallError` while the server takes nothing new."""
        self._inside().exchange.accept()

    def check(self, event: str, data: object = None) -> FunctionInfo:
        """Return a function that may be called so."""
        pipeline, envelope, buffers = self._checked(event, data)
        pipeline.contract.validate(envelope.data, buffers)
        return pipeline.info

    async def invoke(
        self, event: str, data: object = None, *, timeout: float | None = None, progress: Told | None = None
    ) -> Value:
        """Call a function."""
        pipeline, envelope, buffers = self._checked(event, data)
        seconds = pipeline.seconds if timeout is None else timeout
        now, inside = time.monotonic(), self._inside()
        told = Progress(lambda latest: progress and progress(latest.value()))
        call = Call(envelope, self._principal, None, now, seconds and now + seconds, inside, progress=told)
        try:
            return await inside.result(pipeline, call, envelope, buffers)
        finally:
            told.end()

    def _checked(self, event: str, data: object) -> tuple[Pipeline, Envelope, bool]:
        exchange = self._inside().exchange
        if self._principal is None and exchange.authenticates:
            raise CallError(Code.UNAUTHENTICATED, "Nobody has said who this call is for, and callers have to here.")
        pipeline = exchange.find(event, self._principal)
        if pipeline.streams:
            raise CallError(Code.INVALID_ARGUMENT, f"{event} is a stream, and only a function with one result will do.")
        return pipeline, *_enveloped(None, event, data)


class _Ends:
    """The two ends of a stream that a function has opened itself."""

    def __init__(self, pipeline: Pipeline, items: Items | None, handover: _Handover) -> None:
        self.items = _taken(pipeline, items)
        self.outlet = Outlet(handover, 1)

    def open(self) -> None:
        """Do nothing: who opened it is waiting for its items."""

    async def close(self) -> None:
        """Close what the items come from."""
        await self.items.aclose()


class _Handover:
    """Where the items of the inner function wait for the outer one, which counts as a client that always reads."""

    congested = False

    def __init__(self) -> None:
        self._items: deque[Json] = deque()
        self._outcome: Outcome | None = None
        self._wait = Wait()

    def item(self, data: Json) -> None:
        """Take an item."""
        self._items.append(data)
        self._wait.end()

    async def drained(self) -> None:
        """Return."""

    def end(self, outcome: Outcome) -> None:
        """Take note of how the inner function has ended."""
        self._outcome = outcome
        self._wait.end()

    async def next(self) -> Json | None:
        """Return the next item, or None after the last.

        Raises:
            CallError: The function failed, after whatever it gave before.
        """
        while not self._items:
            if isinstance(self._outcome, CallError):
                raise self._outcome
            if self._outcome is not None:
                return None
            await self._wait.ended()
        return self._items.popleft()


async def _taken(pipeline: Pipeline, items: Items | None) -> AsyncGenerator[object, None]:
    """Yield what the outer function sends as the inner one takes it, and close what it comes from."""
    source = _each(items)
    number = 0
    try:
        async for item in source:
            number += 1
            data = _encoded(pipeline.info.event, item)
            try:
                taken = pipeline.take(Item("", data.value()), bool(data.buffers))
            except CallError as error:
                raise of_item(number, error) from None
            yield taken
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


def _each(items: Items | None) -> AsyncIterator[object]:
    return aiter(items) if isinstance(items, AsyncIterable) else _plainly(items or ())


async def _plainly(items: Iterable[object]) -> AsyncGenerator[object, None]:
    for item in items:
        yield item


def _enveloped(outer: Call | None, event: str, data: object) -> tuple[Envelope, bool]:
    """Return the envelope of a call, and whether its data holds Buffers."""
    argument = _encoded(event, data)
    options = NO_OPTIONS if outer is None or not outer.meta else Options(meta=outer.meta)
    return Envelope(event, argument.value(), options), bool(argument.buffers)


def _encoded(event: str, data: object) -> Json:
    try:
        return _json.dumps(data)
    except EncodeError as error:
        raise CallError(Code.INVALID_ARGUMENT, f"The data for {event} cannot be sent: {error}.") from error


async def _stopped(places: Places) -> None:
    """Cancel what still runs, and return when it has ended: nothing outlives the call that it is a part of."""
    running = list(places.values())
    for invocation in running:
        invocation.abandon()
    tasks = [invocation.task for invocation in running if invocation.task is not None]
    if tasks:
        await asyncio.wait(tasks)
