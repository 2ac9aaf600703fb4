"""A connection on python-socketio's client: websocket or polling, whichever works."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Callable
from typing import Any, Final

from jackfield._deferred import defer
from jackfield.client._errors import ConnectError, Refused
from jackfield.client._link import Hear, Link
from jackfield.client._place import Place, knock, need_client
from jackfield.client._portions import Portions
from jackfield.client._token import fresh

_TOO_LARGE: Final = 1009
"""The code with which a websocket is closed whose message was too large."""
_NOBODY: Final = re.compile(r"(?:^|status code )50[234]\b")
"""The status with which a proxy says that it has no server to ask, and a server that it takes no clients now."""


class SocketIO:
    """What carries a link.

    Args:
        sio: The Socket.IO client.
        session: The HTTP session under it, which is closed with it.
    """

    def __init__(self, sio: Any, session: Any) -> None:
        self.sio = sio
        self._session = session

    @property
    def too_large(self) -> bool:
        """Whether the server has closed it because a message was too large."""
        return getattr(self.sio.eio.ws, "close_code", None) == _TOO_LARGE

    async def emit(self, event: str, argument: dict[str, Any], answered: Callable[..., None] | None) -> None:
        """Send an event."""
        from socketio.exceptions import BadNamespaceError

        with contextlib.suppress(BadNamespaceError):  # it is being lost, of which the call will hear
            await self.sio.emit(event, argument, callback=answered)

    async def written(self) -> None:
        """Return when all that was emitted is on its way."""
        await self.sio.eio.queue.join()

    async def leave(self) -> None:
        """Say good-bye."""
        await self.sio.disconnect()

    async def release(self) -> None:
        """Let go of the HTTP session."""
        await self._session.close()

    def end(self) -> None:
        """End what would go on by itself."""
        for task in (self.sio.eio.read_loop_task, self.sio.eio.write_loop_task):
            # After a close by the server over polling they would wait for one another, for half a minute.
            if task is not None:
                task.cancel()

    def watch(self, link: Link) -> None:
        """Notice the end, in whichever of its two ways the library tells of it: neither is told always."""

        async def gone(*_: object) -> None:
            # What came before the end is taken first; the library would throw its acknowledgements away.
            await asyncio.sleep(0)
            link.end()

        self.sio.on("disconnect", gone)
        reading = asyncio.ensure_future(asyncio.wait([asyncio.ensure_future(self.sio.eio.wait())]))
        reading.add_done_callback(lambda _: link.end())


async def open_link(place: Place, hear: Hear) -> Link:
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
    if _NOBODY.search(reason):
        raise ConnectError(f"no server takes clients at {place.url}{place.path} now ({reason})")
    raise ConnectError(f"what answers at {place.url}{place.path} is no jackfield server ({reason})")


async def _connect(place: Place, token: str | None, transport: str, hear: Hear) -> Link:
    import aiohttp

    connector = aiohttp.TCPConnector(ssl=place.ssl) if place.ssl is not None else None
    session = aiohttp.ClientSession(connector=connector, headers=dict(place.headers))
    refusals: list[dict[str, Any]] = []
    try:
        sio = _client(session, refusals)
        carrier = SocketIO(sio, session)
        link = Link(carrier)
        link.token = token

        async def heard(event: str, *arguments: Any) -> Any:
            return await link.heard(event, arguments, hear)

        sio.on("*", heard)
        await sio.connect(
            place.url,
            auth=place.auth if token is None else {"token": token},
            transports=[transport],
            namespaces=["/"],
            socketio_path=place.path.strip("/"),
            wait_timeout=place.limit,
        )
        carrier.watch(link)
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
