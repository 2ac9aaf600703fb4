"""What operators see over plain HTTP: probes, and the routes of plugins, on both listeners."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from jackfield._configuration import load
from jackfield._errors import StartError
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import START_LIMIT, Server, launch, serving
from tests.support.waiting import eventually, until

SHOP = """
    import asyncio
    import json
    import os
    from pathlib import Path

    from jackfield import Call, Route, Service, hookimpl

    service = Service("api.shop")
    asked = []


    @service.function
    async def wait(call: Call) -> None:
        while not Path("go").exists():
            await asyncio.sleep(0.01)


    async def show(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": scope["root_path"]})
            return
        seen = {name: scope[name] for name in ("method", "path", "root_path")}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-asked", b"%d" % len(asked))]})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


    async def crash(scope, receive, send):
        if scope["path"].endswith("exit"):
            raise SystemExit(7)
        if scope["path"].endswith("late"):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        raise LookupError("nothing on the shelf")


    @hookimpl
    def jackfield_services():
        return [service]


    @hookimpl
    def jackfield_http(kernel, settings):
        return {
            "/shop": show,
            "/shop/window": Route(show, public=True),
            "/crash": crash,
            "/socket.io/shop": show,
            "/readyz": show,
            "no/slash": show,
            "/twice": show,
        }


    @hookimpl
    async def jackfield_health(kernel):
        asked.append(1)
        mood = Path("mood").read_text() if Path("mood").exists() else "fine"
        if mood == "bad":
            raise LookupError("no goods\\nand no staff")
        if mood == "stubborn":
            while not Path("go").exists():
                try:
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    pass
        return {"fine": None, "text": "7 goods", "number": 7}.get(mood)
"""
TWIN = """
    from jackfield import hookimpl


    async def app(scope, receive, send):
        raise AssertionError


    @hookimpl
    def jackfield_http():
        return {"/twice": app}
"""
LOST = """
    from jackfield import hookimpl


    @hookimpl
    def jackfield_http():
        raise LookupError("no map")
"""
STRANGE = """
    from jackfield import hookimpl


    @hookimpl
    def jackfield_http():
        return {"/strange": 7}
"""
BROKEN = "import nothing_of_this_name"
ELSEWHERE = {"X-Forwarded-For": "192.0.2.1"}
"""What makes a client one that is not on this machine."""


@dataclass(frozen=True)
class Answer:
    """How a request was answered."""

    status: int
    headers: Mapping[str, str]
    text: str


async def ask(url: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """Send a request."""
    async with aiohttp.ClientSession() as session, session.request(method, url + path, headers=headers) as response:
        return Answer(response.status, response.headers, await response.text())


def write_plugins(folder: Path) -> Path:
    """Write the plugins of these tests."""
    write_plugin(folder, "shop", SHOP, namespaces=["api.shop"])
    for name, source in {"twin": TWIN, "lost": LOST, "strange": STRANGE, "broken": BROKEN}.items():
        write_plugin(folder, name, source)
    return folder


@pytest.fixture(scope="module", name="alone")
def _alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one port."""
    folder = tmp_path_factory.mktemp("alone")
    with serving(folder, path=[write_plugins(folder / "plugins")]) as server:
        yield server


@pytest.fixture(scope="module", name="both")
def _both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an admin listener."""
    folder = tmp_path_factory.mktemp("both")
    config = '[server]\nadmin = "127.0.0.1:0"\n[plugins]\nrequired = ["shop"]\n'
    with serving(folder, config=config, path=[write_plugins(folder / "plugins")]) as server:
        yield server


# ------------------------------------------------------------------- probes


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/livez/"])
async def test_probes(alone: Server, path: str) -> None:
    """They are answered to everybody, and kept by no cache; HEAD is as good as GET, anything else is not."""
    for headers in ({}, ELSEWHERE):
        answer = await ask(alone.url, path, **headers)
        assert (answer.status, answer.text) == (200, "ok")
        assert answer.headers["cache-control"] == "no-store"
    head = await ask(alone.url, path, "HEAD")
    assert (head.status, head.text, head.headers["content-length"]) == (200, "", "2")
    post = await ask(alone.url, path, "POST")
    assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/livez/x", "/readyzz", "/", "//livez", "/health"])
async def test_what_is_no_probe(alone: Server, path: str) -> None:
    """Nothing else is there."""
    assert (await ask(alone.url, path)).status == 404


async def test_the_verbose_answer(alone: Server) -> None:
    """It has a line for every check; a plugin that is quarantined is shown, and is no reason not to be ready."""
    answer = await ask(alone.url, "/readyz?verbose")
    assert answer.status == 200
    lines = answer.text.splitlines()
    assert lines[0] == "[+]serving ok"
    assert "[+]plugin/shop ok" in lines
    assert "[!]plugin/broken quarantined: ModuleNotFoundError: No module named 'nothing_of_this_name'" in answer.text
    assert lines[-2:] == ["[+]health/shop ok", "readyz passed"]


async def test_the_verbose_answer_is_not_for_everybody(alone: Server) -> None:
    """A client on another machine gets the plain one."""
    assert (await ask(alone.url, "/readyz?verbose", **ELSEWHERE)).text == "ok"
    assert (await ask(alone.url, "/readyz?verbose", Forwarded="for=127.0.0.1")).text == "ok"
    assert (await ask(alone.url, "/readyz?verbose", Via="1.1 proxy")).text == "ok"
    assert (await ask(alone.url, "/readyz?verbose", Host="attacker.example")).text == "ok"


@contextlib.contextmanager
def mood(server: Server, text: str) -> Iterator[None]:
    """Let the plugin be in a mood."""
    folder = server.log_file.parent
    (folder / "mood").write_text(text)
    try:
        yield
    finally:
        (folder / "mood").unlink()


async def line(url: str, begin: str) -> str | None:
    """Return the line of the verbose answer that begins so."""
    text = (await ask(url, "/readyz?verbose")).text
    return next((found for found in text.splitlines() if found.startswith(begin)), None)


async def probed(url: str, path: str, status: int) -> None:
    """Probe until the answer has this status."""

    async def found() -> bool:
        try:
            return (await ask(url, path)).status == status
        except aiohttp.ClientError:  # it does not listen yet
            return False

    await eventually(found)


async def told(url: str, said: str) -> None:
    """Probe until the verbose answer has this line."""

    async def found() -> bool:
        return await line(url, said) == said

    await eventually(found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text", "[+]health/shop ok: 7 goods"),
        ("bad", "[-]health/shop failed: no goods and no staff"),
        ("number", "[-]health/shop failed: it answers 7, which is no text"),
    ],
)
async def test_the_word_of_a_plugin(both: Server, name: str, said: str) -> None:
    """Its text is shown; what it raises makes the server unready, until it is well again."""
    with mood(both, name):
        await told(both.ready["admin"], said)
        answer = await ask(both.url, "/readyz")
        assert (answer.status, answer.text) == ((200, "ok") if said.startswith("[+]") else (503, "not ready"))
    await told(both.ready["admin"], "[+]health/shop ok")


async def test_a_plugin_that_does_not_answer(both: Server) -> None:
    """It is cancelled; one that ignores that is asked again only when it has come back."""
    admin, go = both.ready["admin"], both.log_file.parent / "go"
    with mood(both, "stubborn"):
        await told(admin, "[-]health/shop failed: no answer within 1 s")
        await told(admin, "[-]health/shop failed: its last answer has not come yet")
    go.touch()
    await told(admin, "[+]health/shop ok")
    go.unlink()


async def test_many_probes_are_one_question(both: Server) -> None:
    """The plugin is asked once for all of a second."""
    admin = both.ready["admin"]

    async def asked() -> int:
        return int((await ask(admin, "/shop")).headers["x-asked"])

    before, loop = await asked(), asyncio.get_running_loop()
    start = loop.time()
    answers = await asyncio.gather(*(ask(admin, "/readyz") for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert await asked() - before <= 2 + (loop.time() - start)


# ------------------------------------------------------------------- routes


async def test_a_route(alone: Server) -> None:
    """It serves its path and all below it, as an application that is mounted there."""
    for path in ("/shop", "/shop/", "/shop/a/b"):
        answer = await ask(alone.url, path, "PUT")
        assert answer.text == f'{{"method": "PUT", "path": "{path}", "root_path": "/shop"}}'
    assert (await ask(alone.url, "/shopping")).status == 404


async def test_the_longest_path_wins(alone: Server) -> None:
    """Where one route is below another."""
    assert '"root_path": "/shop/window"' in (await ask(alone.url, "/shop/window/1")).text


async def test_a_route_is_for_this_machine(alone: Server) -> None:
    """Others find nothing, unless it is public; the log says how to change that, once."""
    nothing = await ask(alone.url, "/nothing", **ELSEWHERE)
    for _ in range(3):
        hidden = await ask(alone.url, "/shop", **ELSEWHERE)
        assert (hidden.status, hidden.text) == (404, nothing.text)
    assert (await ask(alone.url, "/shop/window", **ELSEWHERE)).status == 200
    hints = [entry for entry in alone.log.splitlines() if "server.admin" in entry]
    assert [hint.partition("  ")[2] for hint in hints] == [
        "somebody on another machine, or behind a proxy, asked for /shop, which is the operator's: "
        "serve it on a listener of its own with server.admin"
    ]


async def test_a_websocket_of_a_route(alone: Server) -> None:
    """A route may take one; to others there is none."""
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{alone.url}/shop/x") as websocket:
            assert await websocket.receive_str() == "/shop"
        for path, headers in (("/shop", ELSEWHERE), ("/nothing", {}), ("/livez", {})):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect(alone.url + path, headers=headers)
            assert refusal.value.status == 404


@pytest.mark.parametrize("path", ["/crash", "/crash/exit"])
async def test_a_route_that_fails(alone: Server, path: str) -> None:
    """It is answered with 500 and nothing of the exception, and the server goes on."""
    answer = await ask(alone.url, path)
    assert (answer.status, answer.text) == (500, "This route failed")
    await until(lambda: "the route /crash of the plugin shop failed" in alone.log)
    assert (await ask(alone.url, "/livez")).text == "ok"


async def test_a_route_that_fails_in_the_middle(alone: Server) -> None:
    """The connection is closed, so that nobody takes the half for the whole."""
    with pytest.raises(aiohttp.ClientError):
        await ask(alone.url, "/crash/late")
    assert (await ask(alone.url, "/livez")).text == "ok"


def test_routes_that_cannot_be(alone: Server) -> None:
    """Each is logged with the plugin and what is in its way; the plugins serve on."""
    for said in (
        "the plugin shop does not get the path '/socket.io/shop': it is the Socket.IO endpoint",
        "the plugin shop does not get the path '/readyz': it is the server's health",
        "the plugin shop does not get the path 'no/slash': a path begins with /, does not end with it, and has",
        "the plugin twin does not get the path '/twice': the plugin shop has it already",
        "jackfield_http of the plugin lost failed; its routes are left out",
        "jackfield_http must return ASGI applications, and /strange is 7",
    ):
        assert said in alone.log
    assert alone.plugins["lost"]["state"] == alone.plugins["strange"]["state"] == "started"


# ------------------------------------------------------------------- the admin listener


async def test_the_admin_listener(both: Server) -> None:
    """It has everything, also for those behind a proxy; but no Socket.IO."""
    admin = both.ready["admin"]
    assert admin.startswith("http://127.0.0.1:")
    for path in ("/livez", "/readyz", "/healthz", "/shop", "/shop/window"):
        assert (await ask(admin, path, **ELSEWHERE)).status == 200
    assert (await ask(admin, "/readyz?verbose", **ELSEWHERE)).text.endswith("readyz passed\n")
    assert (await ask(admin, "/socket.io/?EIO=4&transport=polling")).status == 404
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(f"{admin}/socket.io/?EIO=4&transport=websocket")
    assert refusal.value.status == 404


async def test_the_main_port_beside_it(both: Server) -> None:
    """What is the operator's is not there, even for this machine; plain probes and public routes are."""
    statuses = {path: (await ask(both.url, path)).status for path in ("/livez", "/readyz", "/shop/window")}
    assert set(statuses.values()) == {200}
    statuses = {path: (await ask(both.url, path)).status for path in ("/healthz", "/shop", "/crash")}
    assert set(statuses.values()) == {404}
    assert (await ask(both.url, "/readyz?verbose", **ELSEWHERE)).text == "ok"
    assert (await ask(both.url, "/readyz?verbose")).text.endswith("readyz passed\n")
    assert "asked for" not in both.log


async def test_all_addresses(tmp_path: Path) -> None:
    """Without an address it is every one of this machine, of both kinds."""
    with serving(tmp_path, config='[server]\nadmin = ":0"\n') as server:
        port = server.ready["admin"].rpartition(":")[2]
        hosts = ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]
        for host in hosts:
            assert (await ask(f"http://{host}:{port}", "/livez")).text == "ok"


def failed(folder: Path, *arguments: str, config: str, path: Path | None = None) -> list[str]:
    """Start a server that must not come up, and return what it says."""
    process, log = launch(folder, *arguments, config=config, path=[path] if path else [])
    out, _ = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (3, b""), log.read_text()
    return [entry for entry in log.read_text().splitlines() if entry.startswith("✗")]


def test_an_admin_port_that_is_taken(tmp_path: Path) -> None:
    """The fault names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert failed(tmp_path, config=f'[server]\nadmin = "{where}"\n') == [
            f"✗ cannot listen on {where}: Address already in use (server.admin)"
        ]


def test_an_admin_listener_and_workers(tmp_path: Path) -> None:
    """Nobody could tell which of them it shows."""
    config = '[server]\nadmin = ":0"\ntransports = ["websocket"]\n'
    [fault] = failed(tmp_path, "--workers", "2", config=config)
    assert fault.startswith("✗ --workers 2 and server.admin: health and metrics are those of one process")


# ------------------------------------------------------------------- the life of a server

SLOW = """
    import asyncio
    from pathlib import Path

    from jackfield import hookimpl


    @hookimpl
    async def jackfield_startup():
        while not Path("go").exists():
            await asyncio.sleep(0.01)


    @hookimpl
    def jackfield_http():
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        return {"/slow": app}
"""


async def test_from_the_start_to_the_end(tmp_path: Path) -> None:
    """It lives as soon as it starts, is ready when clients can connect, and not any more once it drains."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_plugin(tmp_path / "p", "slow", SLOW)
    write_plugin(tmp_path / "p", "shop", SHOP, namespaces=["api.shop"])
    admin = f"http://127.0.0.1:{port}"
    config = f'[server]\nadmin = "127.0.0.1:{port}"\nstart_timeout = 60\n'
    process, log = launch(tmp_path, config=config, path=[tmp_path / "p"])
    try:
        await probed(admin, "/livez", 200)
        await told(admin, "[-]serving failed: the server is starting")
        assert (await ask(admin, "/slow")).status == 404
        (tmp_path / "go").touch()
        await probed(admin, "/readyz", 200)
        assert (await ask(admin, "/slow")).status == 204
        (tmp_path / "go").unlink()
        assert process.stdout is not None
        url = json.loads(await asyncio.to_thread(process.stdout.readline))["url"]
        async with connected(url, "websocket") as client:
            call = asyncio.ensure_future(client.call("api.shop.wait"))
            await client.call("api.services.test.echo", 1)  # so that the other one runs
            process.terminate()
            await probed(url, "/readyz", 503)
            await told(admin, "[-]serving failed: the server is going away")
            assert (await ask(admin, "/livez")).status == 200
            (tmp_path / "go").touch()
            assert (await call)["data"] is None
        assert await asyncio.to_thread(process.wait, START_LIMIT) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert "Traceback" not in log.read_text()


# ------------------------------------------------------------------- plugins that are required

WEAK = """
    from pathlib import Path

    from jackfield import Call, Service, hookimpl

    service = Service("api.weak")


    @service.function
    async def work(call: Call) -> None:
        if not Path("well").exists():
            raise OSError("no disk")


    @hookimpl
    def jackfield_services():
        return [service]
"""


FRAIL = """

    @hookimpl
    async def jackfield_health():
        await work(None)
"""


async def test_a_plugin_that_fails(tmp_path: Path) -> None:
    """While one that is required is out of service the server is not ready; another one is nobody's concern."""
    write_plugin(tmp_path / "p", "weak", WEAK, namespaces=["api.weak"])
    write_plugin(tmp_path / "p", "frail", WEAK.replace("api.weak", "api.frail") + FRAIL, namespaces=["api.frail"])
    (tmp_path / "well").touch()
    config = '[plugins]\nrequired = ["weak"]\n[quarantine]\nfailures = 1\nretry = 0.1\nmax_retry = 0.1\ntrials = 1\n'
    with serving(tmp_path, config=config, path=[tmp_path / "p"]) as server:
        async with connected(server.url, "websocket") as client:
            await told(server.url, "[+]health/frail ok")
            (tmp_path / "well").unlink()
            await client.call("api.frail.work")
            await probed(server.url, "/readyz", 200)
            assert await line(server.url, "[!]plugin/frail quarantined: ") is not None
            assert await line(server.url, "[-]") is None
            await client.call("api.weak.work")
            await probed(server.url, "/readyz", 503)
            found = await line(server.url, "[-]plugin/weak")
            assert found is not None
            assert found.startswith("[-]plugin/weak failed: it is quarantined: ")
            (tmp_path / "well").touch()

            async def well() -> bool:
                return "error" not in await client.call("api.weak.work")

            await eventually(well)
            await probed(server.url, "/readyz", 200)


def test_a_required_plugin_that_is_not_in_service(tmp_path: Path) -> None:
    """All of them are named, with what became of them; plugins that are not required are nobody's concern."""
    folder = write_plugins(tmp_path / "p")
    write_plugin(folder, "old", "", requires=["jackfield>=99"])
    write_plugin(folder, "slack", "from jackfield import hookimpl\n@hookimpl\nasync def jackfield_startup(): 1 / 0\n")
    names = ["broken", "old", "twin", "shop"]
    config = f'[plugins]\nrequired = {names!r}\ndisabled = ["twin", "slack"]\n'.replace("'", '"')
    faults = failed(tmp_path / "s", config=config, path=folder)
    assert [fault.split(":")[0] for fault in faults] == [
        "✗ plugin broken is quarantined",
        "✗ plugin old is refused",
        "✗ plugin twin is disabled (plugins.required)",
    ]
    assert faults[0].endswith("(plugins.required)")
    [fault] = failed(tmp_path / "t", config='[plugins]\nrequired = ["slack"]\n', path=folder)
    assert fault.startswith("✗ plugin slack is quarantined: ZeroDivisionError: division by zero")


def test_a_required_plugin_that_is_not_installed(tmp_path: Path) -> None:
    """The nearest name is shown."""
    assert failed(tmp_path, config='[plugins]\nrequired = ["dmo"]\n') == [
        "✗ plugins.required: no plugin 'dmo' is installed; did you mean 'demo'?"
    ]


def test_what_is_no_address(tmp_path: Path) -> None:
    """The fault shows how one is written."""
    values: list[Any] = ["9000", "127.0.0.1:", "::1:9000", "localhost:65536", "[x]:1", "a b:1", "http://a:1"]

    for value in values:
        with pytest.raises(StartError, match=r"server\.admin: .*such as 127\.0\.0\.1:9000"):
            load(None, {"server": {"admin": value}}, {})
