"""One call as the caller sees it: opened once, ended once, with its items and its credit in between.

It knows no socket. What it has to say it gives to a `Sender`; what the server said is given to `answered` and `take`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, cast

from jackfield._contract import Kind
from jackfield._errors import CallError, Code
from jackfield.client._errors import ConnectionLost, from_wire
from jackfield.client._upload import Upload
from jackfield.client._values import carried, received

Progress: TypeAlias = Callable[[float, float | None, str | None], object]
"""Told how far a call is: `(done, total, message)`; the total and the message may be None."""

DEFAULT_CREDIT: Final = 16
"""What the server grants itself where the envelope says nothing."""
MAX_CREDIT: Final = 2**31 - 1
USUAL_MESSAGE_SIZE: Final = 1_000_000
"""Bytes of a message that a server takes where its configuration says nothing else; the client does not learn of it."""
GRANT_AGE: Final = 5.0
"""Seconds after which what was taken is granted again, though it is little, so that a server does not take a caller
that is slow but steady for one that has gone."""
__tracebackhide__: Final = True  # to pytest: a call that fails is to be read where it is made
_STREAMS: Final = {kind.value: kind for kind in (Kind.SERVER, Kind.CLIENT, Kind.BOTH)}


class Sender(Protocol):
    """The connection that a call runs over."""

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame of a stream."""

    def post(self, frame: dict[str, Any]) -> None:
        """Send a frame soon, from where nobody can wait."""

    def hold(self, task: asyncio.Task[None]) -> None:
        """Keep a task of a call until it is done."""

    def forget(self, call_id: int) -> None:
        """Give nothing more to the call of this id."""


class Exchange:
    """One call, from its envelope to its end.

    Args:
        sender: Its connection.
        call_id: Its id, unique on the connection.
        event: The function, for messages.
        credit: How many items the server may be ahead.
        progress: Told how far the call is.

    Attributes:
        kind: Who sends a stream; None until the server has answered.
        ended: Whether it has ended, one way or the other; items may be left to be read.
        result: What a unary function or one of the kind `client` has returned.
        sent: Bytes of the value that was sent last, as far as it has to fit into one message.
    """

    def __init__(
        self,
        sender: Sender,
        call_id: int,
        event: str,
        *,
        credit: int = DEFAULT_CREDIT,
        progress: Progress | None = None,
    ) -> None:
        self.id = call_id
        self.event = event
        self.kind: Kind | None = None
        self.ended = False
        self.result: Any = None
        self.sent = 0
        self._sender = sender
        self._progress = progress
        self._failure: BaseException | None = None
        self._window = credit
        self._granted = credit
        self._items: deque[Any] = deque()
        self._taken = 0
        self._allowance = 0
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._granted_at = self._loop.time()
        self._deadline: asyncio.TimerHandle | None = None
        self._pump: asyncio.Task[None] | None = None

    # What the caller does.

    async def opened(self) -> Kind:
        """Wait for the server's first answer, and return who sends a stream.

        Raises:
            CallError: The call failed before it was opened.
        """
        await self._until(lambda: self.kind is not None or self.ended)
        if self.kind is None:
            self._raise()
        assert self.kind is not None  # noqa: S101 - what ended before it was opened has failed
        return self.kind

    async def outcome(self) -> Any:
        """Wait for the end, and return the result; items of a stream are not for this.

        Raises:
            CallError: The call failed.
        """
        await self._until(lambda: self.ended)
        self._raise()
        return self.result

    async def next(self) -> Any:
        """Return the next item, and give the server credit for another.

        Raises:
            StopAsyncIteration: There are no more.
            CallError: The stream failed, after the items that came before.
        """
        await self._until(lambda: bool(self._items) or self.ended)
        if not self._items:
            self._raise()
            raise StopAsyncIteration
        item = self._items.popleft()
        self._taken += 1
        if not self.ended and (self._taken * 2 >= self._window or self._loop.time() - self._granted_at >= GRANT_AGE):
            self._grant()
        return item

    def feed(self, upload: Upload, encoding: str | None) -> None:
        """Send these items as soon as the server lets them come, and close them in the end."""
        self._pump = asyncio.create_task(self._feed(upload, encoding))
        self._sender.hold(self._pump)

    def limit(self, seconds: float, message: str) -> None:
        """End the call with `deadline_exceeded` if it has not ended by itself in this time."""
        error = CallError(Code.DEADLINE_EXCEEDED, message)
        self._deadline = self._loop.call_later(seconds, self.cancel, error)

    def cancel(self, failure: BaseException | None = None) -> None:
        """Tell the server to stop, and end the call here; nothing happens if it has ended."""
        if not self.ended:
            self._sender.post({"id": self.id, "cancel": True})
            self._end(failure or CallError(Code.CANCELED, "The call was cancelled by its caller."))

    def abandon(self) -> None:
        """Cancel a call that nobody waits for any more, from whichever thread found that out."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the connection with it
            self._loop.call_soon_threadsafe(self.cancel)

    async def settled(self) -> None:
        """Return when the source of the items is closed, once the call has ended.

        Raises:
            Exception: The source raised this while it was closed.
        """
        if self._pump is not None:
            await asyncio.wait([self._pump])
            if not self._pump.cancelled() and (error := self._pump.exception()):
                raise error

    # What the server says.

    def answered(self, *said: Any) -> None:
        """Take the acknowledgement of the envelope: a reply, or the opening of a stream."""
        reply = said[0] if len(said) == 1 and isinstance(said[0], Mapping) else {}
        if self.ended:
            return
        if "error" in reply:
            self._end(from_wire(reply["error"]))
        elif kind := _STREAMS.get(str(reply.get("stream"))):
            self.kind = kind
            self._allowance += _number(reply.get("credit"))
            self._changed.set()
        elif "data" in reply:
            self.kind = Kind.UNARY
            self._finish(reply)
        else:
            self.cancel(from_wire(None))

    def take(self, frame: Mapping[str, Any]) -> None:
        """Take a frame of the stream."""
        if self.ended:
            return
        if isinstance(progress := frame.get("progress"), Mapping):
            self._tell(progress)
        elif self.kind is None:
            return  # nothing of a stream comes before it is open
        elif "error" in frame:
            self._end(from_wire(frame["error"]))
        elif frame.get("end") is True:
            self._finish(frame)
        elif "credit" in frame:
            self._allowance = min(self._allowance + _number(frame["credit"]), MAX_CREDIT)
            self._changed.set()
        elif "data" in frame:
            self._receive(frame)

    def lost(self, *, too_large: bool = False) -> None:
        """The connection has ended, perhaps because the server has found one of its messages too large."""
        what = "the call was answered" if self.kind is None else "the stream ended"
        if too_large:
            what += f": a message was larger than the server's limits.message_size; it sent {self.sent} bytes last"
        elif self.sent > USUAL_MESSAGE_SIZE:
            what += f": it sent {self.sent} bytes last, perhaps more than the server's limits.message_size"
        self._end(ConnectionLost(f"The connection was lost before {what}."))

    def _grant(self) -> None:
        self._granted += self._taken
        self._granted_at = self._loop.time()
        self._sender.post({"id": self.id, "credit": self._taken})
        self._taken = 0

    def _receive(self, frame: Mapping[str, Any]) -> None:
        self._granted -= 1
        if self._granted < 0:
            self.cancel(CallError(Code.INTERNAL, "The server sent more items than it was asked for."))
            return
        try:
            self._items.append(received(frame))
        except CallError as error:
            self.cancel(error)
        self._changed.set()

    def _tell(self, progress: Mapping[str, Any]) -> None:
        if self._progress is None:
            return
        try:
            message = progress.get("message")
            self._progress(
                _amount(progress.get("done")) or 0,
                _amount(progress.get("total")),
                None if message is None else str(message),
            )
        except Exception as error:  # noqa: BLE001 - it is the caller's own, and goes to the caller
            self.cancel(error)

    def _finish(self, said: Mapping[str, Any]) -> None:
        try:
            self.result = received(said)
        except CallError as error:
            self._end(error)
        else:
            self._end(None)

    # Inside.

    def _end(self, failure: BaseException | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._failure = failure
        self._sender.forget(self.id)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._pump is not None and self._pump is not asyncio.current_task():
            self._pump.cancel()
        self._changed.set()

    def _raise(self) -> None:
        # Once only: what is asked again is at its end, as a generator is.
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.clear()
            await self._changed.wait()

    async def _feed(self, upload: Upload, encoding: str | None) -> None:
        try:
            await self._until(lambda: self.kind is not None or self.ended)
            if self.kind in (Kind.CLIENT, Kind.BOTH):
                await self._send_all(upload, encoding)
        except Exception as error:
            if self.ended:
                raise
            self.cancel(error)
        finally:
            await upload.close()

    async def _send_all(self, upload: Upload, encoding: str | None) -> None:
        async with contextlib.aclosing(upload.pulled()) as pulled:
            async for item in pulled:
                await self._until(lambda: self._allowance > 0 or self.ended)
                if self.ended:
                    return
                self._allowance -= 1
                fields, self.sent = carried(item, encoding)
                await self._sender.send({"id": self.id, **fields})
        if not self.ended:
            await self._sender.send({"id": self.id, "end": True})


def check_progress(progress: object) -> None:
    """Raise `TypeError` unless this is None, or a function that is told how far a call is."""
    if progress is None:
        return
    if not callable(progress):
        raise TypeError(f"progress is a function (done, total, message), not {progress!r}")
    if inspect.iscoroutinefunction(progress) or inspect.iscoroutinefunction(getattr(progress, "__call__", None)):  # noqa: B004 - it is looked at, not for
        raise TypeError("progress is a plain function, which is not awaited: let it put what it hears into a queue")


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _amount(value: object) -> float | None:
    amount = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return cast(float, value) if amount else None
