"""`jackfield doctor`."""

from __future__ import annotations

import re
import resource
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cli.gateways import Faults, gateway
from tests.cli.shell import Hide, Invoke, Result, Shell
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving

GUARD = """
    from jackfield import Handshake, Principal, hookimpl

    @hookimpl
    async def jackfield_authenticate(handshake: Handshake):
        token = (handshake.auth or {}).get("token")
        return Principal("ann") if token == "sesame" else None
"""


def found(result: Result) -> dict[str, dict[str, Any]]:
    """Return the findings by their checks."""
    return {one.pop("check"): one for one in result.json["findings"]}


# ------------------------------------------------------------------- this machine


def test_what_is_live_and_what_is_missing(shell: Shell, unloadable: Hide) -> None:
    """Versions, implementations, limits; without a fault the status is 0."""
    result = shell("doctor", env={"JACKFIELD_SERVER__PORT": "0"})
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("python 3.")
    for line in ("✓  websocket      picows ", "✓  loop           uvloop ", "✓  http           httptools "):
        assert f"\n{line}" in result.out
    result = shell("doctor", "--json", env={"JACKFIELD_SERVER__PORT": "0"}, path=[unloadable("picows")])
    assert result.status == 1
    assert result.json["ok"] is False
    assert result.json["versions"]["jackfield"] == "0.1.0"
    assert found(result)["picows"] == {
        "status": "fault",
        "what": "it is installed and cannot be imported: ImportError: picows",
        "todo": "pip install --force-reinstall picows",
    }


def test_a_configuration_that_cannot_be_read_is_a_fault(invoke: Invoke) -> None:
    """Each of its faults is one."""
    result = invoke("doctor", "--json", config="[server]\nprot = 1\n")
    assert result.status == 1
    assert found(result)["configuration"]["what"] == (
        "server.prot: there is no such key; did you mean server.port? (jackfield.toml)"
    )


def test_files_that_others_can_read_or_change(invoke: Invoke, tmp_path: Path) -> None:
    """A file with secrets is not for everybody's eyes, and no file for everybody's hands."""
    file = tmp_path / "jackfield.toml"
    plain, secret = "", '[plugins.demo]\ntoken = "x"\n'
    elsewhere = '[plugins.jwt]\nsecret_file = "/etc/secret"\npublic_key_file = "key.pem"\n'
    for text, mode, status in (
        (plain, 0o644, "ok"),
        (elsewhere, 0o644, "ok"),
        (plain, 0o646, "fault"),
        (secret, 0o640, "ok"),
        (secret, 0o644, "warning"),
    ):
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        result = invoke("doctor", "--json", env={"JACKFIELD_SERVER__PORT": "0"})
        assert found(result)["configuration"]["status"] == status
        assert result.status == (status == "fault")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "jackfield_plugins__demo__token").write_text("x", encoding="utf-8")
    result = invoke("doctor", "--json", env={"JACKFIELD_SECRETS_DIR": "secrets"})
    assert found(result)["secrets"]["what"] == "everybody can read jackfield_plugins__demo__token in secrets"
    file.write_text(plain, encoding="utf-8")
    result = invoke("doctor", "--json", env={"JACKFIELD_SECRETS_DIR": "secrets"})
    assert found(result)["configuration"]["status"] == "ok"  # the secret is not in it


def write_certificate(file: Path, begin: timedelta, end: timedelta) -> None:
    """Write a certificate for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 17, now + begin, now + end)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signed = builder.sign(key, hashes.SHA256())
    file.touch(mode=0o600)
    file.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    ("begin", "end", "status", "what"),
    [
        (-1, 400, "ok", "tls.pem, good until "),
        (-1, 20_000, "ok", "tls.pem, good until 20"),  # past 2049 the year has four digits
        (-30, 5, "warning", "tls.pem expires on "),
        (-30, -5, "fault", "tls.pem has expired on "),
        (2, 5, "fault", "tls.pem is good from "),
    ],
)
def test_until_when_the_certificate_is_good(
    invoke: Invoke, tmp_path: Path, begin: int, end: int, status: str, what: str
) -> None:
    """Before clients find out."""
    write_certificate(tmp_path / "tls.pem", timedelta(days=begin), timedelta(days=end))
    result = invoke("doctor", "--json", config='[server]\ntls_certificate = "tls.pem"\n')
    one = found(result)["certificate"]
    assert one["status"] == status
    assert one["what"].startswith(what)
    assert "key" not in found(invoke("doctor", "--json"))
    (tmp_path / "tls.pem").chmod(0o644)
    assert found(invoke("doctor", "--json"))["key"]["todo"] == "chmod o-r tls.pem"


def test_a_certificate_that_cannot_be_served(invoke: Invoke) -> None:
    """As a server would say it."""
    result = invoke("doctor", "--json", config='[server]\ntls_certificate = "no.pem"\n')
    assert found(result)["certificate"]["what"] == (
        "cannot serve TLS: no.pem: No such file or directory (server.tls_certificate)"
    )


def test_few_open_files_are_a_warning(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number of clients that they are enough for."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1124, 9000))
    one = found(invoke("doctor", "--json"))["open files"]
    assert (one["status"], one["what"]) == (
        "warning",
        "1124 (9000 can be set): enough for about 1024 clients in each process",
    )


def test_who_has_the_port(invoke: Invoke, server: Server, tmp_path: Path) -> None:
    """A server of ours, somebody else, or nobody; a Unix socket that is not there is free, and left so."""
    port = server.url.rpartition(":")[2]
    result = invoke("doctor", "--json", env={"JACKFIELD_SERVER__PORT": port})
    assert found(result)["address"] == {
        "status": "ok",
        "what": f"jackfield 0.1.0 serves at {server.url} already",
        "todo": None,
    }
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = invoke("doctor", "--json", env={"JACKFIELD_SERVER__PORT": port})
        assert found(result)["address"] == {
            "status": "fault",
            "what": f"cannot listen on 127.0.0.1:{port}: Address already in use (server.host, server.port)",
            "todo": "stop what listens there, or set server.host and server.port",
        }
        assert result.status == 1
    result = invoke("doctor", "--json", env={"JACKFIELD_SERVER__PORT": port})
    assert found(result)["address"]["what"] == f"127.0.0.1:{port} is free"
    result = invoke("doctor", "--json", env={"JACKFIELD_SERVER__UNIX": "socket"})
    assert found(result)["address"]["what"] == "socket is free"
    assert not (tmp_path / "socket").exists()


def test_why_the_server_here_is_not_ready(invoke: Invoke, tmp_path: Path) -> None:
    """What /readyz?verbose says, for whoever looks here first."""
    with serving(tmp_path, config='[plugins]\nrequired = ["demo"]\n') as server:
        env = {"JACKFIELD_SERVER__PORT": server.url.rpartition(":")[2]}
        result = invoke("doctor", "--json", env=env)
        assert (result.status, "ready" in found(result)) == (0, False)
        invoke("plugins", "quarantine", "demo", "--reason", "the disk is full", env=env)
        result = invoke("doctor", "--json", env=env)
        assert result.status == 1
        assert found(result)["ready"] == {
            "status": "fault",
            "what": "plugin/demo failed: it is quarantined: the disk is full",
            "todo": "end what it names; the server is ready again by itself",
        }


# ------------------------------------------------------------------- a server, and what stands before it


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module", name="twin")
def _twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server, which lets nobody in but Ann."""
    folder = tmp_path_factory.mktemp("twin")
    write_plugin(folder, "guard", GUARD)
    with serving(folder, path=[folder]) as server:
        yield server


def test_a_server_with_nothing_before_it(shell: Shell, server: Server) -> None:
    """All is well, and said so."""
    result = shell("doctor", "--url", server.url)
    assert (result.status, result.err) == (0, "")
    assert [line.split("  ")[:2] for line in result.out.splitlines() if line.startswith("✓")] == [
        ["✓", "server"],
        ["✓", "polling"],
        ["✓", "websocket"],
        ["✓", "polling delay"],
        ["✓", "polling size"],
        ["✓", "websocket delay"],
        ["✓", "address"],
        ["✓", "websocket size"],
    ]


def test_a_proxy_that_does_all_well(invoke: Invoke, server: Server) -> None:
    """It is not to be noticed."""
    with gateway([server.url], Faults()) as url:
        result = invoke("doctor", "--url", url, "--json")
    assert (result.status, result.json["ok"]) == (0, True)
    assert {one["status"] for one in result.json["findings"]} == {"ok"}


@pytest.mark.parametrize(
    ("faults", "check", "status", "what"),
    [
        (Faults(upgrade=False), "websocket", "fault", "it does not come through: status 400"),
        (Faults(cut=True), "websocket", "fault", "it does not come through: the connection was closed"),
        (
            Faults(body=200_000),
            "polling size",
            "fault",
            "messages of 1000000 bytes, which the server takes, do not come through (status 413); 125000 bytes do",
        ),
        pytest.param(
            Faults(hold=2.5),
            "polling delay",
            "warning",
            "what the server sends comes … s later: something on the way holds it back",
            marks=pytest.mark.full,
        ),
        (
            Faults(source="127.0.0.2"),
            "address",
            "warning",
            "the server takes this client, 127.0.0.1, for 127.0.0.2: "
            "without NAT in between that is the proxy's address",
        ),
    ],
    ids=["no upgrade", "websockets are cut", "small bodies", "buffering", "no X-Forwarded-For"],
)
def test_a_proxy_that_is_in_the_way(
    invoke: Invoke, server: Server, faults: Faults, check: str, status: str, what: str
) -> None:
    """What is wrong, and what to do; the rest is well."""
    with gateway([server.url], faults) as url:
        result = invoke("doctor", "--url", url, "--json")
    findings = found(result)
    one = findings.pop(check)
    assert (one["status"], re.sub(r"\d\.\d s ", "… s ", one["what"])) == (status, what)
    assert one["todo"]
    assert {other["status"] for other in findings.values()} == {"ok"}
    assert result.status == (status == "fault")


@pytest.mark.parametrize(
    ("cookie", "status", "what"),
    [
        (False, "fault", "its requests do not stay on one server: status 400, Session ID unknown"),
        (True, "warning", "it stays on one server by a cookie alone, which programs that are no browser do not keep"),
    ],
)
def test_a_proxy_before_two_servers(
    invoke: Invoke, server: Server, twin: Server, cookie: bool, status: str, what: str
) -> None:
    """Whether each client stays with one of them."""
    with gateway([server.url, twin.url], Faults(cookie=cookie)) as url:
        result = invoke("doctor", "--url", url, "--token", "sesame", "--json")
    one = found(result)["polling"]
    assert (one["status"], one["what"]) == (status, what)
    assert result.status == (status == "fault")


def test_a_server_that_lets_nobody_in(invoke: Invoke, twin: Server, tmp_path: Path) -> None:
    """What needs to be let in is left out, unless a token is given."""
    result = invoke("doctor", "--url", twin.url, "--json")
    assert result.status == 0
    findings = found(result)
    assert findings.keys() == {"server", "polling", "websocket", "access"}
    assert findings["access"]["todo"] == "say who you are with --token or --token-file"
    (tmp_path / "token").write_text("sesame\n", encoding="utf-8")
    assert "websocket size" in found(invoke("doctor", "--url", twin.url, "--token-file", "token", "--json"))


@pytest.mark.parametrize("transports", ['["websocket"]', '["polling"]'])
def test_a_server_with_one_carrier(invoke: Invoke, tmp_path: Path, transports: str) -> None:
    """That the other is off is the server's own wish."""
    with serving(tmp_path / "server", config=f"[server]\ntransports = {transports}\n") as server:
        result = invoke("doctor", "--url", server.url, "--json")
    assert result.status == 0
    assert {one["status"] for one in result.json["findings"]} == {"ok"}


def test_where_no_server_is(invoke: Invoke, closed_port: int, tmp_path: Path) -> None:
    """Nobody there, or somebody else: one fault."""
    result = invoke("doctor", "--url", f"127.0.0.1:{closed_port}")
    assert (result.status, result.err) == (1, "✗ 1 fault\n")
    assert f"no Socket.IO server answers at http://127.0.0.1:{closed_port}/socket.io: " in result.out
    with serving(tmp_path, config='[server]\npath = "/elsewhere"\n') as server:
        result = invoke("doctor", "--url", server.url + "/nowhere", "--json")
    assert found(result)["server"]["what"].endswith(
        "/nowhere: status 404, Nothing here: connect with a Socket.IO client"
    )


def test_a_server_that_takes_no_clients(invoke: Invoke, tmp_path: Path) -> None:
    """Nor does a proxy without a server: nothing is wrong with the address."""
    with serving(tmp_path, config="[limits]\nconnections = 1\n") as server:
        with urlopen(f"{server.url}/socket.io/?EIO=4&transport=polling"):
            result = invoke("doctor", "--url", server.url, "--json")
        told = found(result)["server"]
        assert told["what"].startswith(f"no server takes clients behind {server.url}/socket.io: status 503")
        assert told["todo"].startswith("see /readyz?verbose of each server")


def test_without_a_client_nothing_can_be_looked_at_from_outside(shell: Shell, server: Server, unloadable: Hide) -> None:
    """It says what to install."""
    hidden = unloadable("aiohttp")
    (hidden / "aiohttp.py").unlink()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'aiohttp' else find(name, package)\n",
        encoding="utf-8",
    )
    result = shell("doctor", "--url", server.url, "--json", path=[hidden])
    assert result.status == 1
    assert found(result) == {
        "client": {
            "status": "fault",
            "what": "looking from outside needs aiohttp",
            "todo": 'pip install "jackfield[standard]"',
        }
    }
