"""What a client is behind its door: a connection that is renewed, and calls that are begun on it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from jackfield._errors import CallError, Code
from jackfield.client._errors import ConnectError, ConnectionLost, Refused
from jackfield.client._exchange import DEFAULT_CREDIT, MAX_CREDIT, Exchange, Progress, check_progress
from jackfield.client._link import Hear, Link
from jackfield.client._place import Place
from jackfield.client._socketio import open_link
from jackfield.client._token import expiry, fresh
from jackfield.client._upload import Items, Upload
from jackfield.client._values import carried, check_seconds, encoded

Handler: TypeAlias = Callable[..., Any]
Follower: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Takes the events of one channel: the name, and the argument."""

PATIENCE: Final = 5.0
"""Seconds beyond the deadline in which the server may still say that it has passed."""
WAIT_LIMIT: Final = 30.0
"""Seconds that a call without a deadline waits for a connection."""
__tracebackhide__: Final = True  # to pytest: a call that fails is to be read where it is made
_FIRST_DELAY: Final = 0.5
_LAST_DELAY: Final = 8.0
"""Seconds between attempts to come back, give or take half of it, so that not all clients come at once."""
CHANNEL_EVENTS: Final = ("channel", "missed")
_REFRESH: Final = "api.auth.refresh"
_USED: Final = (0.6, 0.8)
"""Which part of a token's time has gone by when it is refreshed."""
_FINAL: Final = frozenset({Code.UNAUTHENTICATED, Code.PERMISSION_DENIED})
"""Refusals after which the same token is not shown again."""

_log = logging.getLogger("jackfield.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call before it is made; the fields are those of the public methods."""

    event: str
    data: object = None
    items: Items | None = None
    timeout: float | None = None
    credit: int = DEFAULT_CREDIT
    meta: Mapping[str, str] | None = None
    accept: str | None = None
    encoding: str | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.data is not None and self.items is not None:
            raise TypeError(
                "data and items exclude each other: the items are the argument of a function that takes them"
            )
        if self.timeout is not None:
            check_seconds(self.timeout)
        if isinstance(self.credit, bool) or not isinstance(self.credit, int):
            raise TypeError(f"credit is a number of items, not {self.credit!r}")
        if not 1 <= self.credit <= MAX_CREDIT:
            raise ValueError(f"credit is a number of items from 1 to {MAX_CREDIT}, not {self.credit!r}")
        check_progress(self.progress)

    def envelope(self, call_id: int) -> tuple[dict[str, Any], int]:
        """Return the envelope, without its timeout, and the bytes of the largest message that its data needs.

        Raises:
            EncodeError: `data` cannot be sent.
            CodecError: There is no such encoding, or it does not fit the data.
        """
        envelope: dict[str, Any] = {"event": self.event, "id": call_id}
        if self.credit != DEFAULT_CREDIT:
            envelope["credit"] = self.credit
        size = 0
        if self.data is not None:
            fields, size = carried(self.data, self.encoding)
            envelope |= fields
        if self.meta:
            envelope["meta"] = dict(self.meta)
        if self.accept is not None:
            envelope["accept"] = self.accept
        if self.progress is not None:
            envelope["progress"] = True
        return envelope, size


class Caller:
    """A connection to one server, renewed when it is lost, and what runs over it.

    Args:
        place: The server.
        reconnect: Whether to come back when the connection is lost.
        handlers: Who is told of what the server emits, from the beginning.
        connect: Makes a connection to the place.
    """

    def __init__(
        self,
        place: Place,
        *,
        reconnect: bool,
        handlers: Mapping[str, Handler],
        connect: Callable[[Place, Hear], Awaitable[Link]] = open_link,
    ) -> None:
        self._place = place
        self._reconnect = reconnect
        self._connect = connect
        self._ids = itertools.count(1)
        self._handlers: dict[str, Handler] = {}
        self._followers: dict[str, Follower] = {}
        for event, handler in handlers.items():
            self.on(event, handler)
        self._link: Link | None = None
        self._over: CallError | None = None
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._renewer: asyncio.Task[None] | None = None

    @property
    def link(self) -> Link | None:
        """The connection that there is, or was last."""
        return self._link

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._link is not None and not self._link.lost.done()

    @property
    def over(self) -> CallError | None:
        """Why there will be no connection any more, if that is so."""
        return self._over

    async def open(self) -> None:
        """Connect.

        Raises:
            ConnectError: No connection came about.
        """
        self._link = await self._connect(self._place, self._hear)
        self._keeper = asyncio.create_task(self._keep(self._link))
        self._renew_in_time(self._link)

    async def close(self) -> None:
        """Disconnect; what is in flight ends with `ConnectionLost`."""
        self._over = ConnectionLost("The client was closed.")
        self._changed.set()
        tasks = [task for task in (self._keeper, self._renewer) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._link is not None:
            await self._link.close()

    async def refresh(self) -> tuple[str, Any]:
        """Show the server a token anew, on the connection that there is; return it, and what the server says.

        Raises:
            CallError: The server refuses it, or there is none.
        """
        token = await fresh(self._place.token, self._place.limit)
        if token is None:
            raise CallError(Code.FAILED_PRECONDITION, "There is no token to be shown: connect with token=….")
        return token, await self.call(Request(event=_REFRESH, data={"token": token}, timeout=self._place.limit))

    async def call(self, request: Request) -> Any:
        """Make a call of a function that has one result, and return that.

        Raises:
            CallError: As `Client.call` raises it.
        """
        exchange = await self.begin(request)
        try:
            await exchange.opened()
            return await exchange.outcome()
        finally:
            exchange.cancel()
            await exchange.settled()

    def follow(self, channel: str, follower: Follower) -> None:
        """Let one be told of a channel's events, in the place of the handlers.

        Raises:
            ValueError: Another one is.
        """
        if channel in self._followers:
            raise ValueError(f"this client is subscribed to {channel!r} already")
        self._followers[channel] = follower

    def unfollow(self, channel: str) -> None:
        """Let nobody be told of a channel's events but the handlers."""
        del self._followers[channel]

    def on(self, event: str, handler: Handler) -> None:
        """Let `handler` be told of an event, or, with `*`, of those that have no handler."""
        if event == "stream":
            raise ValueError("'stream' carries the frames of the calls' streams; functions emit other events")
        self._handlers[event] = handler

    async def begin(self, request: Request) -> Exchange:
        """Make a call: wait for a connection, and send the envelope.

        Raises:
            ConnectionLost: There is no connection, and none came in time.
            Refused: The server did not let the client in again.
            EncodeError: What is to be sent cannot be.
        """
        upload = Upload(request.items) if request.items is not None else None
        try:
            exchange = await self._begin(request)
        except BaseException:
            if upload is not None:
                await upload.close()
            raise
        if upload is not None:
            exchange.feed(upload, request.encoding)
        return exchange

    async def _begin(self, request: Request) -> Exchange:
        call_id = next(self._ids)
        envelope, size = request.envelope(call_id)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        link = await self._linked(request.timeout)
        exchange = Exchange(link, call_id, request.event, credit=request.credit, progress=request.progress)
        if request.timeout is not None:
            left = max(0.001, request.timeout - (loop.time() - begun))
            envelope["timeout"] = max(1, round(left * 1000))
            exchange.limit(left + PATIENCE, f"The server did not answer within {request.timeout:g} s.")
        exchange.sent = size
        await link.begin(exchange, envelope)
        return exchange

    async def _linked(self, limit: float | None) -> Link:
        if self._link is not None and self.connected:
            return self._link
        try:
            async with asyncio.timeout(WAIT_LIMIT if limit is None else limit):
                while not self.connected:
                    if self._over is not None:
                        raise self._over.with_traceback(None)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            waited = WAIT_LIMIT if limit is None else limit
            raise ConnectionLost(
                f"The connection to {self._place.url} is lost, and did not come back within {waited:g} s."
            ) from None
        assert self._link is not None  # noqa: S101 - `connected` has looked
        return self._link

    async def _keep(self, link: Link) -> None:
        """Open a new connection each time that one is lost."""
        while True:
            await asyncio.wait([link.lost])
            await link.close()
            if not self._reconnect:
                self._over = ConnectionLost(f"The connection to {self._place.url} is lost.")
                self._changed.set()
                return
            again = await self._again(link.reconnect_in)
            if again is None:
                return
            self._link = link = again
            self._renew_in_time(link)
            self._changed.set()

    async def _again(self, delay: float | None) -> Link | None:
        """Try until there is a connection; return None where that is in vain."""
        step = _FIRST_DELAY
        while True:
            await asyncio.sleep(step * random.uniform(0.5, 1.5) if delay is None else delay)  # noqa: S311 - no secret
            delay, step = None, min(step * 2, _LAST_DELAY)
            try:
                return await self._connect(self._place, self._hear)
            except Refused as error:
                if error.code in _FINAL:
                    self._over = error
                    self._changed.set()
                    return None
                if error.retry_after is not None:
                    delay = error.retry_after / 1000
            except ConnectError:
                continue

    def _renew_in_time(self, link: Link) -> None:
        if self._renewer is not None:
            self._renewer.cancel()
        if callable(self._place.token):
            self._renewer = asyncio.create_task(self._renew(link))

    async def _renew(self, link: Link) -> None:
        """Refresh a connection's token before it ends, as long as there are fresh ones."""
        token = link.token
        while (ends := expiry(token)) is not None and (left := ends - time.time()) > 0:
            await asyncio.sleep(max(1.0, left * random.uniform(*_USED)))  # noqa: S311 - no secret
            try:
                token, _ = await self.refresh()
            except CallError as error:
                if error.code == Code.NOT_FOUND:  # this server takes a token only when a client connects
                    return
                _log.warning("the token could not be refreshed: %s", error)

    async def _hear(self, event: str, argument: Any) -> Any:
        channel = argument.get("channel") if event in CHANNEL_EVENTS and isinstance(argument, Mapping) else None
        if isinstance(channel, str) and channel in self._followers:
            self._followers[channel](event, argument)
            return None
        handler = self._handlers.get(event)
        arguments: tuple[Any, ...] = (argument,)
        if handler is None:
            handler, arguments = self._handlers.get("*"), (event, argument)
        if handler is None:
            return None
        try:
            answer = handler(*arguments)
            if inspect.isawaitable(answer):
                answer = await answer
            return encoded(answer).value()
        except Exception:  # noqa: BLE001 - whatever a handler raises, the connection goes on
            _log.exception("the handler of the event %r failed", event)
            return None


@contextlib.asynccontextmanager
async def calling(place: Place, *, reconnect: bool, handlers: Mapping[str, Handler]) -> AsyncIterator[Caller]:
    """Connect, and disconnect in the end."""
    caller = Caller(place, reconnect=reconnect, handlers=handlers)
    await caller.open()
    try:
        yield caller
    finally:
        await caller.close()
