"""The streams of one connection: calls with items that come and go, which share what a client may ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from jackfield._audience import Audience
from jackfield._call import Call
from jackfield._channel import Inlet, Outlet
from jackfield._connection import Connection
from jackfield._contract import Kind
from jackfield._envelope import CallId, Envelope
from jackfield._errors import CallError, Code
from jackfield._flow import Pool
from jackfield._frames import Cancel, End, Failure, FrameError, Grant, Item, Writer, read
from jackfield._invocation import Answer, Invocation, Outcome, Places
from jackfield._json import Json, Value
from jackfield._pipeline import Pipeline, Work
from jackfield._settings import Limits

CREDIT: Final = 16
"""Items that the server may send when the client does not say."""
_REMEMBERED: Final = 1024
"""Ids of streams that have ended; frames for them were under way when they did, and are nobody's fault."""


class FrameLine:
    """Carries a stream's items as frames, and whatever else the server says of it.

    Args:
        connection: What carries the frames.
        writer: Writes them.
    """

    __slots__ = ("_connection", "writer")

    def __init__(self, connection: Connection, writer: Writer) -> None:
        self._connection = connection
        self.writer = writer

    @property
    def congested(self) -> bool:
        """Whether the client does not keep up with what it is sent."""
        return self._connection.congested

    def item(self, data: Json) -> None:
        """Send one item."""
        self._connection.emit("stream", self.writer.item(data))

    async def drained(self) -> None:
        """Return when the client keeps up, or has gone."""
        await self._connection.drained()

    def credit(self, items: int) -> None:
        """Let the client send so many items more."""
        self.send(self.writer.credit(items))

    def send(self, frame: Json) -> None:
        """Send a frame."""
        self._connection.emit("stream", frame)


class Channel:
    """One stream on its connection: what its function and its client's frames have to do with each other.

    Args:
        pipeline: The function.
        envelope: What opens the stream.
        line: What carries it.
        pool: What its client's streams may have promised together.
        reply: Sends the reply that says that the stream is open.
        refuse: Answers in its place where nothing is opened.

    Attributes:
        opened: Whether the client was told that the stream is open.
    """

    __slots__ = ("_kind", "_line", "_refuse", "_reply", "items", "opened", "outlet")

    def __init__(
        self,
        pipeline: Pipeline,
        envelope: Envelope,
        line: FrameLine,
        pool: Pool,
        reply: Callable[[Json], None],
        refuse: Answer,
    ) -> None:
        credit = envelope.options.credit
        self._kind = pipeline.info.kind
        self._line = line
        self._reply = reply
        self._refuse = refuse
        self.opened = False
        self.items = Inlet(pool, line.credit, pipeline.take)
        self.outlet = Outlet(line, CREDIT if credit is None else credit)

    @property
    def idle_since(self) -> float | None:
        """The time since when the function waits for the client, on the monotonic clock; None if it does not."""
        if self.outlet.wait.since is not None:
            return self.outlet.wait.since
        return self.items.wait.since if self.items.window.left else None

    def open(self) -> None:
        """Tell the client that the stream is open, and what it may send."""
        self.opened = True
        credit = None if self._kind is Kind.SERVER else self.items.window.open()
        self._reply(self._line.writer.opened(self._kind, credit))

    async def close(self) -> None:
        """Take no more items; what they were promised is free for other streams."""
        self.items.close()

    def finish(self, outcome: Outcome) -> None:
        """Tell the client how the stream has ended."""
        writer = self._line.writer
        if not self.opened:
            self._refuse(outcome)
        elif isinstance(outcome, CallError):
            self._line.send(writer.error(outcome))
        else:
            self._line.send(writer.end(outcome if self._kind is Kind.CLIENT else None))

    def take(self, frame: Item | End | Grant, buffers: bool) -> None:
        """Take a frame of the client.

        Raises:
            CallError: It is one that this stream does not allow.
        """
        if isinstance(frame, Grant):
            self.outlet.grant(frame.credit)
        elif isinstance(frame, Item):
            self.items.arrive(frame, buffers)
        elif self._kind is not Kind.SERVER:  # the client's side of a server stream is over from the start
            self.items.finish()
        self.outlet.wait.renew()
        self.items.wait.renew()


class Stream(Invocation):
    """One call with a stream, from its envelope to the end of its function.

    Args:
        pipeline: The function.
        call: What it is given.
        work: Runs it.
        answer: Called with how it ends.
        audience: Who hears of it.
        channel: Where the items go and come from.
        idle: Seconds that the function may wait for the client.
        ended: Called with the id, and whether the stream was opened, when the function is over.
    """

    __slots__ = ("_ended", "_idle", "channel")

    def __init__(
        self,
        pipeline: Pipeline,
        call: Call,
        work: Work,
        answer: Answer,
        audience: Audience,
        channel: Channel,
        idle: float,
        ended: Callable[[CallId, bool], None],
    ) -> None:
        super().__init__(pipeline, call, work, answer, audience)
        self.channel = channel
        self._idle = idle
        self._ended = ended

    def watch(self) -> None:
        """Set a timer if the time is nearly up, and end the stream if its client has left it alone for too long."""
        super().watch()
        since = self.channel.idle_since
        if since is not None and not self.answered and monotonic() - since > self._idle:
            waits_for = "an item" if self.channel.outlet.wait.since is None else "credit"
            self.cancel(
                CallError(
                    Code.DEADLINE_EXCEEDED,
                    f"{self.call.event} has waited {self._idle:g} s for {waits_for} (limits.stream_idle).",
                )
            )

    def _stop(self) -> None:
        super()._stop()
        self.channel.items.close()  # so that a function which swallows that it is cancelled comes to the end of them

    def _end(self, _: object = None) -> None:
        super()._end(_)
        if self.call.id is not None:
            self._ended(self.call.id, self.channel.opened)


class Streams:
    """What one connection has open, and what it may open.

    Args:
        connection: The connection.
        running: What is in flight for it, calls and streams.
        limits: The limits of the protocol.

    Attributes:
        count: How many streams are open, or still ending.
    """

    __slots__ = ("_cancels", "_connection", "_ended", "_limits", "_pool", "_running", "_second", "count")

    def __init__(self, connection: Connection, running: Places, limits: Limits) -> None:
        self.count = 0
        self._connection = connection
        self._running = running
        self._limits = limits
        self._pool = Pool(limits.stream_buffer // limits.message_size)
        self._ended: dict[CallId, None] = {}
        self._second = 0.0
        self._cancels = 0

    def channel(self, pipeline: Pipeline, envelope: Envelope, reply: Callable[[Json], None], refuse: Answer) -> Channel:
        """Take a place for a stream, and return its channel; `ended` gives the place back.

        Raises:
            CallError: It may not be opened.
        """
        call_id = envelope.options.id
        if call_id is None:
            raise CallError(
                Code.INVALID_ARGUMENT, f"{envelope.event} is a stream, so its envelope needs an id for the frames."
            )
        if self.count >= self._limits.streams:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._limits.streams} streams of this connection are open (limits.streams).",
                retry_after=1000,
            )
        self._ended.pop(call_id, None)
        self.count += 1
        line = FrameLine(self._connection, Writer(call_id, envelope.options.accept_text))
        return Channel(pipeline, envelope, line, self._pool, reply, refuse)

    def ended(self, call_id: CallId, opened: bool) -> None:
        """Take note that the function of a stream is over; one that was never opened leaves no id behind."""
        self.count -= 1
        if not opened:
            return
        self._ended[call_id] = None
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def take(self, argument: Value, buffers: bool) -> None:
        """Take the argument of the event `stream`.

        Raises:
            FrameError: It is no frame, and of no stream.
        """
        try:
            frame = read(argument)
        except FrameError as error:
            if error.id is None:
                raise
            self.fail(error.id, error)
            return
        if isinstance(frame, Failure):
            return
        if isinstance(frame, Cancel):
            self._cancel(frame.id)
            return
        found = self._running.get(frame.id)
        if isinstance(found, Stream):
            if not found.answered:
                try:
                    found.channel.take(frame, buffers)
                except CallError as error:
                    found.cancel(error)
        elif found is None and frame.id not in self._ended:
            self._unknown(frame.id)

    def fail(self, call_id: CallId, error: CallError) -> None:
        """End a stream because of a frame that cannot be read."""
        found = self._running.get(call_id)
        if isinstance(found, Stream):
            found.cancel(error)
        elif found is None and call_id not in self._ended:
            self._unknown(call_id)

    def _cancel(self, call_id: CallId) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._second >= 1.0:
            self._second, self._cancels = now, 0
        self._cancels += 1
        if self._cancels > self._limits.cancels:
            self._connection.abort("too many calls are cancelled (limits.cancels)")
        elif (found := self._running.get(call_id)) is not None and not found.call.cancelled:
            found.cancel(CallError(Code.CANCELED, "The call was cancelled by its caller."))

    def _unknown(self, call_id: CallId) -> None:
        error = CallError(Code.NOT_FOUND, "There is no stream with this id.")
        self._connection.emit("stream", Writer(call_id).error(error))
