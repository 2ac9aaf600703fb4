"""One client's connection as the dispatcher sees it: events in, replies out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Final, Protocol, cast

from jackfield import _envelope, _json
from jackfield._batch import Batch, reply
from jackfield._call import Client
from jackfield._codec import Bounds
from jackfield._connection import Connection
from jackfield._envelope import CallId, Envelope, EnvelopeError
from jackfield._errors import CallError, Code
from jackfield._frames import FrameError, read_frame_id
from jackfield._identity import Principal
from jackfield._invocation import Answer, Outcome, Places
from jackfield._json import Json, Value
from jackfield._pipeline import Pipeline
from jackfield._quick import Caller, Shortcuts, Table
from jackfield._settings import Limits
from jackfield._streams import Channel, Streams

EXPIRED: Final = 4001
_LOOK: Final = 60.0
"""Seconds between two looks at the time of the day, which may be set, at the most."""


class Switchboard(Protocol):
    """What a session needs of the dispatcher."""

    @property
    def limits(self) -> Limits:
        """The limits of the protocol."""

    @property
    def bounds(self) -> Bounds:
        """The limits of unpacking."""

    @property
    def events(self) -> Container[str]:
        """The names of all functions."""

    @property
    def shortcuts(self) -> Shortcuts:
        """The shortest ways through functions that have one."""

    def accept(self) -> None:
        """Raise `CallError` if the server takes nothing new because it is going away."""

    def find(self, event: str, principal: Principal | None) -> Pipeline:
        """Return the function, or raise the `CallError` that its caller is to be told."""

    def start(self, pipeline: Pipeline, envelope: Envelope, buffers: bool, caller: Caller, answer: Answer) -> None:
        """Start a call; one that suspends takes a place until its function is over."""

    def open(
        self,
        pipeline: Pipeline,
        envelope: Envelope,
        buffers: bool,
        caller: Caller,
        channel: Channel,
        ended: Callable[[CallId, bool], None],
    ) -> None:
        """Start a stream; `ended` is called with its id, and whether it was opened, when its function is over."""


class Session:
    """One connection that was let in.

    Args:
        board: The dispatcher.
        connection: The carrier of what is sent.
        client: What functions see of it, and who it is.
    """

    __slots__ = (
        "__weakref__",
        "_board",
        "_expiry",
        "_limits",
        "_quick",
        "_streams",
        "client",
        "connection",
        "running",
    )

    def __init__(self, board: Switchboard, connection: Connection, client: Client) -> None:
        self.client = client
        self._board = board
        self.connection = connection
        self._limits = board.limits
        self.running: Places = {}
        self._streams: Streams | None = None  # most connections open none
        self._expiry: asyncio.TimerHandle | None = None
        self._quick: Table
        self._identified()
        client.when_renewed(self._identified)

    def receive(self, event: list[Value], ack: bytes | None, buffers: bool) -> None:
        """Take one Socket.IO event from the client.

        Args:
            event: The event's name, which is none of those that Socket.IO reserves, and after it the arguments, Buffers
                in their places.
            ack: The id under which the client waits for an acknowledgement, if it does: digits, as the client wrote it.
            buffers: Whether the packet held Buffers.
        """
        name = event[0]
        if name == "event":
            if len(event) == 2:
                argument = event[1]
                # The plainest call, acknowledged, with data and nothing else: most are of this kind.
                if type(argument) is dict and len(argument) == 2 and ack is not None and "data" in argument:
                    called = argument.get("event")
                    quick = self._quick.ways.get(called) if type(called) is str else None
                    if quick is not None and len(self.running) < self._limits.calls:
                        quick(self, ack, argument["data"], buffers)
                        return
                self._event(argument, ack, buffers)
            else:
                self._fault(ack, None, f"'event' takes exactly one argument, the envelope, not {len(event) - 1}.")
        elif name == "stream":
            try:
                self._own_streams().take(event[1] if len(event) == 2 else None, buffers)
            except FrameError as error:
                self._fault(ack, "stream", error.message)
        else:
            self._named(cast(str, name), event, ack, buffers)

    def refuse(self, error: CallError, ack: bytes | None, said: object) -> None:
        """Answer an event that passes a limit; one that was a frame ends its stream, which has lost an item.

        Args:
            error: Which limit.
            ack: The id under which the client waits for an acknowledgement, if it does.
            said: The event, as far as it can be read.
        """
        name, argument = said if isinstance(said, list) and len(said) == 2 else (None, None)
        call_id = read_frame_id(argument) if name in ("event", "stream") else None
        if call_id is not None and name == "stream":
            self._own_streams().fail(call_id, error)
        else:
            self._send(error, ack, call_id, None)

    def close(self) -> None:
        """Cancel what runs for a client that has gone, save what is detached."""
        self.client.left()
        if self._expiry is not None:
            self._expiry.cancel()
        for invocation in list(self.running.values()):
            if invocation.pipeline.function.detached or invocation.call.detached:
                invocation.detach()
            else:
                invocation.abandon()

    def notify(self, event: str, data: Mapping[str, object]) -> None:
        """Send the client an event of the kernel's own."""
        self.connection.emit(event, _json.dumps(data))

    def _identified(self) -> None:
        """Take note of who the client is from now on, and until when."""
        principal = self.client.principal
        self._quick = self._board.shortcuts.of(principal)
        if self._expiry is not None:
            self._expiry.cancel()
        if principal is not None and principal.expires is not None:
            seconds = max(0.0, principal.expires - time.time())
            self._expiry = asyncio.get_running_loop().call_later(min(seconds, _LOOK), self._look_at_expiry)

    def _look_at_expiry(self) -> None:
        principal = self.client.principal
        if principal is not None and principal.expires is not None and principal.expires <= time.time():
            self.client.disconnect("the token has expired", EXPIRED)
        else:
            self._identified()

    def _named(self, name: str, event: list[Value], ack: bytes | None, buffers: bool) -> None:
        if len(event) > 2:
            self._fault(ack, name, f"{name[: _envelope.MAX_EVENT]} takes one argument, not {len(event) - 1}.")
        else:
            envelope = Envelope(name, event[1] if len(event) == 2 else None)
            self._start(envelope, self._replier(ack, envelope), buffers, ack)

    def _event(self, argument: Value, ack: bytes | None, buffers: bool) -> None:
        try:
            read = _envelope.read(argument, self._board.bounds, self._board.events)
        except EnvelopeError as error:
            self._send(error, ack, error.id, error.event)
            return
        if isinstance(read, list):
            self._batch(read, ack, buffers)
        else:
            self._start(read, self._replier(ack, read), buffers, ack)

    def _batch(self, entries: list[Value], ack: bytes | None, buffers: bool) -> None:
        if len(entries) > self._limits.batch:
            self._send(
                CallError(
                    Code.RESOURCE_EXHAUSTED,
                    f"A batch of {len(entries)} envelopes; at most {self._limits.batch} are allowed (limits.batch).",
                ),
                ack,
                None,
                None,
            )
            return
        collector = (
            Batch(len(entries), lambda payload: self.connection.acknowledge(ack, payload.text, payload.buffers))
            if ack is not None
            else None
        )
        if collector is not None and not entries:
            collector.send()
        for index, entry in enumerate(entries):
            try:
                envelope = _envelope.read_entry(entry, self._board.bounds)
            except EnvelopeError as error:
                if collector is None:
                    self._send(error, None, error.id, error.event)
                else:
                    collector.put(index, error, error.id, None)
                continue
            answer = self._replier(None, envelope) if collector is None else collector.replier(index, envelope)
            self._start(envelope, answer, buffers, alone=False)

    def _start(
        self, envelope: Envelope, answer: Answer, buffers: bool, ack: bytes | None = None, *, alone: bool = True
    ) -> None:
        try:
            self._board.accept()
            pipeline = self._board.find(envelope.event, self.client.principal)
            self._check_id(envelope.options.id)
            if pipeline.streams:
                self._open(pipeline, envelope, answer, buffers, ack, alone=alone)
                return
            self._check_room()
        except CallError as error:
            answer(error)
            return
        self._board.start(pipeline, envelope, buffers, self, answer)

    def _open(
        self, pipeline: Pipeline, envelope: Envelope, answer: Answer, buffers: bool, ack: bytes | None, *, alone: bool
    ) -> None:
        if not alone:
            raise CallError(Code.INVALID_ARGUMENT, f"{envelope.event} is a stream, and a batch opens none.")
        streams = self._own_streams()
        channel = streams.channel(pipeline, envelope, partial(self._reply, ack), answer)
        self._board.open(pipeline, envelope, buffers, self, channel, streams.ended)

    def _check_id(self, call_id: CallId | None) -> None:
        if call_id is not None and call_id in self.running:
            raise CallError(Code.ALREADY_EXISTS, f"A call with the id {call_id!r} is in flight.")

    def _check_room(self) -> None:
        if not self.running:
            return
        streams = 0 if self._streams is None else self._streams.count
        if len(self.running) - streams >= self._limits.calls:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._limits.calls} calls of this connection are in flight (limits.calls).",
                retry_after=1000,
            )

    def _own_streams(self) -> Streams:
        if self._streams is None:
            self._streams = Streams(self.connection, self.running, self._limits)
        return self._streams

    def _replier(self, ack: bytes | None, envelope: Envelope) -> Answer:
        options = envelope.options
        if ack is not None:
            return lambda outcome: self._send(outcome, ack, options.id, None, options.accept_text)
        return lambda outcome: self._send(outcome, None, options.id, envelope.event, options.accept_text)

    def _send(
        self,
        outcome: Outcome,
        ack: bytes | None,
        call_id: CallId | None,
        event: str | None,
        encoding: str | None = None,
    ) -> None:
        if ack is not None or call_id is not None:
            self._reply(ack, reply(outcome, call_id, encoding))
        elif isinstance(outcome, CallError):
            self.connection.emit("message", _envelope.error_notice(outcome, event))

    def _reply(self, ack: bytes | None, said: Json) -> None:
        if ack is not None:
            self.connection.acknowledge(ack, said.text, said.buffers)
        else:
            self.connection.emit("message", said)

    def _fault(self, ack: bytes | None, event: str | None, message: str) -> None:
        self._send(CallError(Code.INVALID_ARGUMENT, message), ack, None, event)
