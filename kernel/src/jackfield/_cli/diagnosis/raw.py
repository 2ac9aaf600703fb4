"""Engine.IO by hand, one request a connection, to see what becomes of each."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from jackfield._errors import JackfieldError
from jackfield.client._place import Place

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientWebSocketResponse

_NO_CODE: Final = 1006
LIMIT: Final = 10.0
"""Seconds for one answer."""


class Lost(JackfieldError):
    """A request or a connection that came to nothing; the message says how."""


def has_client() -> bool:
    """Tell whether there is what it takes to speak HTTP."""
    return find_spec("aiohttp") is not None


async def opened(at: Place) -> dict[str, Any]:
    """Open a session by polling, and return what the server says of it.

    Raises:
        Lost: No Socket.IO server has answered.
    """
    async with Polling(at) as session:
        return session.terms


class _Session(ABC):
    """What both carriers have: packets that go and come, and calls in them.

    Args:
        at: Where the server is.
        headers: More headers of each request.
    """

    name: ClassVar[str]
    terms: dict[str, Any]
    """What the server said when it opened the session."""
    own: str | None = None
    """The address of this client, as this machine knows it."""

    def __init__(self, at: Place, headers: Mapping[str, str] | None = None) -> None:
        self._at = at
        self._headers = {**at.headers, **(headers or {})}
        self._http: ClientSession
        self._acks = 0

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            Lost: It could not be opened.
        """
        self._http = self._client()
        try:
            self.terms = await self._open()
        except BaseException:
            await self._http.close()
            raise
        return self

    @abstractmethod
    def _client(self) -> ClientSession:
        """Return what speaks HTTP."""

    @abstractmethod
    async def _open(self) -> dict[str, Any]:
        """Open it, and return what the server says of it."""

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""

    @abstractmethod
    async def post(self, packet: str) -> None:
        """Send a packet."""

    @abstractmethod
    async def packet(self) -> str:
        """Return the next packet that comes."""

    async def join(self) -> str | None:
        """Say CONNECT; return why the server does not let this client in, or None if it does.

        Raises:
            Lost: There was no answer.
        """
        token = self._at.token
        await self.post("40" if token is None else f"40{json.dumps({'token': token})}")
        answer = await self._message("40", "44")
        return None if answer.startswith("40") else str(_loaded(answer[2:]).get("message", answer))

    async def call(self, event: str, size: int = 0) -> Any:
        """Call a function, and return its result, or None if it has failed.

        Args:
            event: The function.
            size: Bytes that the packet is to have, by an argument that means nothing.

        Raises:
            Lost: There was no answer.
        """
        self._acks += 1
        envelope: dict[str, str] = {"event": event}
        if size:
            envelope["data"] = ""
        bare = len(self._event(envelope))
        if size:
            envelope["data"] = " " * (size - bare)
        await self.post(self._event(envelope))
        head = f"43{self._acks}"
        reply = _loaded((await self._message(f"{head}["))[len(head) :])
        return reply[0].get("data") if isinstance(reply, list) and reply and isinstance(reply[0], dict) else None

    async def delay(self) -> tuple[float, float]:
        """Return the seconds that an ordinary request takes, and those until a client that waits hears something."""
        before = time.monotonic()
        async with type(self)(self._at):
            usual = time.monotonic() - before
        waiting = asyncio.ensure_future(self.packet())
        try:
            await asyncio.sleep(0)
            self._acks += 1
            before = time.monotonic()
            await self.post(self._event({"event": "api.system.ping"}))
            await waiting
        finally:
            waiting.cancel()
        return usual, time.monotonic() - before

    async def _message(self, *wanted: str) -> str:
        while not (packet := await self.packet()).startswith(wanted):
            if packet == "2":
                await self.post("3")
            elif packet == "1":
                raise Lost("the server has closed the session")
        return packet

    def _event(self, envelope: Mapping[str, str]) -> str:
        return f"42{self._acks}{json.dumps(['event', envelope])}"

    def _url(self, transport: str, sid: str | None = None) -> str:
        path = self._at.path.rstrip("/")
        return f"{self._at.url}{path}/?EIO=4&transport={transport}" + (f"&sid={sid}" if sid else "")


class Polling(_Session):
    """A session by polling, without cookies."""

    name = "polling"
    cookies: ClassVar = False

    def __init__(self, at: Place, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(at, headers)
        self._sid: str | None = None
        self._waiting: list[str] = []

    def _client(self) -> ClientSession:
        import aiohttp

        jar = aiohttp.CookieJar(unsafe=True) if self.cookies else aiohttp.DummyCookieJar()
        # Proxies that pass on connections keep requests on one of them together, whatever else they do.
        connector = aiohttp.TCPConnector(force_close=True, ssl=self._at.ssl or True)
        return aiohttp.ClientSession(connector=connector, cookie_jar=jar, headers=self._headers)

    async def _open(self) -> dict[str, Any]:
        first, *self._waiting = (await self._ask("GET")).split("\x1e")
        terms = _terms(first)
        self._sid = terms["sid"]
        return terms

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""
        try:
            if error is None:
                await self.post("1")
        except Lost:
            pass  # it is closed already
        finally:
            await self._http.close()

    async def post(self, packet: str) -> None:
        """Send a packet.

        Raises:
            Lost: It was refused.
        """
        await self._ask("POST", packet)

    async def packet(self) -> str:
        """Return the next packet that comes.

        Raises:
            Lost: The poll was refused.
        """
        while not self._waiting:
            self._waiting = (await self._ask("GET")).split("\x1e")
        return self._waiting.pop(0)

    async def _ask(self, method: str, body: str | None = None) -> str:
        import aiohttp

        try:
            async with (
                asyncio.timeout(LIMIT),
                self._http.request(method, self._url("polling", self._sid), data=body) as response,
            ):
                text = await response.text(errors="replace")
                if response.status != 200:
                    raise Lost(_refused(response.status, text))
                return text
        except TimeoutError:
            raise Lost(f"no answer to a {method} within {LIMIT:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(_reason(error)) from None


class WithCookies(Polling):
    """A session by polling that keeps cookies, as browsers do."""

    cookies = True


class Websocket(_Session):
    """A session by websocket, from the start."""

    name = "websocket"
    _socket: ClientWebSocketResponse

    def _client(self) -> ClientSession:
        import aiohttp

        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._at.ssl or True), headers=self._headers)

    async def _open(self) -> dict[str, Any]:
        import aiohttp

        try:
            async with asyncio.timeout(LIMIT):
                self._socket = await self._http.ws_connect(self._url("websocket"))
                terms = _terms(await self.packet())
        except TimeoutError:
            raise Lost(f"no answer within {LIMIT:g} s") from None
        except aiohttp.WSServerHandshakeError as error:
            raise Lost(f"status {error.status}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(_reason(error)) from None
        own = self._socket.get_extra_info("sockname")
        self.own = own[0] if own else None
        return terms

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""
        await self._socket.close()
        await self._http.close()

    async def post(self, packet: str) -> None:
        """Send a packet."""
        try:
            await self._socket.send_str(packet)
        except (ConnectionError, RuntimeError) as error:
            raise Lost(_reason(error)) from None

    async def packet(self) -> str:
        """Return the next packet that comes.

        Raises:
            Lost: The connection has gone.
        """
        import aiohttp

        try:
            async with asyncio.timeout(LIMIT):
                message = await self._socket.receive()
        except TimeoutError:
            raise Lost(f"nothing comes within {LIMIT:g} s") from None
        if message.type is not aiohttp.WSMsgType.TEXT:
            code = self._socket.close_code
            raise Lost(f"the connection was closed{f' with {code}' if code not in (None, _NO_CODE) else ''}")
        return str(message.data)


def _terms(packet: str) -> dict[str, Any]:
    terms = _loaded(packet[1:]) if packet.startswith("0") else None
    if not isinstance(terms, dict) or not isinstance(terms.get("sid"), str):
        raise Lost("what answers is no Socket.IO server")
    return terms


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Lost("what answers is no Socket.IO server") from None


def _refused(status: int, text: str) -> str:
    try:
        said = json.loads(text)["message"]
    except (ValueError, TypeError, KeyError):
        return f"status {status}"
    return f"status {status}, {said}"


def _reason(error: Exception) -> str:
    """Return what an error says, or its name."""
    own = getattr(error, "os_error", None) or error
    return str(getattr(own, "strerror", None) or own or type(error).__name__)
