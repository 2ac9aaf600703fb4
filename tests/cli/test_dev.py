"""`jackfield serve --dev` as an author has it: what is edited is served, and what is broken is told and waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jackfield._cli.dev import warn
from jackfield._settings import ServerSettings
from jackfield.client import connect
from tests.cli.pseudo import Terminal, terminal
from tests.support.installed import disabled
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import START_LIMIT, Server, serving
from tests.support.waiting import until
from tests.support.wire import wire

TEA = """
    from jackfield import Call, Service, hookimpl

    service = Service("api.tea")

    @service.function
    async def kind(call: Call) -> str:
        return {kind!r}

    @hookimpl
    def jackfield_services():
        return [service]
"""
WRITES = {"PYTHONDONTWRITEBYTECODE": ""}
"""The environment in which Python keeps what it has compiled, as it usually does."""


class Project:
    """A plugin's project, installed editable: its sources lie in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.site, self.folder = folder / "site", folder / "project"
        self.module = self.folder / "src/plugin_tea.py"
        self.path = [self.site, self.module.parent]
        self.module.parent.mkdir(parents=True)
        write_plugin(self.site, "tea", TEA.format(kind="green"), namespaces=["api.tea"])
        shutil.move(self.site / "plugin_tea.py", self.module)
        said = {"url": self.folder.as_uri(), "dir_info": {"editable": True}}
        [info] = self.site.glob("*.dist-info")
        (info / "direct_url.json").write_text(json.dumps(said), encoding="utf-8")

    def write(self, kind: str) -> None:
        """Let it serve another kind of tea."""
        text = self.module.read_text(encoding="utf-8")
        before, _, after = text.partition("return ")
        self.module.write_text(f"{before}return {kind!r}\n{after.partition(chr(10))[2]}", encoding="utf-8")


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Project:
    return Project(tmp_path)


async def says(server: Server, event: str) -> Any:
    """Return what a function answers to a new client; None where the server went away meanwhile."""
    with contextlib.suppress(Exception):  # let in by a server that was told to end just then
        async with wire(server.url) as client:
            return await client.ask(f'427["{event}"]')
    return None


async def will_say(server: Server, event: str, **reply: Any) -> None:
    """Return as soon as a function gives this reply."""
    async with asyncio.timeout(START_LIMIT):
        while True:
            if await says(server, event) == reply:
                return
            await asyncio.sleep(0.05)  # what is asked without a pause starts more slowly


async def test_what_is_edited_or_installed_is_served(tmp_path: Path, project: Project) -> None:
    """At the same address, wherever the plugin's sources lie; whoever is connected is told to come back."""
    others = tmp_path / "others"
    others.mkdir()
    with serving(tmp_path / "server", "--dev", config=disabled(), path=[*project.path, others], env=WRITES) as server:
        await will_say(server, "api.tea.kind", data="green")
        async with wire(server.url) as client:
            modified = project.module.stat()
            project.write("black")
            # Another change in the same second, by a second's clock.
            os.utime(project.module, ns=(modified.st_atime_ns, modified.st_mtime_ns // 10**9 * 10**9))
            assert "draining" in str(await client.receive())
        await will_say(server, "api.tea.kind", data="black")
        assert f"changed: {project.module}\n" in server.log

        write_neighbour(others)
        await will_say(server, "api.neighbour.hello", data="still here")
        [info] = others.glob("*.dist-info")
        shutil.rmtree(info)
        (project.folder / "pyproject.toml").touch()
        gone = {"code": "not_found", "message": "There is no function 'api.neighbour.hello'."}
        await will_say(server, "api.neighbour.hello", error=gone)
        hint = f"for changes of entry points or dependencies to count: pip install --editable {project.folder}\n"
        assert hint in server.log
        [worker] = psutil.Process(server.process.pid).children()
        assert server.stop() == 0
        assert not worker.is_running()
        assert server.process.stdout is not None
        assert {json.loads(line)["url"] for line in server.process.stdout} == {server.url}


async def test_a_plugin_that_cannot_be_imported(tmp_path: Path, project: Project) -> None:
    """Its fault is told with its line and its traceback, without the kernel's; others serve, and it may be healed."""
    path = [*project.path, write_neighbour(tmp_path / "others")]
    healthy = project.module.read_text(encoding="utf-8")
    project.module.write_text(f"import json\n\njson.loads('{{')\n{healthy}", encoding="utf-8")
    with serving(tmp_path / "server", "--dev", config=disabled(), path=path) as server:
        await until(lambda: f'File "{project.module}", line 3' in server.log)
        told = server.log.partition("plugin tea is quarantined: json.decoder.JSONDecodeError: ")[2]
        assert "\n    Traceback (most recent call last):\n      …\n" in told
        assert "jackfield/_plugins.py" not in told
        await will_say(server, "api.neighbour.hello", data="still here")

        project.module.write_text(f"{healthy}\ndef broken(:\n", encoding="utf-8")
        lines = len(healthy.splitlines()) + 2
        await until(lambda: f"SyntaxError: invalid syntax ({project.module}:{lines})" in server.log)
        project.module.write_text(healthy, encoding="utf-8")
        await will_say(server, "api.tea.kind", data="green")


async def test_a_server_that_cannot_start(tmp_path: Path, project: Project) -> None:
    """It keeps its address and waits for the next change; so does a client that comes meanwhile."""
    with serving(tmp_path / "server", "--dev", config=disabled(), path=project.path) as server:
        file = tmp_path / "server/jackfield.toml"
        good = file.read_text(encoding="utf-8")
        file.write_text("[server]\nprot = 1\n", encoding="utf-8")
        await until(lambda: "the server could not start; the next change of a file starts it anew" in server.log)
        assert "✗ server.prot: there is no such key; did you mean server.port?" in server.log

        waiting = asyncio.ensure_future(will_say(server, "api.tea.kind", data="green"))
        await asyncio.sleep(0)
        file.write_text(good, encoding="utf-8")
        await waiting
        assert f"changed: {file}\n" in server.log

        [worker] = psutil.Process(server.process.pid).children()
        worker.kill()
        await until(lambda: "the server was ended by SIGKILL; the next change of a file" in server.log)
        project.write("white")
        await will_say(server, "api.tea.kind", data="white")

        # Killed, it can tell nobody; the worker ends all the same, or nobody would let go of the address.
        [worker] = psutil.Process(server.process.pid).children()
        server.process.kill()
        await until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def stop_in_debugger(project: Project) -> None:
    """Let the plugin stop in a debugger, with an answer that can be changed there."""
    stops = "answer = 42\n    breakpoint()\n    return str(answer)"
    text = project.module.read_text(encoding="utf-8")
    project.module.write_text(text.replace("return 'green'", stops), encoding="utf-8")


@contextlib.contextmanager
def shown(folder: Path, project: Project) -> Iterator[tuple[Terminal, str, str]]:
    """Serve on a terminal; yields that, what it has said, and the address."""
    folder.mkdir()
    (folder / "jackfield.toml").write_text(disabled(), encoding="utf-8")
    path = os.pathsep.join(map(str, project.path))
    with terminal(folder, "serve", "--dev", "--port", "0", PYTHONPATH=path) as screen:
        said = screen.until(r"ready +\S+http://127\.0\.0\.1:\d+")
        yield screen, said, re.findall(r"http://127\.0\.0\.1:\d+", said)[-1]


async def test_a_debugger_has_the_terminal(tmp_path: Path, project: Project) -> None:
    """`breakpoint()` in a plugin stops there; then what was edited is served, and Ctrl+C ends it."""
    healthy = project.module.read_text(encoding="utf-8")
    stop_in_debugger(project)
    with shown(tmp_path / "server", project) as (screen, said, url):
        assert "development mode, not for production" in said
        assert "tea 1.0" in said
        async with connect(url) as client:
            call = asyncio.ensure_future(client.call("api.tea.kind"))
            await asyncio.to_thread(screen.until, r"\(Pdb\) ")
            screen.press(b"answer = 6 * 7 * 10\ncontinue\n")
            assert await call == "420"
        project.module.write_text(healthy, encoding="utf-8")
        again = await asyncio.to_thread(screen.until, r"ready .*again")
        assert "tea 1.0" not in again  # it is as it was
        screen.press(b"\x03")
        assert await asyncio.to_thread(screen.ended) == 0


@pytest.mark.full
async def test_a_debugger_does_not_keep_it(tmp_path: Path, project: Project) -> None:
    """Pressed again, Ctrl+C ends it even there."""
    stop_in_debugger(project)
    with shown(tmp_path / "server", project) as (screen, _, url):
        async with wire(url) as client:
            await client.send('42["api.tea.kind"]')
            await asyncio.to_thread(screen.until, r"\(Pdb\) ")

            def ended() -> bool:
                with contextlib.suppress(OSError):  # it has just ended
                    screen.press(b"\x03")
                return screen.process.poll() is not None

            [worker] = psutil.Process(screen.process.pid).children()
            await until(ended)
    assert not worker.is_running()


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("::1", False), ("localhost", False), ("::", True)])
def test_others_can_reach_it(caplog: pytest.LogCaptureFixture, host: str, warned: bool) -> None:
    """It says so; that it is no server for others it says in any case."""
    with caplog.at_level(logging.WARNING):
        warn(ServerSettings(host=host))
    said = f"others can reach this server (server.host is {host}), in development mode: listen on 127.0.0.1"
    first, *others = caplog.messages
    assert first.startswith("development mode, not for production: ")
    assert others == ([said] if warned else [])


async def test_our_own_plugins_are_quiet(tmp_path: Path) -> None:
    """What they do, most of them in every way that a caller can have it, is no fault to any check."""
    config = '[plugins.files]\nroot = "files"\n[plugins.kv]\npath = "kv.db"\n[plugins.ratelimit]\n'
    with serving(tmp_path, "--dev", config=config) as server:
        async with connect(server.url) as client:
            await _use_demo(client)
            await _use_files(client)
            await _use_kv(client)
            await _use_jobs(client)
            for event in ("ping", "info", "plugins", "functions"):
                await client.call(f"api.system.{event}")
            await client.call("api.system.describe", {"event": "api.kv.watch"})
            await client.call("api.metrics.snapshot")
            async with client.stream("api.metrics.watch") as figures:
                await anext(figures)
            # A task that one of the calls has left behind would be told of by the time of another that is not awaited.
            await client.call("api.services.test.sleep", {"seconds": 1.2})
        assert server.stop() == 0
        told = [line for line in server.log.splitlines() if " jackfield.dev " in line and "development" not in line]
        assert [line for line in told if " api.services.test.crash failed: " not in line] == []


async def _use_demo(client: Any) -> None:
    demo = "api.services.test"
    for event, data in (
        ("testFunc", "tea"),
        ("echo", {"any": [1, b"thing"]}),
        ("add", {"a": 1, "b": 2}),
        ("greet", {"name": "Ann", "born": "2001-02-03"}),
        ("reverse", b"abc"),
        ("digest", b"abc"),
        ("inTurn", {"seconds": 0}),
        ("background", {"seconds": 0}),
        ("work", {"steps": 3, "seconds": 0.01}),
        ("addAll", [1, 2, 3]),
    ):
        await client.call(f"{demo}.{event}", data)
    client.on("question", lambda data: "answer")
    async with client.stream(f"{demo}.count", {"to": 3}) as numbers:
        assert len([number async for number in numbers]) == 3
    async with client.stream(f"{demo}.count") as numbers:
        await anext(numbers)
    await client.call(f"{demo}.total", items=[{"n": 1}, {"n": 2}])
    async with client.stream(f"{demo}.shout", items=["a", "b"]) as words:
        assert [word async for word in words] == ["A", "B"]


async def _use_files(client: Any) -> None:
    async def upload() -> AsyncIterator[Any]:
        yield {"name": "a.txt"}
        yield b"tea"

    await client.call("api.files.upload", items=upload())
    for event, data in (
        ("list", {}),
        ("stat", {"name": "a.txt", "hash": True}),
        ("move", {"name": "a.txt", "to": "b.txt"}),
        ("offset", {"name": "c.txt"}),
    ):
        await client.call(f"api.files.{event}", data)
    async with client.stream("api.files.download", {"name": "b.txt"}) as pieces:
        assert b"".join([piece async for piece in pieces]) == b"tea"
    await client.call("api.files.delete", {"name": "b.txt"})


async def _use_kv(client: Any) -> None:
    async with client.stream("api.kv.watch", {"prefix": "a"}) as changes:
        await client.call("api.kv.set", {"key": "a", "value": {"tea": b"green"}, "ttl": 60})
        while (await anext(changes))["event"] != "set":
            pass
    await client.call("api.kv.get", {"key": "a"})
    async with client.stream("api.kv.list") as entries:
        assert len([entry async for entry in entries]) == 1
    await client.call("api.kv.delete", {"key": "a"})


async def _use_jobs(client: Any) -> None:
    for function, data in (("work", {"steps": 2, "seconds": 0.02}), ("crash", None)):
        job = await client.call("api.jobs.submit", {"function": f"api.services.test.{function}", "data": data})
        async with client.stream("api.jobs.watch", {"id": job["id"]}) as states:
            await anext(states)
        async with client.stream("api.jobs.watch", {"id": job["id"]}) as states:
            assert [state["state"] async for state in states][-1] in ("succeeded", "failed")
        await client.call("api.jobs.get", {"id": job["id"]})
    job = await client.call("api.jobs.submit", {"function": "api.services.test.sleep", "data": {"seconds": 30}})
    await client.call("api.jobs.cancel", {"id": job["id"]})
    await client.call("api.jobs.list")
