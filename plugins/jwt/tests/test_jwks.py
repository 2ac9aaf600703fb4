"""Keys that the issuer publishes: fetched, changed, away, and wrong."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import pytest

from jackfield import CallError
from jackfield.client import ConnectError
from jackfield.testing import RunningKernel, Serve
from jackfield_jwt import keyring
from jackfield_jwt.fetching import FetchFault, fetch
from jackfield_jwt.keyring import RemoteKeys
from jackfield_jwt.settings import JwtSettings
from tests.support.tokens import AUDIENCE, ISSUER, jwk, token
from tests.support.waiting import LIMIT, until


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


def settings(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    """Return settings of a plugin whose keys are the issuer's."""
    return {"algorithms": ["ES256"], "issuer": ISSUER, "audience": AUDIENCE, "jwks_url": issuer.url, **changes}


async def admitted(kernel: RunningKernel, key: str, header: dict[str, Any] | None = None) -> str:
    """Show a token of a key; return `in`, or the code of the refusal."""
    try:
        async with await kernel.connect(token=token(alg="ES256", key=key, header=header)):
            return "in"
    except ConnectError as error:
        return error.code


async def probe(kernel: RunningKernel) -> str:
    """Return what `/readyz?verbose` says."""
    async with aiohttp.ClientSession() as session, session.get(f"{kernel.url}/readyz?verbose") as answer:
        return await answer.text()


async def says(kernel: RunningKernel, text: str) -> str:
    """Wait until `/readyz?verbose` has this in it, and return all of it; probes in quick succession get one answer."""
    async with asyncio.timeout(LIMIT):
        while text not in (told := await probe(kernel)):  # noqa: ASYNC110 - nobody but the server says so
            await asyncio.sleep(0.02)
    return told


async def becomes(kernel: RunningKernel, key: str, state: str) -> None:
    """Wait until tokens of a key are met with this."""
    async with asyncio.timeout(LIMIT):
        while await admitted(kernel, key) != state:
            pass


async def test_25_keys_change_while_clients_are_there(issuer: Issuer, jackfield_serve: Serve) -> None:
    """A token of a new key is taken at once, one of a key that is gone no longer; who is in stays in."""
    async with jackfield_serve("jwt", settings=settings(issuer, jwks_cooldown=3600), network=True) as kernel:
        assert issuer.hits == 1
        keys = iter(["ec-1", "ec-2"])
        alice = await kernel.connect(token=lambda: token(alg="ES256", key=next(keys)))
        issuer.publish("ec-2")
        assert await asyncio.gather(*(admitted(kernel, "ec-2") for _ in range(5))) == ["in"] * 5
        assert issuer.hits == 2
        assert await admitted(kernel, "ec-1") == "unauthenticated"
        assert "scopes" in await alice.refresh()
        for number in range(20):
            assert await admitted(kernel, "ec-2", {"kid": f"made-up-{number}"}) == "unauthenticated"
        assert issuer.hits == 2
        assert (await alice.call("api.auth.whoami"))["sub"] == "alice"
        assert "[+]health/jwt ok: 1 key, fetched " in await probe(kernel)


async def test_25_without_keys_nobody_is_let_in_until_they_come(issuer: Issuer, jackfield_serve: Serve) -> None:
    """The server starts, is unready, tells clients to come back, and heals by itself."""
    issuer.status = 500
    short = settings(issuer, jwks_lifetime=1, jwks_max_stale=2, jwks_cooldown=3600)
    async with jackfield_serve("jwt", settings=short, network=True) as kernel:
        assert kernel.plugin.state == "started"
        with pytest.raises(ConnectError) as raised:
            await kernel.connect(token=token(alg="ES256", key="ec-1"))
        told = raised.value.as_dict()
        retry_after = told.pop("retry_after")
        assert isinstance(retry_after, int)
        assert 1000 <= retry_after <= 5000
        assert told == {"code": "unavailable", "message": "Tokens cannot be verified now; try again later."}
        assert "[-]health/jwt failed: no keys: the answer has the status 500" in await probe(kernel)
        issuer.publish("ec-1")
        await becomes(kernel, "ec-1", "in")
        assert (await says(kernel, "readyz passed\n")).endswith("readyz passed\n")
        issuer.status = 503
        hits = issuer.hits
        await until(lambda: issuer.hits > hits)
        await becomes(kernel, "ec-1", "unavailable")
        await says(kernel, "[-]health/jwt failed")
        issuer.publish("ec-1")
        await becomes(kernel, "ec-1", "in")


# ------------------------------------------------------------------- the keys alone


def _keys(issuer: Issuer, **changes: Any) -> RemoteKeys:
    made = JwtSettings.model_validate(settings(issuer, **changes))
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
