"""nginx and HAProxy with the files that operators copy, in front of real servers."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.plugins import write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until

CONTRIB = Path(__file__).parents[2] / "contrib"
LIMIT = 20
TEMPLATE_SERVERS = ("10.0.0.11:8000", "10.0.0.12:8000")

_WHERE = """
    import asyncio
    import json
    import os

    from jackfield import Call, Principal, Service, hookimpl

    service = Service("api.where")

    @service.function
    async def here(call: Call) -> dict[str, object]:
        return {"pid": os.getpid(), "address": call.client.address, "shown": json.loads(call.principal.id)}

    @service.function
    async def shout(call: Call, data: str) -> None:
        await call.kernel.emit("shout", data)

    @service.function
    async def wait(call: Call) -> str:
        open("begun", "w").close()
        while not os.path.exists("enough"):
            await asyncio.sleep(0.02)
        return "done"

    @hookimpl
    async def jackfield_authenticate(handshake):
        shown = {name: value for name, value in handshake.headers.items() if "forward" in name or "real" in name}
        return Principal(json.dumps(shown))

    @hookimpl
    def jackfield_services():
        return [service]
"""


_CONFIG = """
[server]
ping_interval = 1.0
{server}
[[access.rules]]
functions = ["*"]
requires = []
"""


@contextmanager
def node(folder: Path, *arguments: str, server: str = "", more: str = "") -> Iterator[Server]:
    """Run a server that tells which one it is: `api.where.here`.

    It pings every second: by polling, python-socketio's client at times says no goodbye, and waits for the next ping.
    `server` is more lines of the table `[server]`, `more` other tables.
    """
    plugins = write_plugin(folder / "plugins", "where", _WHERE, namespaces=["api.where"])
    with serving(folder, *arguments, config=_CONFIG.format(server=server) + more, path=[plugins]) as up:
        yield up


@dataclass
class Proxy:
    """A proxy that is up.

    Attributes:
        url: Where clients find it.
        process: The process.
        output: What it says.
        access: What it says of requests.
    """

    url: str
    process: subprocess.Popen[bytes]
    output: Path
    access: Path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def address_of(server: Server) -> str:
    """Return host and port of a server."""
    return server.url.removeprefix("http://")


def program(name: str, require_all: bool) -> str:
    """Return the path of a program; without it the test is skipped, or fails in CI."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        (pytest.fail if require_all else pytest.skip)(f"there is no {name}")
    return found


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Return a template with these addresses and paths exchanged, each of which has to be in it."""
    for old, new in pairs:
        assert old in text, f"{old} is not in the template"
        text = text.replace(old, new)
    return text


def nginx_files(folder: Path, port: int, servers: Sequence[str]) -> list[str]:
    """Write the template, and around it what the package of nginx brings; return the arguments of nginx."""
    template = (CONTRIB / "nginx/jackfield.conf").read_text(encoding="utf-8")
    (folder / "jackfield.conf").write_text(
        replaced(
            template,
            *zip(TEMPLATE_SERVERS, servers, strict=True),
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            ("/var/log/nginx", str(folder)),
        ),
        encoding="utf-8",
    )
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nworker_processes 2;\nerror_log {folder}/error.log warn;\n"
        f"events {{}}\nhttp {{\n{temporary}    include {folder}/jackfield.conf;\n}}\n",
        encoding="utf-8",
    )
    return ["-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy_files(folder: Path, port: int, servers: Sequence[str]) -> list[str]:
    """Write the template, and return the arguments of HAProxy."""
    template = (CONTRIB / "haproxy/haproxy.cfg").read_text(encoding="utf-8")
    (folder / "haproxy.cfg").write_text(
        replaced(
            template,
            *zip(TEMPLATE_SERVERS, servers, strict=True),
            ("bind :80\n", f"bind 127.0.0.1:{port}\n"),
            ("/run/haproxy/admin.sock", str(folder / "admin.sock")),
        ),
        encoding="utf-8",
    )
    return ["-f", str(folder / "haproxy.cfg")]


FILES: dict[str, Callable[[Path, int, Sequence[str]], list[str]]] = {"nginx": nginx_files, "haproxy": haproxy_files}
ACCESS = {"nginx": "jackfield.log", "haproxy": "output.log"}
CHECK = {"nginx": "-t", "haproxy": "-c"}


@contextmanager
def proxying(kind: str, executable: str, folder: Path, *servers: str) -> Iterator[Proxy]:
    """Run a proxy in front of servers until the block ends.

    Args:
        kind: `nginx` or `haproxy`.
        executable: The program.
        folder: Where it keeps everything.
        servers: Host and port of each.
    """
    folder.mkdir(parents=True)
    port = free_port()
    arguments = FILES[kind](folder, port, servers)
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen([executable, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield Proxy(f"http://127.0.0.1:{port}", process, log, folder / ACCESS[kind])
    finally:
        process.terminate()
        process.wait(LIMIT)


async def is_up(proxy: Proxy) -> None:
    """Wait until a proxy listens."""
    port = int(proxy.url.rpartition(":")[2])

    def listens() -> bool:
        assert proxy.process.poll() is None, proxy.output.read_text(encoding="utf-8")
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", port)) == 0

    await until(listens)


def visitor(number: int) -> aiohttp.ClientSession:
    """Return the session of a client whose address is 127.0.0.`number`."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(f"127.0.0.{number}", 0)))


def session_ids(text: str) -> list[str]:
    """Return the ids of sessions that a log shows."""
    return re.findall(r"sid=[\w-]+", text)
