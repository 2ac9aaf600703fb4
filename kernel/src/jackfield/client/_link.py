"""One connection to a server, on python-socketio's client, and the calls that run over it.

It connects once. A connection that is lost stays lost: whoever wants another opens another, so that nothing of an old
one, be it an id, an acknowledgement or a reply that comes late, can be taken for something of the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from jackfield._deferred import defer
from jackfield.client._errors import ConnectError, Refused
from jackfield.client._exchange import Exchange
from jackfield.client._place import Place, knock, need_client
from jackfield.client._portions import Portions
from jackfield.client._token import fresh

Hear: TypeAlias = Callable[[str, Any], Awaitable[Any]]
"""Told of every event that the server emits; what it returns acknowledges the event."""

_CLOSE_LIMIT: Final = 5.0
"""Seconds for the farewell to a server that may not be there any more."""

_TOO_LARGE: Final = 1009
"""The code with which a websocket is closed whose message was too large."""


class Link:
    """A connection to a server that has let the client in.

    Args:
        sio: The Socket.IO client, connected.
        session: The HTTP session under it, which is closed with it.

    Attributes:
        lost: Done as soon as the connection has ended.
        token: What it was shown.
        reconnect_in: Seconds after which the server wants its clients back, if it said that it goes away.
    """

    def __init__(self, sio: Any, session: Any) -> None:
        self._sio = sio
        self._session = session
        self._exchanges: dict[int, Exchange] = {}
        self._posts: set[asyncio.Task[None]] = set()
        self._held: set[asyncio.Task[None]] = set()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reconnect_in: float | None = None
        self.token: str | None = None

    @classmethod
    async def open(cls, place: Place, hear: Hear) -> Link:
        """Connect by the first transport that works.

        Raises:
            NobodyThere: Nothing listens there.
            Refused: The server does not let the client in.
            ConnectError: What listens there is no such server, or aiohttp is missing.
        """
        await knock(place)
        need_client()
        token = await fresh(place.token, place.limit)
        reason = "nothing of Socket.IO came back"
        for transport in place.transports:
            try:
                async with asyncio.timeout(place.limit):
                    return await _connect(place, token, transport, hear)
            except TimeoutError:
                reason = f"it said nothing for {place.limit:g} s"
                break
            except ConnectError:
                raise
            except Exception as error:  # noqa: BLE001 - what is no Socket.IO server makes the client raise anything
                cause = _first_cause(error)
                if isinstance(cause, ssl.SSLCertVerificationError):
                    raise ConnectError(
                        f"{place.url} shows a certificate that is not trusted ({cause.verify_message})",
                        "name the file of one that vouches for it in the variable SSL_CERT_FILE",
                    ) from None
                reason = _in_short(cause)
                if isinstance(cause, ssl.SSLError) or "[SSL" in reason:  # polling brings its text only
                    raise ConnectError(
                        f"TLS with {place.url} failed ({reason})",
                        "if the server there has no TLS, its address begins with http://",
                    ) from None
        raise ConnectError(f"what answers at {place.url}{place.path} is no jackfield server ({reason})")

    async def begin(self, exchange: Exchange, envelope: dict[str, Any]) -> None:
        """Send the envelope of a call, and give the call what the server says of it."""
        self._exchanges[exchange.id] = exchange
        if self.lost.done():
            exchange.lost()
        else:
            await self._emit("event", envelope, exchange.answered)

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame of a stream."""
        await self._emit("stream", frame)

    def post(self, frame: dict[str, Any]) -> None:
        """Send a frame soon, from where nobody can wait."""
        if not self.lost.done():
            task = asyncio.create_task(self.send(frame))
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)

    def forget(self, call_id: int) -> None:
        """Give nothing more to the call of this id."""
        self._exchanges.pop(call_id, None)

    def hold(self, task: asyncio.Task[None]) -> None:
        """Keep a task of a call from being collected before it is done; it ends when the call does."""
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def close(self) -> None:
        """Say what is still to be said, then good-bye."""
        try:
            async with asyncio.timeout(_CLOSE_LIMIT):
                await self._flushed()
                await self._sio.disconnect()
        except TimeoutError:
            pass
        finally:
            await self._session.close()
            self.end()
            if self._held:
                await asyncio.wait(list(self._held), timeout=_CLOSE_LIMIT)
            for task in (self._sio.eio.read_loop_task, self._sio.eio.write_loop_task):
                # After a close by the server over polling they would wait for one another, for half a minute.
                if task is not None:
                    task.cancel()

    def end(self) -> None:
        """The connection is no more: so are its calls."""
        if not self.lost.done():
            self.lost.set_result(None)
        too_large = getattr(self._sio.eio.ws, "close_code", None) == _TOO_LARGE
        for exchange in list(self._exchanges.values()):
            exchange.lost(too_large=too_large)

    def watch(self) -> None:
        """Notice the end, in whichever of its two ways the library tells of it: neither is told always."""

        async def gone(*_: object) -> None:
            # What came before the end is taken first; the library would throw its acknowledgements away.
            await asyncio.sleep(0)
            self.end()

        self._sio.on("disconnect", gone)
        reading = asyncio.ensure_future(asyncio.wait([asyncio.ensure_future(self._sio.eio.wait())]))
        reading.add_done_callback(lambda _: self.end())

    def said(self, event: str, argument: Any) -> None:
        """Take what the server says about a call, or about itself."""
        if not isinstance(argument, Mapping):
            return
        if event == "stream":
            call_id = argument.get("id")
            exchange = self._exchanges.get(call_id) if type(call_id) is int else None
            if exchange is not None:
                exchange.take(argument)
        elif event == "server" and isinstance(argument.get("reconnect_in"), int | float):
            self.reconnect_in = argument["reconnect_in"] / 1000

    async def _flushed(self) -> None:
        if self._posts:
            await asyncio.wait(list(self._posts))
        written = asyncio.ensure_future(self._sio.eio.queue.join())
        await asyncio.wait([written, self.lost], return_when=asyncio.FIRST_COMPLETED)
        written.cancel()

    async def _emit(self, event: str, argument: dict[str, Any], answered: Callable[..., None] | None = None) -> None:
        from socketio.exceptions import BadNamespaceError

        with contextlib.suppress(BadNamespaceError):  # it is being lost, of which the call will hear
            await self._sio.emit(event, argument, callback=answered)


async def _connect(place: Place, token: str | None, transport: str, hear: Hear) -> Link:
    import aiohttp

    connector = aiohttp.TCPConnector(ssl=place.ssl) if place.ssl is not None else None
    session = aiohttp.ClientSession(connector=connector, headers=dict(place.headers))
    refusals: list[dict[str, Any]] = []
    try:
        sio = _client(session, refusals)
        link = Link(sio, session)
        link.token = token

        async def heard(event: str, *arguments: Any) -> Any:
            argument = arguments[0] if len(arguments) == 1 else list(arguments) or None
            # Before anything is awaited: what comes is taken in the order in which it comes.
            link.said(event, argument)
            return None if event == "stream" else await hear(event, argument)

        sio.on("*", heard)
        await sio.connect(
            place.url,
            auth=None if token is None else {"token": token},
            transports=[transport],
            namespaces=["/"],
            socketio_path=place.path.strip("/"),
            wait_timeout=place.limit,
        )
        link.watch()
        return link
    except BaseException as error:
        await session.close()
        if refusals and isinstance(error, Exception):
            raise Refused(refusals[0]) from None
        raise


def _client(session: Any, refusals: list[dict[str, Any]]) -> Any:
    defer("socketio")  # else it imports what there is for message queues
    from socketio.async_client import AsyncClient

    quiet = logging.getLogger("jackfield.client.socketio")
    quiet.setLevel(logging.CRITICAL + 1)
    sio = AsyncClient(
        reconnection=False,
        handle_sigint=False,
        logger=quiet,
        engineio_logger=quiet,
        http_session=session,
        websocket_extra_options={"max_msg_size": 0},  # what was asked for may be long
    )

    sio.eio.queue = Portions()

    def refused(said: object = None) -> None:
        # A body with a `code` of its own is Engine.IO's: the request was refused, and nobody was asked to let us in.
        if isinstance(said, dict) and "message" in said and "code" not in said:
            data = said.get("data")
            refusals.append({"code": "unknown", **(data if isinstance(data, dict) else {}), "message": said["message"]})

    sio.on("connect_error", refused)
    return sio


def _first_cause(error: BaseException) -> BaseException:
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _in_short(error: BaseException) -> str:
    # Engine.IO's errors carry more than the sentence.
    return str(error.args[0]) if error.args and isinstance(error.args[0], str) else str(error) or type(error).__name__
