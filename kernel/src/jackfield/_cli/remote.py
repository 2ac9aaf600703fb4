"""Speak with a running server, as any other client does: through python-socketio."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from jackfield._errors import JackfieldError
from jackfield._settings import ServerSettings

CONNECT_LIMIT: Final = 2.0
"""Seconds that a server has to accept the connection."""
HANDSHAKE_LIMIT: Final = 8.0
"""Seconds until it has let the client in; it may have to ask somebody who that is."""
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - nothing listens because of this
_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}

Listener: TypeAlias = Callable[[str, Any], None]
"""Told of every event that the server emits."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line says of the server to speak with.

    Attributes:
        config: The configuration file.
        url: The address, if it was given.
        token: Who is calling.
    """

    config: Path | None = None
    url: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how to be let in.

    Attributes:
        url: Its address, without a path.
        path: The path of its Socket.IO endpoint.
        token: Who is calling.
    """

    url: str
    path: str
    token: str | None = None

    @classmethod
    def of(cls, target: Target, settings: ServerSettings) -> Address:
        """Return the address that was given, or else the one that the configuration says.

        Raises:
            NobodyThere: The configuration leaves the port to the system, or says a Unix socket.
        """
        if target.url is not None:
            parts = urlsplit(target.url)
            return cls(f"{parts.scheme}://{parts.netloc}", parts.path or settings.path, target.token)
        if settings.unix is not None:
            raise NobodyThere("server.unix is set, and commands speak over TCP only", "give an address with --url")
        if settings.port == 0:
            raise NobodyThere("server.port is 0, so nobody knows where the server is", "give its address with --url")
        host = _HERE.get(settings.host, settings.host)
        scheme = "http" if settings.tls_certificate is None else "https"
        host = f"[{host}]" if ":" in host else host
        return cls(f"{scheme}://{host}:{settings.port}", settings.path, target.token)


class RemoteError(JackfieldError):
    """A server that could not be asked.

    Args:
        reason: What is the matter.
        remedy: What to do about it, if that is known.
    """

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}: {remedy}" if remedy else reason)


class NobodyThere(RemoteError):
    """Nothing accepts a connection at the address."""


class ConnectionLost(RemoteError):
    """The connection ended before the answer came."""


class Refused(RemoteError):
    """The server does not let the client in.

    Args:
        url: The server.
        error: What it said, as the wire carries an error.
    """

    def __init__(self, url: str, error: dict[str, Any]) -> None:
        self.error = error
        super().__init__(f"{url} refuses the connection: {error.get('code')}: {error.get('message')}")


def need_client() -> None:
    """See that python-socketio has what it needs to be a client.

    Raises:
        RemoteError: aiohttp is not installed.
    """
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise RemoteError("speaking with a server needs aiohttp", 'pip install "jackfield[standard]"') from None


class Connection:
    """A connection to a server that has let the client in."""

    def __init__(self, sio: Any) -> None:
        self._sio = sio
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sio.on("disconnect", self._disconnected)

    async def request(self, envelope: dict[str, Any], *, limit: float | None = None) -> dict[str, Any]:
        """Send an envelope and return the reply.

        Args:
            envelope: What the Socket.IO event `event` carries.
            limit: Seconds to wait; as long as the connection lives if left out.

        Raises:
            ConnectionLost: The connection ended.
            RemoteError: The time was over, or what came back is no reply.
        """
        answer: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()

        def answered(*said: object) -> None:
            if not answer.done():
                answer.set_result(said)

        if not self._gone.done():
            try:
                await self._sio.emit("event", envelope, callback=answered)
            except RecursionError:
                raise RemoteError("the data is nested too deeply to be sent") from None
            waiting: list[asyncio.Future[Any]] = [answer, self._gone]
            await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return _reply(answer.result())
        if self._gone.done():
            raise ConnectionLost("the server closed the connection before it answered")
        raise RemoteError(f"the server did not answer within {limit:g} s")

    def _disconnected(self, *reason: object) -> None:
        if not self._gone.done():
            self._gone.set_result(None)


@asynccontextmanager
async def connected(address: Address, listener: Listener | None = None) -> AsyncIterator[Connection]:
    """Connect to a server, by websocket or, if that is not to be had, by polling.

    Args:
        address: Where it is.
        listener: Told of every event that the server emits.

    Raises:
        NobodyThere: Nothing listens there.
        Refused: The server does not let the client in.
        RemoteError: What listens there is no such server, or aiohttp is missing.
    """
    await _knock(address.url)
    need_client()
    import aiohttp

    async with aiohttp.ClientSession() as session:
        sio, connection = await _let_in(address, session, listener)
        try:
            yield connection
        finally:
            await sio.disconnect()


async def _knock(url: str) -> None:
    """See whether anything listens, before a client library is imported to find out."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(CONNECT_LIMIT):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or _PORTS[parts.scheme])
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        raise NobodyThere(f"no server answers at {url}", "start one with jackfield serve") from None
    writer.close()


async def _let_in(address: Address, session: object, listener: Listener | None) -> tuple[Any, Connection]:
    reason = "nothing of Socket.IO came back"
    for transport in ("websocket", "polling"):
        sio, refusals = _client(session, listener)
        connection = Connection(sio)
        try:
            async with asyncio.timeout(HANDSHAKE_LIMIT):
                await sio.connect(
                    address.url,
                    auth=None if address.token is None else {"token": address.token},
                    transports=[transport],
                    namespaces=["/"],
                    socketio_path=address.path.strip("/"),
                    wait_timeout=HANDSHAKE_LIMIT,
                )
            return sio, connection
        except TimeoutError:
            reason = f"it said nothing for {HANDSHAKE_LIMIT:g} s"
            break
        except Exception as error:  # noqa: BLE001 - what is no Socket.IO server makes the client raise anything
            if refusals:
                raise Refused(address.url, refusals[0]) from None
            cause = _first_cause(error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise RemoteError(
                    f"{address.url} shows a certificate that is not trusted ({cause.verify_message})",
                    "name the file of one that vouches for it in the variable SSL_CERT_FILE",
                ) from None
            reason = _in_short(cause)
    raise RemoteError(f"what answers at {address.url}{address.path} is no jackfield server ({reason})")


def _client(session: object, listener: Listener | None) -> tuple[Any, list[dict[str, Any]]]:
    import socketio

    quiet = logging.getLogger("jackfield.client")
    quiet.setLevel(logging.CRITICAL + 1)
    sio = socketio.AsyncClient(
        reconnection=False,
        handle_sigint=False,
        logger=quiet,
        engineio_logger=quiet,
        http_session=session,
        websocket_extra_options={"max_msg_size": 0},  # what was asked for may be long
    )
    refusals: list[dict[str, Any]] = []

    def refused(said: object = None) -> None:
        # A body with a `code` of its own is Engine.IO's: the request was refused, and nobody was asked to let us in.
        if isinstance(said, dict) and "message" in said and "code" not in said:
            data = said.get("data")
            refusals.append({"code": "unknown", **(data if isinstance(data, dict) else {}), "message": said["message"]})

    def heard(event: str, *arguments: object) -> None:
        if listener is not None:
            listener(event, arguments[0] if len(arguments) == 1 else list(arguments) or None)

    sio.on("connect_error", refused)
    sio.on("*", heard)
    return sio, refusals


def _reply(said: tuple[Any, ...]) -> dict[str, Any]:
    reply = said[0] if len(said) == 1 else None
    error = reply.get("error") if isinstance(reply, dict) else None
    if not isinstance(reply, dict) or not ("data" in reply or (isinstance(error, dict) and "code" in error)):
        raise RemoteError("what the server answered is no reply of jackfield's protocol")
    return reply


def _first_cause(error: BaseException) -> BaseException:
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _in_short(error: BaseException) -> str:
    # Engine.IO's errors carry more than the sentence.
    return str(error.args[0]) if error.args and isinstance(error.args[0], str) else str(error) or type(error).__name__
