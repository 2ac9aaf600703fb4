"""The client and its streams, as those who call see them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final, TypeVar

from jackfield._contract import Kind
from jackfield._errors import CallError, Code
from jackfield._host import Position
from jackfield.client._caller import Caller, Handler, Request
from jackfield.client._exchange import DEFAULT_CREDIT, Exchange, Progress
from jackfield.client._subscription import Subscription
from jackfield.client._upload import Items

H = TypeVar("H", bound=Handler)

__tracebackhide__: Final = True  # to pytest: a call that fails is to be read where it is made


class Client:
    """A connection to a server; `connect` makes it.

    All methods belong to the event loop in which it was made. Calls run side by side.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now; a call that is made without one waits for it."""
        return self._caller.connected

    async def call(
        self,
        event: str,
        data: object = None,
        *,
        items: Items | None = None,
        timeout: float | None = None,
        meta: Mapping[str, str] | None = None,
        accept: str | None = None,
        encoding: str | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Call a function that has one result, and return that.

        When the task that waits for it is cancelled, the call is cancelled at the server.

        Args:
            event: The function's dotted path.
            data: The argument: JSON's values, bytes anywhere in it, models, dataclasses.
            items: For a function that takes a stream: its items, from an iterable or an async one, in the place of
                `data`. They are sent as fast as the server lets them come, and their source is closed in every case.
            timeout: Seconds for all of it, the wait for a connection included. If left out, the server decides: 30
                seconds, if its configuration says nothing else, and no end for a stream of items.
            meta: Headers of the call.
            accept: How the server is to pack the result, such as `gzip`; it is unpacked here.
            encoding: How to pack `data`, or each of the items.
            progress: Told how far the call is, `(done, total, message)`, if the function reports that.

        Returns:
            JSON's values, and bytes for Buffers.

        Raises:
            CallError: As the server answers; `deadline_exceeded` where it does not; `invalid_argument` for a function
                of another kind, which is cancelled; a unary one has run by then.
            ConnectionLost: The connection ended first, or there is none.
            EncodeError: `data` or an item is none that can be sent.
            ValueError: `timeout` is not above 0.
            TypeError: Both `data` and `items` are given, or an argument is of another type.
        """
        request = Request(
            event=event,
            data=data,
            items=items,
            timeout=timeout,
            meta=meta,
            accept=accept,
            encoding=encoding,
            progress=progress,
        )
        exchange = await self._caller.begin(request)
        try:
            _expect(exchange, await exchange.opened(), Kind.UNARY if items is None else Kind.CLIENT)
            return await exchange.outcome()
        finally:
            exchange.cancel()
            await exchange.settled()

    def stream(  # noqa: PLR0913 - each is a field of the envelope
        self,
        event: str,
        data: object = None,
        *,
        items: Items | None = None,
        credit: int = DEFAULT_CREDIT,
        timeout: float | None = None,
        meta: Mapping[str, str] | None = None,
        accept: str | None = None,
        encoding: str | None = None,
        progress: Progress | None = None,
    ) -> Stream:
        """Call a function that gives a stream of items, and return that; it is opened when it is first used.

        Args:
            event: The function's dotted path.
            data: The argument, as for `call`.
            items: The items to send, as for `call`, for a function with streams both ways.
            credit: How many items the server may be ahead; so many are held in memory at the most.
            timeout: Seconds for the whole life of the stream; none if left out.
            meta: Headers of the call.
            accept: How the server is to pack each item.
            encoding: How to pack `data`, or each of the items that are sent.
            progress: Told how far the call is, `(done, total, message)`, if the function reports that.

        Raises:
            TypeError: Both `data` and `items` are given.
        """
        request = Request(
            event=event,
            data=data,
            items=items,
            credit=credit,
            timeout=timeout,
            meta=meta,
            accept=accept,
            encoding=encoding,
            progress=progress,
        )
        return Stream(self._caller, request)

    async def refresh(self) -> dict[str, Any]:
        """Show the server a token anew: the one of `connect`, or a fresh one if that is a function.

        With a function this is done without being asked for; call it where scopes have changed.

        Returns:
            `expires`, in seconds since the epoch, and `scopes`.

        Raises:
            CallError: `unauthenticated`: the token is refused, and the connection goes on as it was;
                `permission_denied`: it is somebody else's; `failed_precondition`: there is none.
        """
        said: dict[str, Any] = (await self._caller.refresh())[1]
        return said

    def subscribe(self, channel: str, *, since: Position | None = None, data: object = None) -> Subscription:
        """Subscribe to a channel of jackfield-channels while a block runs, and iterate over what is published to it.

        Args:
            channel: Its name; no pattern.
            since: Up to where everything is known: the `position` of an earlier subscription.
            data: What others see of this client, where the channel has presence.

        Returns:
            What is entered, which raises `CallError` as the server answers, and is iterated over in the block.

        Raises:
            ValueError: It is a pattern, which has no position; entering it: the client is subscribed to it already.

        Example:
            async with client.subscribe("orders.7") as publications:
                async for publication in publications:
                    print(publication.data)
        """
        return Subscription(self._caller, channel, since, data)

    def on(self, event: str, handler: H) -> H:
        """Call `handler` with the argument of each event of this name that the server emits.

        What it returns acknowledges the event, where the server asked for that: it is the answer to
        `call.client.request`. One that raises is logged, and answers with nothing. A plain function is called at once,
        so it must not block; of an `async def` the calls run side by side. Events are heard in the order in which
        they were sent.

        Args:
            event: The name; `*` for all that have no handler, which is called with the name and the argument.
            handler: `(argument)`: the argument of the event, None if it has none, a list if it has several.

        Returns:
            The handler.

        Raises:
            ValueError: The event is `stream`, which carries the frames of streams.
        """
        self._caller.on(event, handler)
        return handler


class Stream(AsyncIterator[Any]):
    """The items that a function gives, in order; `Client.stream` makes it.

    Iterate over it once. As a context manager it is opened when the block begins, and the call is cancelled at the
    server when the block is left early. A stream that is left without either is cancelled as soon as it is collected.

    An error of the call is raised after the items that came before it.
    """

    def __init__(self, caller: Caller, request: Request) -> None:
        self._caller = caller
        self._request = request
        self._exchange: Exchange | None = None
        self._closed = False
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Stream:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        """Return the next item.

        Raises:
            CallError: As `Client.call` raises it.
        """
        if self._closed:
            raise StopAsyncIteration
        exchange = await self._opened()
        try:
            return await exchange.next()
        except StopAsyncIteration:
            await exchange.settled()
            raise

    async def aclose(self) -> None:
        """Cancel the call at the server, if it has not ended, and close the source of the items that it sends."""
        self._closed = True
        if self._exchange is not None:
            self._exchange.cancel()
            await self._exchange.settled()

    async def _opened(self) -> Exchange:
        async with self._opening:
            if self._exchange is None:
                try:
                    self._exchange = exchange = await self._caller.begin(self._request)
                except BaseException:
                    self._closed = True  # and so is the source of the items
                    raise
                # The call must not hold the stream, or it would never be collected.
                weakref.finalize(self, exchange.abandon).atexit = False
            if self._exchange.kind is None:
                try:
                    kind = await self._exchange.opened()
                    _expect(self._exchange, kind, Kind.SERVER if self._request.items is None else Kind.BOTH)
                except Exception:
                    self._closed = True
                    raise
            return self._exchange


def _expect(exchange: Exchange, kind: Kind, expected: Kind) -> None:
    """Cancel a call of another kind, and say how that is made."""
    if kind is expected:
        return
    exchange.cancel()
    raise CallError(Code.INVALID_ARGUMENT, f"{exchange.event} {_USAGE[kind]}.")


_USAGE = {
    Kind.UNARY: "has one result and takes no items: await client.call(event, data)",
    Kind.SERVER: "gives a stream and takes no items: iterate over client.stream(event, data)",
    Kind.CLIENT: "takes a stream and has one result: await client.call(event, items=…)",
    Kind.BOTH: "takes a stream and gives one: iterate over client.stream(event, items=…)",
}
