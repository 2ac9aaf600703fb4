"""A request for the Socket.IO endpoint, the same whichever carrier took it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Literal

Transport = Literal["polling", "websocket"]


class Request:
    """What a client asked for when it came, kept as long as its session lives.

    Args:
        query: The query string.
        headers: Names and values as they came.
        address: Its IP address; empty on a Unix socket.
        secure: Whether it came over TLS.
        transport: What carries it.
    """

    __slots__ = ("_headers", "address", "query", "secure", "transport")

    def __init__(
        self,
        query: str,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        address: str,
        secure: bool,
        transport: Transport,
    ) -> None:
        self.query = query
        self.address = address
        self.secure = secure
        self.transport = transport
        # One string of bytes is a fifth of what a dictionary costs, and there is one for every idle client.
        self._headers = b"\n".join(name + b":" + value for name, value in headers)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names in lower case; of one that came twice, the last."""
        pairs = (line.partition(b":") for line in self._headers.split(b"\n") if line)
        return read_headers((name, value) for name, _, value in pairs)

    def forget_cookies(self) -> None:
        """Leave nobody the cookies that came with it."""
        lines = self._headers.split(b"\n")
        self._headers = b"\n".join(line for line in lines if line.partition(b":")[0].lower() != b"cookie")

    def speaks_for(self, first: Request) -> bool:
        """Tell whether it shows the credentials that the session's first request showed."""
        shown, expected = self._credentials(), first._credentials()
        return expected is None or (shown is not None and hmac.compare_digest(shown, expected))

    def _credentials(self) -> bytes | None:
        value = self.headers.get("authorization")
        return None if value is None else hashlib.sha256(value.encode()).digest()


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return headers by their names in lower case; of one that came twice, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
