"""One client's connection as the dispatcher sees it: events in, replies out."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Protocol, cast

from jackfield import _envelope, _json
from jackfield._call import Client, Connection
from jackfield._codec import Bounds
from jackfield._envelope import CallId, Envelope, EnvelopeError
from jackfield._errors import CallError, Code
from jackfield._identity import Principal
from jackfield._invocation import Answer, Outcome, Places
from jackfield._json import MAX_BUFFERS, Json, Value
from jackfield._pipeline import Pipeline
from jackfield._quick import Quick
from jackfield._settings import Limits


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
    def quick(self) -> Mapping[str, Quick]:
        """The shortest ways through functions that have one."""

    def accept(self) -> None:
        """Raise `CallError` if the server takes nothing new because it is going away."""

    def find(self, event: str, principal: Principal | None) -> Pipeline:
        """Return the function, or raise the `CallError` that its caller is to be told."""

    def start(
        self,
        pipeline: Pipeline,
        envelope: Envelope,
        buffers: bool,
        principal: Principal | None,
        client: Client | None,
        answer: Answer,
        places: Places,
    ) -> None:
        """Start a call; one that suspends takes a place until its function is over."""


class Session:
    """One connection that was let in.

    Args:
        board: The dispatcher.
        connection: The carrier of what is sent.
        client: What functions see of it.
        principal: Who it is, if that was asked.
    """

    __slots__ = ("__weakref__", "_board", "_limits", "_quick", "client", "connection", "principal", "running")

    def __init__(self, board: Switchboard, connection: Connection, client: Client, principal: Principal | None) -> None:
        self.client = client
        self.principal = principal
        self._board = board
        self.connection = connection
        self._limits = board.limits
        self._quick = board.quick
        self.running: Places = {}

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
                    quick = self._quick.get(called) if type(called) is str else None
                    if quick is not None and len(self.running) < self._limits.calls:
                        quick(self, ack, argument["data"], buffers)
                        return
                self._event(argument, ack, buffers)
            else:
                self._fault(ack, None, f"'event' takes exactly one argument, the envelope, not {len(event) - 1}.")
        elif name == "stream":
            self._frame(event[1] if len(event) == 2 else None)
        else:
            self._named(cast(str, name), event, ack, buffers)

    def refuse(self, error: CallError, ack: bytes | None) -> None:
        """Answer an event that could not even be read."""
        self._send(error, ack, None, None)

    def close(self) -> None:
        """Cancel what runs for a client that has gone, save what is detached."""
        self.client.connected = False
        for invocation in list(self.running.values()):
            if invocation.pipeline.function.detached:
                invocation.detach()
            else:
                invocation.abandon()

    def notify(self, event: str, data: Mapping[str, object]) -> None:
        """Send the client an event of the kernel's own."""
        self.connection.emit(event, _json.dumps(data))

    def _named(self, name: str, event: list[Value], ack: bytes | None, buffers: bool) -> None:
        if len(event) > 2:
            self._fault(ack, name, f"{name[: _envelope.MAX_EVENT]} takes one argument, not {len(event) - 1}.")
        else:
            envelope = Envelope(name, event[1] if len(event) == 2 else None)
            self._start(envelope, self._replier(ack, envelope), buffers)

    def _event(self, argument: Value, ack: bytes | None, buffers: bool) -> None:
        try:
            read = _envelope.read(argument, self._board.bounds, self._board.events)
        except EnvelopeError as error:
            self._send(error, ack, error.id, error.event)
            return
        if isinstance(read, list):
            self._batch(read, ack, buffers)
        else:
            self._start(read, self._replier(ack, read), buffers)

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
            _Batch(len(entries), lambda payload: self.connection.acknowledge(ack, payload.text, payload.buffers))
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
            self._start(envelope, answer, buffers)

    def _start(self, envelope: Envelope, answer: Answer, buffers: bool) -> None:
        try:
            self._board.accept()
            pipeline = self._board.find(envelope.event, self.principal)
            if self.running:
                self._check(envelope.options.id)
        except CallError as error:
            answer(error)
            return
        self._board.start(pipeline, envelope, buffers, self.principal, self.client, answer, self.running)

    def _check(self, call_id: CallId | None) -> None:
        if len(self.running) >= self._limits.calls:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._limits.calls} calls of this connection are in flight (limits.calls).",
                retry_after=1000,
            )
        if call_id is not None and call_id in self.running:
            raise CallError(Code.ALREADY_EXISTS, f"A call with the id {call_id!r} is in flight.")

    def _frame(self, frame: Value) -> None:
        call_id = frame.get("id") if isinstance(frame, dict) else None
        if not isinstance(frame, dict) or isinstance(call_id, bool) or not isinstance(call_id, str | int):
            self._fault(None, "stream", "'stream' takes one frame: an object with an id.")
        elif frame.get("cancel") is True:
            if (invocation := self.running.get(call_id)) is not None:
                invocation.cancel(CallError(Code.CANCELED, "The call was cancelled by its caller."))
        elif "error" not in frame and call_id not in self.running:
            error = CallError(Code.NOT_FOUND, "There is no stream with this id.")
            self.notify("stream", {"id": call_id, "error": error.as_dict()})

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
        if ack is not None:
            reply = _reply(outcome, call_id, encoding)
            self.connection.acknowledge(ack, reply.text, reply.buffers)
        elif call_id is not None:
            self.connection.emit("message", _reply(outcome, call_id, encoding))
        elif isinstance(outcome, CallError):
            self.connection.emit("message", _envelope.error_notice(outcome, event))

    def _fault(self, ack: bytes | None, event: str | None, message: str) -> None:
        self._send(CallError(Code.INVALID_ARGUMENT, message), ack, None, event)


class _Batch:
    """Collects the replies of a batch, and sends them when the last is there."""

    def __init__(self, size: int, send: Callable[[Json], None]) -> None:
        self._replies: list[Json | None] = [None] * size
        self._ids: list[CallId | None] = [None] * size
        self._missing = size
        self._send = send

    def replier(self, index: int, envelope: Envelope) -> Answer:
        options = envelope.options
        return lambda outcome: self.put(index, outcome, options.id, options.accept_text)

    def put(self, index: int, outcome: Outcome, call_id: CallId | None, encoding: str | None) -> None:
        self._replies[index] = _reply(outcome, call_id, encoding)
        self._ids[index] = call_id
        self._missing -= 1
        if not self._missing:
            self.send()

    def send(self) -> None:
        texts: list[bytes] = []
        buffers: list[bytes] = []
        replies = [reply for reply in self._replies if reply is not None]
        binary = any(reply.buffers for reply in replies)
        for reply, call_id in zip(replies, self._ids, strict=True):
            fitting = reply
            if len(buffers) + len(reply.buffers) > MAX_BUFFERS:
                error = CallError(
                    Code.RESOURCE_EXHAUSTED, f"The replies of this batch hold more than {MAX_BUFFERS} Buffers."
                )
                fitting = _envelope.error_reply(error, call_id)
            elif binary and reply.pretends:
                error = CallError(
                    Code.FAILED_PRECONDITION,
                    "The reply has a field '_placeholder', which clients take for one of the batch's Buffers:"
                    " call it by itself.",
                )
                fitting = _envelope.error_reply(error, call_id)
            texts.append(fitting.renumbered(len(buffers)))
            buffers.extend(fitting.buffers)
        self._send(Json(b"[" + b",".join(texts) + b"]", tuple(buffers)))


def _reply(outcome: Outcome, call_id: CallId | None, encoding: str | None) -> Json:
    if isinstance(outcome, CallError):
        return _envelope.error_reply(outcome, call_id)
    return _envelope.reply(outcome, call_id, encoding)
