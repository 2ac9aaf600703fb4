"""A server that listens with TLS, on IPv6 and on a Unix socket, with each carrier: the clients see no difference."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from tests.hardening.rounds import CARRIERS, config
from tests.interop.places import HERE, PLACES, Place, encrypt, javascript, make_certificate, settings
from tests.support.server import START_LIMIT, environment, launch, serving

ECHO = "api.services.test.echo"
REVERSE = "api.services.test.reverse"
SLEEP = "api.services.test.sleep"
LARGE = 900_000


@pytest.fixture(scope="module", params=CARRIERS, name="carrier")
def _carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=PLACES, name="place")
def _place(request: pytest.FixtureRequest, carrier: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp(request.param)
    with serving(folder, config=config(carrier, server=settings(request.param, folder))) as server:
        yield Place.of(server, folder)


@pytest.mark.parametrize("transports", [(), ("websocket",), ("polling",)], ids=["upgrade", "websocket", "polling"])
async def test_calls(place: Place, transports: tuple[str, ...]) -> None:
    """A stock client calls, with text and with a Buffer, small and large."""
    async with place.connected(*transports) as client:
        assert await client.call(ECHO, "hello") == {"data": "hello"}
        assert await client.call(REVERSE, b"abc") == {"data": b"cba"}
        assert await client.call(ECHO, "x" * LARGE) == {"data": "x" * LARGE}
        if transports != ("polling",):  # base64 takes a third more than one message may have
            assert await client.call(REVERSE, b"a" + bytes(LARGE)) == {"data": bytes(LARGE) + b"a"}
        assert client.sio.transport() == (transports[0] if transports else "websocket")


async def test_fragments_and_pings(place: Place) -> None:
    """A message in many frames is one message; a ping between them is answered at once, with what it held."""
    message = f'427["{ECHO}","{"x" * LARGE}"]'
    step = LARGE // 9
    pieces = [message[start : start + step] for start in range(0, len(message), step)]
    async with place.wire() as client:

        async def fragments():
            for number, piece in enumerate(pieces):
                if number:
                    await (await client.socket.ping(f"ping {number}"))
                yield piece

        await client.socket.send(fragments())
        assert await client.receive() == f'437[{{"data":"{"x" * LARGE}"}}]'


@pytest.mark.parametrize("code", [1000, 1001, 4321])
async def test_the_client_closes(place: Place, code: int) -> None:
    """Its code comes back to it."""
    async with place.wire() as client:
        await client.socket.close(code, "enough")
        assert client.socket.protocol.close_rcvd is not None
        assert client.socket.protocol.close_rcvd.code == code


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([Frame(Opcode.TEXT, b"junk")], 1008),
        ([Frame(Opcode.TEXT, b"4" * 1_000_001)], 1009),
        ([Frame(Opcode.CONT, b"out of place")], 1002),
    ],
    ids=["junk", "too-large", "out-of-place"],
)
async def test_the_server_closes(place: Place, frames: list[Frame], code: int) -> None:
    """A client that breaks the protocol is told how."""
    async with place.wire() as client:
        client.socket.transport.write(b"".join(frame.serialize(mask=True) for frame in frames))
        assert await client.closed() == code


async def test_the_server_stops(carrier: str, tmp_path: Path, place_name: str) -> None:
    """A call that runs gets its answer, then the websocket is closed with 1012; nothing of a Unix socket is left."""
    with serving(tmp_path, config=config(carrier, server=settings(place_name, tmp_path))) as server:
        place = Place.of(server, tmp_path)
        async with place.wire() as client:
            await client.send(f'421["{SLEEP}",{{"seconds":0.3}}]', f'422["{ECHO}",1]')
            assert await client.receive() == '432[{"data":1}]'
            server.process.terminate()
            assert str(await client.receive()).startswith('42["server",{"state":"draining"')
            assert await client.receive() == '431[{"data":{"seconds":0.3}}]'
            assert await client.closed() == 1012
        assert server.stop() == 0
    assert not (tmp_path / "s").exists()


@pytest.fixture(params=PLACES, name="place_name")
def _place_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_javascript_client(carrier: str, tmp_path: Path, require_all: bool) -> None:
    """It connects over TLS as over anything else, if it trusts the certificate."""
    if shutil.which("node") is None or not (HERE / "node_modules/socket.io-client").is_dir():
        (pytest.fail if require_all else pytest.skip)("there is no JavaScript client")
    with serving(tmp_path, config=config(carrier, server=settings("tls", tmp_path))) as server:
        seen = javascript(server.url, {**os.environ, "NODE_EXTRA_CA_CERTS": str(tmp_path / "server.pem")})
    assert seen == {"began": "polling", "ended": "websocket", "reversed": "cba"}


@pytest.mark.parametrize(("name", "url"), [("tls", "https://127.0.0.1:"), ("ipv6", "http://[::1]:"), ("unix", "unix:")])
def test_the_announcement(tmp_path: Path, name: str, url: str) -> None:
    """The address is the one to connect to, and the carrier the one that is set."""
    with serving(tmp_path, config=config("asgi", server=settings(name, tmp_path))) as server:
        assert server.url.startswith(url)
        assert server.ready["websocket"] == "asgi"


# What keeps it from listening.


def failed(folder: Path, *lines: str) -> list[str]:
    """Start a server that must not come up, and return what it says."""
    process, log = launch(folder, config="[server]\n" + "\n".join(lines))
    out, _ = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (3, b""), log.read_text()
    return log.read_text().splitlines()


def test_tls_files_that_are_missing(tmp_path: Path) -> None:
    """Each is named, with its setting."""
    certificate, key = tmp_path / "no.pem", tmp_path / "no.key"
    assert failed(tmp_path / "s", f'tls_certificate = "{certificate}"', f'tls_key = "{key}"') == [
        f"✗ cannot serve TLS: {certificate}: No such file or directory (server.tls_certificate)",
        f"✗ cannot serve TLS: {key}: No such file or directory (server.tls_key)",
    ]


@pytest.mark.full
@pytest.mark.parametrize("spoiled", ["certificate", "key", "neither", "password"])
def test_tls_files_that_are_no_pair(tmp_path: Path, spoiled: str) -> None:
    """Garbled, of two different pairs, or a key with a password: nobody is asked for anything, and all is said."""
    certificate, key = make_certificate(tmp_path)
    if spoiled == "neither":
        _, key = make_certificate(tmp_path, "other")
    elif spoiled == "password":
        encrypt(key)
    else:
        {"certificate": certificate, "key": key}[spoiled].write_text("garbled")
    [fault] = failed(tmp_path / "s", f'tls_certificate = "{certificate}"', f'tls_key = "{key}"')
    assert fault.startswith(
        f"✗ cannot serve TLS with {certificate} and {key}: a certificate and the key that belongs to it are needed, "
        "in PEM and without a password ("
    )
    assert fault.endswith("; server.tls_certificate, server.tls_key)")


@pytest.mark.full
def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    """Where the key is in no file of its own, the certificate's holds it."""
    certificate, key = make_certificate(tmp_path)
    [fault] = failed(tmp_path / "s", f'tls_certificate = "{certificate}"')
    assert fault.startswith(f"✗ cannot serve TLS with {certificate}: a certificate and the key that belongs to it")
    certificate.write_text(certificate.read_text() + key.read_text())
    with serving(tmp_path / "s", config=f'[server]\ntls_certificate = "{certificate}"') as server:
        assert server.url.startswith("https://")


@pytest.mark.full
def test_an_ipv6_port_that_is_taken(tmp_path: Path) -> None:
    """The fault names the address."""
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process, log = launch(tmp_path, "--port", str(port), config='[server]\nhost = "::1"')
        assert process.communicate(timeout=START_LIMIT)[0] == b""
    assert process.returncode == 3
    assert log.read_text() == (
        f"✗ cannot listen on ::1:{port}: Address already in use (server.host, server.port)"
        "   → stop what listens there, or take another port: --port 0 takes a free one\n"
    )


@pytest.mark.full
def test_a_unix_socket_where_something_is(tmp_path: Path) -> None:
    """A file stays what it is, and so does the socket of a server that runs."""
    file = tmp_path / "file"
    file.write_text("precious")
    assert failed(tmp_path / "s", f'unix = "{file}"') == [
        f"✗ cannot listen on {file}: there is a file that is no socket (server.unix)"
    ]
    assert file.read_text() == "precious"
    taken = tmp_path / "taken"
    with serving(tmp_path / "first", config=f'[server]\nunix = "{taken}"') as first:
        assert failed(tmp_path / "s", f'unix = "{taken}"') == [
            f"✗ cannot listen on {taken}: somebody listens there (server.unix)"
        ]
        assert taken.is_socket()
        assert first.stop() == 0


@pytest.mark.full
def test_a_unix_socket_that_cannot_be(tmp_path: Path) -> None:
    """A folder that is not there, and a path that is longer than such a path may be."""
    nowhere, long = tmp_path / "no/where", tmp_path / ("x" * 120)
    assert failed(tmp_path / "s", f'unix = "{nowhere}"') == [
        f"✗ cannot listen on {nowhere}: No such file or directory (server.unix)"
    ]
    assert failed(tmp_path / "s", f'unix = "{long}"') == [
        f"✗ cannot listen on {long}: AF_UNIX path too long (server.unix)"
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_unix_socket_where_nobody_may_write(tmp_path: Path) -> None:
    """The fault says so."""
    (tmp_path / "closed").mkdir(mode=0o500)
    path = tmp_path / "closed/s"
    assert failed(tmp_path / "s", f'unix = "{path}"') == [f"✗ cannot listen on {path}: Permission denied (server.unix)"]


@pytest.mark.full
async def test_a_unix_socket_that_was_left_behind(tmp_path: Path) -> None:
    """That of a server which was killed is replaced."""
    lines = f'[server]\nunix = "{tmp_path / "s"}"'
    with serving(tmp_path / "first", config=lines) as first:
        first.process.kill()
        first.process.wait(START_LIMIT)
    assert (tmp_path / "s").is_socket()
    with serving(tmp_path / "second", config=lines) as second:
        async with Place.of(second, tmp_path).connected() as client:
            assert await client.call(ECHO, 1) == {"data": 1}


@pytest.mark.full
@pytest.mark.parametrize("trusted", [True, False])
def test_a_command_that_calls(tmp_path: Path, trusted: bool) -> None:
    """`jackfield call` speaks TLS; a certificate for which nobody vouches is said to be one, with the way out."""
    with serving(tmp_path, config=f"[server]\n{settings('tls', tmp_path)}") as server:
        done = subprocess.run(
            [sys.executable, "-m", "jackfield", "call", ECHO, "1", "--url", server.url],
            env=environment(env={"SSL_CERT_FILE": str(tmp_path / "server.pem")} if trusted else {}),
            capture_output=True,
            text=True,
            timeout=START_LIMIT,
            check=False,
        )
    if trusted:
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"✗ {server.url} shows a certificate that is not trusted (self-signed certificate): "
            "name the file of one that vouches for it in the variable SSL_CERT_FILE\n"
        )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('unix = "s"', "server.unix is set, and commands speak over TCP only: give an address with --url"),
        (
            'tls_certificate = "c"\nport = 1',
            "no server answers at https://127.0.0.1:1: start one with jackfield serve",
        ),
    ],
)
def test_where_a_command_looks_for_the_server(tmp_path: Path, lines: str, said: str) -> None:
    """Where the configuration says that it is."""
    (tmp_path / "jackfield.toml").write_text(f"[server]\n{lines}\n")
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", "call", ECHO],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"✗ {said}\n")
