"""Pages of others, names of others, and what proxies say: attack 27."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import aiohttp
import pytest

from tests.hardening.fronts import ANYBODY, HERE, PROXY, Reply, fronted, knock, opened, poll, write_front
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving

GOOD = "https://good.example"
EVIL = "https://evil.example"
CLIENT = "203.0.113.7"

ROUTED = """
    from jackfield import hookimpl


    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


    @hookimpl
    def jackfield_http():
        return {"/routed": app}
"""

CASES: dict[str, tuple[dict[str, str], bool]] = {
    "no origin": ({}, True),
    "our origin": ({"Origin": GOOD}, True),
    "another origin": ({"Origin": EVIL}, False),
    "origin null": ({"Origin": "null"}, False),
    "another host": ({"Host": "evil.example"}, False),
    "a proxy's word for the host": (
        {"Origin": EVIL, "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
        False,
    ),
    "our origin, another host": ({"Origin": GOOD, "Host": "evil.example", "X-Forwarded-Host": "127.0.0.1"}, False),
}
"""What a request says, and whether it is served."""


@pytest.fixture(scope="module", name="front")
def _front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has a page, a name and a proxy."""
    folder = tmp_path_factory.mktemp("front")
    config = f"""
        [server]
        cors_origins = ["{GOOD}"]
        hosts = ["127.0.0.1", "api.example"]
        trusted_proxies = ["{PROXY}"]
"""
    with serving(folder, config=config + ANYBODY, path=[write_front(folder / "p")]) as server:
        yield server


@pytest.fixture(scope="module", name="anybody")
def _anybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes pages of any origin, one of them with what its user has."""
    folder = tmp_path_factory.mktemp("anybody")
    config = f'[server]\ncors_origins = ["*", "{GOOD}"]\n{ANYBODY}'
    with serving(folder, config=config, path=[write_front(folder / "p")]) as server:
        yield server


async def by(carrier: str, url: str, headers: Mapping[str, str]) -> Reply:
    """Send a request in one of the four ways in which there are any."""
    if carrier == "handshake":
        return await poll(url, headers)
    if carrier == "websocket":
        return await knock(url, headers)
    sid = await opened(url)
    if carrier == "upgrade":
        return await knock(url, headers, sid=sid)
    return await poll(url, headers, sid=sid, body="40")


@pytest.mark.parametrize("carrier", ["handshake", "post", "websocket", "upgrade"])
@pytest.mark.parametrize("case", CASES)
async def test_27_who_may_speak_from_where(front: Server, carrier: str, case: str) -> None:
    """An origin must be listed, and a host must be the server's, however the request comes."""
    headers, served = CASES[case]
    reply = await by(carrier, front.url, headers)
    assert reply.status == ((101 if carrier in ("websocket", "upgrade") else 200) if served else 403)
    if not served:
        assert "access-control-allow-origin" not in {name.lower() for name in reply.headers}


@pytest.mark.parametrize("host", ["api.example", "API.example:8000", "127.0.0.1:1"])
async def test_27_the_server_s_own_names(front: Server, host: str) -> None:
    """They are served whatever the port is, for proxies have one of their own."""
    assert (await poll(front.url, {"Host": host})).status == 200
    assert (await knock(front.url, {"Host": host})).status == 101


async def seen(url: str, carrier: str, headers: Mapping[str, str], source: str) -> list[object]:
    """Return what a plugin sees of a client: its address, whether it is secure and local, its cookies."""
    if carrier == "websocket":
        async with fronted(url, headers, source=source) as wire:
            assert str(await wire.join()).startswith("40{")
            reply = await wire.ask('427["api.front.whoami"]')
    else:
        sid = json.loads((await poll(url, headers, source=source)).text[1:])["sid"]
        for packet, answer in (("40", "40{"), ('427["api.front.whoami"]', "437[")):
            assert (await poll(url, headers, sid=sid, body=packet, source=source)).status == 200
            text = ""
            while answer not in text:
                text = (await poll(url, headers, sid=sid, source=source)).text
        reply = json.loads(text.partition("437")[2].partition("\x1e")[0])[0]
    return list(json.loads(reply["data"]))


FORWARDED = {
    "usual": {"X-Forwarded-For": f"6.6.6.6, {CLIENT}", "X-Forwarded-Proto": "https"},
    "standard": {"Forwarded": f"for=6.6.6.6, for={CLIENT};proto=https"},
}


@pytest.mark.parametrize("carrier", ["polling", "websocket"])
@pytest.mark.parametrize("kind", FORWARDED)
async def test_27_the_word_of_a_proxy(front: Server, carrier: str, kind: str) -> None:
    """It counts where the proxy is trusted; else it is only a reason not to take the client for one of this machine."""
    headers = FORWARDED[kind]
    assert await seen(front.url, carrier, headers, PROXY) == [CLIENT, True, False, None]
    assert await seen(front.url, carrier, headers, HERE) == [HERE, False, False, None]
    assert await seen(front.url, carrier, {}, HERE) == [HERE, False, True, None]


@pytest.mark.parametrize("carrier", ["polling", "websocket"])
async def test_27_a_proxy_that_lets_a_client_s_header_pass(front: Server, carrier: str) -> None:
    """Of two headers that differ none is believed."""
    headers = {"X-Forwarded-For": CLIENT, "Forwarded": "for=127.0.0.1"}
    assert await seen(front.url, carrier, headers, PROXY) == [PROXY, False, False, None]


@pytest.mark.parametrize("carrier", ["polling", "websocket"])
@pytest.mark.parametrize(("origin", "cookie"), [(EVIL, None), ("null", None), (GOOD, "a=b"), (None, "a=b")])
async def test_27_any_origin_has_no_credentials(
    anybody: Server, carrier: str, origin: str | None, cookie: str | None
) -> None:
    """Browsers send cookies with every websocket; of a page that only `*` lets in, no plugin sees them."""
    headers = {"Cookie": "a=b", **({} if origin is None else {"Origin": origin})}
    assert await seen(anybody.url, carrier, headers, HERE) == [HERE, False, True, cookie]
    if origin is not None:
        shown = (await poll(anybody.url, headers)).headers.get("access-control-allow-credentials")
        assert shown == (None if cookie is None else "true")


@pytest.fixture(scope="module", name="routed", params=["main", "admin"])
def _routed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the operator's routes, on the main port or on a listener of their own."""
    folder = tmp_path_factory.mktemp("routed")
    admin = 'admin = "127.0.0.1:0"' if request.param == "admin" else ""
    write_plugin(folder / "p", "routed", ROUTED)
    with serving(folder, config=f'[server]\nhosts = ["api.example"]\n{admin}\n', path=[folder / "p"]) as server:
        yield server.ready["admin"] or server.url


async def test_27_a_route_is_asked_under_its_own_name(routed: str) -> None:
    """A page that was led to the operator's routes by a name of its own gets nothing; probes are for everybody."""

    async def ask(path: str, host: str) -> int:
        async with aiohttp.ClientSession() as http, http.get(routed + path, headers={"Host": host}) as response:
            return response.status

    hosts = ["127.0.0.1", "localhost:1", "api.example", "evil.example", "127.0.0.1.evil.example"]
    assert [await ask("/routed", host) for host in hosts] == [200, 200, 200, 403, 403]
    assert [await ask("/livez", host) for host in hosts] == [200] * 5
