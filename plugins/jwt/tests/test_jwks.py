"""Keys that the issuer publishes: fetched, changed, away, and wrong."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallError
from jackfield_jwt import keyring
from jackfield_jwt.fetching import FetchFault, fetch
from jackfield_jwt.keyring import RemoteKeys
from jackfield_jwt.settings import JwtSettings
from tests.support.server import Server, serving
from tests.support.tokens import AUDIENCE, ISSUER, jwk, settings, token
from tests.support.waiting import until
from tests.support.wire import wire


class Issuer:
    """An issuer's web server: what it answers can be changed, and its requests are counted."""

    def __init__(self) -> None:
        self.hits = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes = b""
        self.announced: int | None = None
        self.hold = threading.Event()
        self.hold.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.hits += 1
                issuer.hold.wait(20)
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(issuer.announced or len(issuer.body)))
                self.end_headers()
                with suppress(OSError):  # who asked may have heard enough
                    self.wfile.write(issuer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def publish(self, *names: str, **members: Any) -> None:
        """Answer with these keys from now on."""
        self.status, self.headers, self.announced = 200, {}, None
        self.body = json.dumps({"keys": [jwk(name, **members) for name in names]}).encode()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(name="issuer")
def _issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    issuer.publish("ec-1")
    yield issuer
    issuer.close()


@contextmanager
def guarded(folder: Path, issuer: Issuer, *lines: str) -> Iterator[Server]:
    """Run a server whose keys are the issuer's."""
    config = settings('algorithms = ["ES256"]', f'jwks_url = "{issuer.url}"', *lines)
    with serving(folder, config=f'[plugins]\npolicy = "listed"\nenabled = ["jwt"]\n{config}') as server:
        yield server


async def admitted(server: Server, key: str, header: dict[str, Any] | None = None) -> str:
    """Show a token of a key; return `in`, or the code of the refusal."""
    async with wire(server.url, join=False) as client:
        answer = str(await client.join(json.dumps({"token": token(alg="ES256", key=key, header=header)})))
    return "in" if answer.startswith("40{") else str(json.loads(answer[2:])["data"]["code"])


def probe(server: Server) -> str:
    """Return what `/readyz?verbose` says."""
    try:
        with urllib.request.urlopen(f"{server.url}/readyz?verbose", timeout=20) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())


async def becomes(server: Server, key: str, state: str) -> None:
    """Wait until tokens of a key are met with this."""
    async with asyncio.timeout(20):
        while await admitted(server, key) != state:
            pass


async def test_25_keys_change_while_clients_are_there(tmp_path: Path, issuer: Issuer) -> None:
    """A token of a new key is taken at once, one of a key that is gone no longer; who is in stays in."""
    with guarded(tmp_path, issuer, "jwks_cooldown = 3600") as server:
        assert issuer.hits == 1
        async with wire(server.url, join=False) as alice:
            assert str(await alice.join(json.dumps({"token": token(alg="ES256", key="ec-1")}))).startswith("40{")
            issuer.publish("ec-2")
            assert await asyncio.gather(*(admitted(server, "ec-2") for _ in range(5))) == ["in"] * 5
            assert issuer.hits == 2
            assert await admitted(server, "ec-1") == "unauthenticated"
            shown = json.dumps({"token": token(alg="ES256", key="ec-2")})
            assert "data" in await alice.ask(f'427["api.auth.refresh",{shown}]')
            for number in range(20):
                assert await admitted(server, "ec-2", {"kid": f"made-up-{number}"}) == "unauthenticated"
            assert issuer.hits == 2
            assert (await alice.ask('427["api.auth.whoami"]'))["data"]["sub"] == "alice"
        assert "[+]health/jwt ok: 1 key, fetched " in probe(server)


async def test_25_without_keys_nobody_is_let_in_until_they_come(tmp_path: Path, issuer: Issuer) -> None:
    """The server starts, is unready, tells clients to come back, and heals by itself."""
    issuer.status = 500
    with guarded(tmp_path, issuer, "jwks_lifetime = 1", "jwks_max_stale = 2", "jwks_cooldown = 3600") as server:
        assert server.plugins["jwt"]["state"] == "started"
        async with wire(server.url, join=False) as client:
            answer = str(await client.join(json.dumps({"token": token(alg="ES256", key="ec-1")})))
        refused = json.loads(answer[2:])
        assert 1000 <= refused["data"].pop("retry_after") <= 5000
        assert refused == {
            "message": "Tokens cannot be verified now; try again later.",
            "data": {"code": "unavailable"},
        }
        assert "[-]health/jwt failed: no keys: the answer has the status 500" in probe(server)
        issuer.publish("ec-1")
        await becomes(server, "ec-1", "in")
        await until(lambda: probe(server).endswith("readyz passed\n"))
        issuer.status = 503
        hits = issuer.hits
        await until(lambda: issuer.hits > hits)
        await becomes(server, "ec-1", "unavailable")
        await until(lambda: "[-]health/jwt failed" in probe(server))
        issuer.publish("ec-1")
        await becomes(server, "ec-1", "in")


# ------------------------------------------------------------------- the keys alone


def _keys(issuer: Issuer, **changes: Any) -> RemoteKeys:
    made = JwtSettings.model_validate(
        {"algorithms": "ES256", "issuer": ISSUER, "audience": AUDIENCE, "jwks_url": issuer.url, **changes}
    )
    return RemoteKeys(issuer.url, made)


async def test_25_old_keys_go_on_while_the_issuer_is_away(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are fetched anew in the background, and what comes wrong changes nothing."""
    monkeypatch.setattr(keyring, "_FIRST_PAUSE", 0.05)  # doubled by each fault
    keys = _keys(issuer, jwks_lifetime=1)
    await keys.open()
    try:
        for status, body in [(503, b""), (200, b"<html>"), (200, b"{}"), (200, b"x" * 300_000)]:
            issuer.status, issuer.body = status, body
            hits = issuer.hits
            await until(lambda hits=hits: issuer.hits > hits and "; now " in keys.health)  # type: ignore[misc]
            assert await keys.find("ES256", "ec-1") is not None
            assert not keys.ill
        issuer.publish("ec-1", "ec-2")
        await until(lambda: keys.health.startswith("2 keys") and "now" not in keys.health)
        issuer.publish()
        await until(lambda: keys.ill)
        with pytest.raises(CallError, match="unavailable"):
            await keys.find("ES256", "ec-1")
    finally:
        await keys.close()


async def test_25_unknown_keys_cost_one_fetch_in_a_cool_down(issuer: Issuer) -> None:
    """Also where very many are asked for at once, and while the fetch hangs."""
    keys = _keys(issuer, jwks_cooldown=3600)
    await keys.open()
    try:
        issuer.hold.clear()
        asked = [asyncio.ensure_future(keys.find("ES256", f"unknown-{number}")) for number in range(500)]
        await until(lambda: issuer.hits == 2)
        assert await keys.find("ES256", "ec-1") is not None
        asked[0].cancel()  # a client that goes away takes the fetch from nobody
        issuer.hold.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert answers[1:] == [None] * 499
        assert issuer.hits == 2
    finally:
        await keys.close()


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a status": ({"status": 404}, "the answer has the status 404"),
    "another place": (
        {"status": 302, "headers": {"Location": "file:///etc/passwd"}},
        "the answer has the status 302",
    ),
    "too much": ({"body": b"x" * 300_000}, "the answer has more than 262144 bytes"),
    "too little": ({"body": b"{}", "announced": 100}, "IncompleteRead|cut off|takes too long|nothing came"),
}


@pytest.mark.parametrize(("answer", "fault"), FAULTS.values(), ids=FAULTS)
async def test_25_what_cannot_be_fetched_has_a_reason(issuer: Issuer, answer: dict[str, Any], fault: str) -> None:
    """Redirections are not followed, sizes are bounded."""
    for name, value in answer.items():
        setattr(issuer, name, value)
    with pytest.raises(FetchFault, match=fault):
        await fetch(issuer.url, 1.0)
    assert issuer.hits == 1


async def test_25_an_issuer_that_hangs_is_given_up(issuer: Issuer) -> None:
    """So is one that is not there."""
    issuer.hold.clear()
    with pytest.raises(FetchFault, match=r"nothing came within 0\.2 s|timed out"):
        await fetch(issuer.url, 0.2)
    with pytest.raises(FetchFault, match="no connection"):
        await fetch("http://127.0.0.1:1/keys", 1.0)
