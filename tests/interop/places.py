"""Where a server can listen, and how each kind of client gets there."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import socketio
from aiohttp.connector import AddrInfoType
from websockets.asyncio.client import connect, unix_connect

from tests.support.client import Client
from tests.support.server import Server
from tests.support.waiting import until
from tests.support.wire import Wire

PLACES = ["tls", "ipv6", "unix"]
HERE = Path(__file__).parent
LIMIT = 30


def make_certificate(folder: Path, name: str = "server") -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself; return its file and its key's."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
        *("-keyout", str(key), "-out", str(certificate)),
        *("-subj", "/CN=jackfield", "-addext", "subjectAltName=IP:127.0.0.1"),
    )
    return certificate, key


def encrypt(key: Path) -> None:
    """Give a key a password."""
    _openssl("pkcs8", "-topk8", "-in", str(key), "-out", f"{key}.new", "-passout", "pass:secret")
    Path(f"{key}.new").replace(key)


def _openssl(*arguments: str) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "there is no `openssl` to make a certificate with"
    done = subprocess.run([openssl, *arguments], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr


def settings(place: str, folder: Path) -> str:
    """Return the lines of `[server]` for a place, with whatever it needs made in the folder."""
    if place == "tls":
        certificate, key = make_certificate(folder)
        return f'tls_certificate = "{certificate}"\ntls_key = "{key}"'
    return {"ipv6": 'host = "::1"', "unix": f'unix = "{folder / "s"}"'}[place]


@dataclass(frozen=True)
class Place:
    """A server that listens somewhere.

    Attributes:
        server: The server.
        url: What clients are given as its address; on a Unix socket the host in it means nothing.
        unix: The Unix socket.
        trust: The context of clients that trust its certificate.
    """

    server: Server
    url: str
    unix: str | None = None
    trust: ssl.SSLContext | None = None

    @classmethod
    def of(cls, server: Server, folder: Path) -> Place:
        """Return the place that the server announces."""
        if server.url.startswith("unix:"):
            return cls(server, "http://unix", unix=server.url.removeprefix("unix:"))
        if server.url.startswith("https:"):
            return cls(server, server.url, trust=ssl.create_default_context(cafile=folder / "server.pem"))
        return cls(server, server.url)

    @asynccontextmanager
    async def connected(self, *transports: str) -> AsyncIterator[Client]:
        """Connect python-socketio's client; by default as it does: polling, then the upgrade."""
        sockets: list[socket.socket] = []

        def make_socket(address: AddrInfoType) -> socket.socket:
            sockets.append(socket.socket(*address[:3]))
            return sockets[-1]

        connector: aiohttp.BaseConnector = (
            aiohttp.TCPConnector(ssl=self.trust or True, socket_factory=make_socket)
            if self.unix is None
            else aiohttp.UnixConnector(self.unix)
        )
        async with aiohttp.ClientSession(connector=connector) as session:
            client = Client(socketio.AsyncClient(reconnection=False, http_session=session))
            await client.sio.connect(self.url, transports=list(transports) or None)
            try:
                yield client
            finally:
                await client.sio.disconnect()
        # The client goes on without waiting for the end of a connection with TLS, which both sides have to declare.
        await until(lambda: all(each.fileno() == -1 for each in sockets))

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """Open a websocket by hand, and connect to the namespace `/`."""
        address = self.url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        options: dict[str, Any] = {"max_size": None, "compression": None, "ping_interval": None}
        opening = (
            connect(address, ssl=self.trust, **options)
            if self.unix is None
            else unix_connect(self.unix, address, **options)
        )
        async with opening as socket:
            opened = Wire(socket)
            assert str(await opened.receive()).startswith("0{")
            assert str(await opened.join()).startswith("40{")
            yield opened


def javascript(url: str, env: dict[str, str], *path: str) -> Any:
    """Let the JavaScript client connect as it does by default, and call; return what it tells."""
    done = subprocess.run(
        ["node", str(HERE / "visitor.cjs"), url, *path],
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
