"""What `jackfield serve --dev` tells the author of a plugin, and what it does not complain of."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import connected
from tests.support.installed import disabled
from tests.support.plugins import write_plugin
from tests.support.server import START_LIMIT, Server, serving
from tests.support.waiting import until

FAULTY = """
    import asyncio
    import contextvars
    import socket
    import sqlite3
    import subprocess
    import sys
    import time
    import urllib.request
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    import someones_library
    from pydantic import Base64Bytes, BaseModel, Field

    from jackfield import Call, Kernel, Service, Value, hookimpl

    service = Service("api.faulty")
    tasks = set()


    class Size(BaseModel):
        width: int = Field(gt=0, alias="w")
        of: list["Size"] = []


    class Note(BaseModel):
        text: Base64Bytes = Field(b"aGk=", validate_default=True)


    @service.function
    async def sleeps(call: Call) -> None:
        time.sleep(0.001)  # sleeps

    @service.function
    async def opens(call: Call) -> None:
        Path(__file__).read_text()  # opens

    @service.function
    async def connects(call: Call) -> None:
        sqlite3.connect("kept.db").close()  # connects

    @service.function
    async def runs(call: Call) -> None:
        subprocess.run(["true"])  # runs

    @service.function
    async def asks(call: Call) -> None:
        socket.getaddrinfo("127.0.0.1", 1)  # asks

    @service.function
    async def dials(call: Call) -> None:
        with socket.socket() as dialled:
            dialled.connect_ex(("127.0.0.1", 1))
            try:
                dialled.connect(("127.0.0.1", 1))  # dials
            except OSError:
                pass

    @service.function
    async def fetches(call: Call) -> None:
        try:
            urllib.request.urlopen("http://user:secret@127.0.0.1:1/")  # fetches
        except OSError:
            pass

    @service.function
    async def uses(call: Call) -> None:
        someones_library.reads()  # uses

    @service.function
    async def computes(call: Call) -> None:
        end = time.thread_time() + 0.4
        while time.thread_time() < end:
            sum(range(1000))

    @service.function
    async def imports(call: Call) -> None:
        import someones_plugin

    @service.function
    def in_thread(call: Call) -> None:
        time.sleep(0.001)
        open(__file__).close()

    @service.function
    async def well_behaved(call: Call) -> None:
        await asyncio.sleep(0.001)
        await asyncio.to_thread(time.sleep, 0.001)
        await asyncio.to_thread(Path(__file__).read_text)
        await (await asyncio.create_subprocess_exec("true")).wait()
        sqlite3.connect(":memory:").close()
        await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()


    async def forever():
        await asyncio.Event().wait()

    @service.function
    async def leaves(call: Call) -> None:
        await asyncio.sleep(0)
        tasks.add(asyncio.create_task(forever()))  # leaves

    @service.function
    async def leaves_at_once(call: Call) -> None:
        tasks.add(asyncio.get_running_loop().create_task(forever()))  # leaves_at_once

    @service.function
    async def ends_all(call: Call) -> None:
        async def stubborn():
            try:
                await forever()
            finally:
                await asyncio.sleep(0.01)
        told = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        told.cancel()
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        await asyncio.create_task(asyncio.sleep(0))
        tasks.add(asyncio.create_task(asyncio.sleep(0.01)))

    @service.function
    async def keeps(call: Call) -> None:
        kept = asyncio.create_task(forever(), context=contextvars.Context())
        mended.add(kept)
        someones_library.pool(forever())

    mended = set()


    async def answer():
        return 1

    @service.function
    async def forgets(call: Call) -> None:
        answer()  # forgets

    @service.function
    async def fits(call: Call, data: str) -> list[Size]:
        size = Size(w=1)
        if data == "mutated":
            size.of.append(Size(w=2))
            size.of[0].width = -2
        if data == "dictionary":
            return [{"w": 1, "of": [{"w": "wide"}]}]
        if data == "fitting":
            return [{"w": 1}, size]
        return [size]

    @service.function
    async def decodes(call: Call) -> list[Note]:
        return [Note(), {"text": "aGk="}]

    @service.function
    async def streams(call: Call) -> AsyncIterator[int]:
        yield 1
        yield "two"

    @service.function
    async def untyped(call: Call) -> Value:
        return 2**70

    @service.function(emits={"moved": Size})
    async def emits(call: Call, data: list[Any]) -> None:
        for event, value in data:
            await call.emit(event, value)  # emits

    @service.function
    async def emits_freely(call: Call) -> None:
        await call.emit("moved", {"w": "any"})

    @service.function
    async def fails(call: Call) -> None:
        json = {}
        json["key"]  # fails

    @service.function
    async def calls(call: Call, data: str) -> Value:
        return await call.invoke(data)

    @service.function
    async def loaded(call: Call) -> list[str]:
        return sorted(name for name in sys.modules if name.startswith("jackfield._cli.dev"))

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    async def jackfield_startup(kernel: Kernel) -> None:
        time.sleep(0.001)
        open(__file__).close()
        tasks.add(asyncio.create_task(forever()))  # startup
        mended.add(asyncio.create_task(forever()))

    @hookimpl
    async def jackfield_shutdown(kernel: Kernel) -> None:
        time.sleep(0.001)
        for task in mended:
            task.cancel()
"""
LIBRARY = """
import asyncio

kept = set()

def reads():
    open(__file__).close()

def pool(coroutine):
    kept.add(asyncio.create_task(coroutine))
"""
CONFIG = f'{disabled()}\n[log]\nformat = "json"\n[server]\ntrusted_proxies = ["127.0.0.1"]\n'


class Author:
    """Somebody with a plugin, and with a log to look at."""

    def __init__(self, server: Server, path: list[Path]) -> None:
        self.server = server
        self.path = path
        self.file = path[0] / "plugin_faulty.py"

    def place(self, mark: str) -> str:
        """Return the file and the line of the plugin that ends with a mark."""
        lines = self.file.read_text(encoding="utf-8").splitlines()
        [number] = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}")]
        return f"{self.file}:{number}"

    def told(self, *words: str, logger: str = "jackfield.dev") -> list[str]:
        """Return what the log says that has these words, so far."""
        lines = map(json.loads, self.server.log.splitlines())
        said = [line["event"] for line in lines if line["logger"] == logger]
        return [event for event in said if all(word in event for word in words)]

    async def call(self, name: str, data: Any = None) -> Any:
        """Call a function, and return the reply."""
        async with connected(self.server.url, "websocket") as client:
            return await client.call(f"api.faulty.{name}", data)


@pytest.fixture(scope="module", name="author")
def _author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Author]:
    folder, library = tmp_path_factory.mktemp("faulty"), tmp_path_factory.mktemp("library")
    write_plugin(folder, "faulty", FAULTY, namespaces=["api.faulty"])
    (library / "someones_library.py").write_text(LIBRARY, encoding="utf-8")
    (library / "someones_plugin.py").write_text("open(__file__).close()\n", encoding="utf-8")
    with serving(tmp_path_factory.mktemp("server"), "--dev", config=CONFIG, path=[folder, library]) as server:
        author = Author(server, [folder, library])
        yield author
        assert server.stop() == 0
        # The tasks that calls left behind have been told of, and are not again.
        assert author.told("has stopped") == [
            f"plugin faulty has stopped, and a task that it made at {author.place('startup')} still runs: cancel it in "
            "jackfield_shutdown, and wait for it"
        ]


_THREAD = "await asyncio.to_thread(…)"
_SOCKET = f"asyncio.open_connection, a client library for asyncio, or {_THREAD}"


@pytest.mark.parametrize(
    ("name", "written", "instead"),
    [
        ("sleeps", "time.sleep(0.001)", "await asyncio.sleep(…)"),
        ("opens", "open('{file}')", f"{_THREAD} for all that is done with the file"),
        ("connects", "sqlite3.connect('kept.db')", f"{_THREAD} for this and for each query"),
        ("runs", "subprocess.Popen(…)", "await asyncio.create_subprocess_exec(…)"),
        ("asks", "socket.getaddrinfo('127.0.0.1')", _SOCKET),
        ("dials", "socket.connect(…)", _SOCKET),
        ("fetches", "urllib.Request(…)", f"a client for asyncio, such as aiohttp or httpx, or {_THREAD}"),
    ],
)
async def test_a_call_that_blocks_is_named_once(author: Author, name: str, written: str, instead: str) -> None:
    """With the event, the file and the line, the call, and what to write in its place."""
    for _ in range(2):
        assert await author.call(name) == {"data": None}
    assert author.told(author.place(name)) == [
        f"api.faulty.{name} blocks the event loop at {author.place(name)}: {written.format(file=author.file)}; nobody "
        f"else is served until it returns. Use {instead}, or make the function a plain def, which runs in a thread"
    ]


async def test_a_library_that_blocks_is_named_with_the_line_that_called_it(author: Author) -> None:
    """The author can change that line, and sees where it leads."""
    await author.call("uses")
    [told] = author.told("api.faulty.uses")
    assert f"at {author.place('uses')}: open(" in told
    assert "someones_library.py:7)" in told


async def test_what_takes_long_is_named_without_quarantine(author: Author) -> None:
    """The watchdog says how long, and the plugin stays in service."""
    async with asyncio.timeout(START_LIMIT):
        while not author.told("gave the event loop back", "api.faulty.computes", logger="jackfield.watchdog"):
            assert await author.call("computes") == {"data": None}
    for _ in range(3):
        assert await author.call("computes") == {"data": None}
    assert not author.told("quarantined", logger="jackfield.plugins")


@pytest.mark.parametrize("name", ["imports", "in_thread", "well_behaved"])
async def test_what_does_not_block_is_no_fault(author: Author, name: str) -> None:
    """Imports, plain functions, threads, and what asyncio has for it; nor is what hooks do before anybody is served."""
    assert await author.call(name) == {"data": None}
    assert author.told(f"api.faulty.{name}") == []
    assert author.told("blocks", "jackfield_startup") == []


async def test_a_task_that_is_left_behind(author: Author) -> None:
    """It is named with the line that made it; one that is awaited, or told to end, or kept on purpose, is none."""
    for name in ("ends_all", "keeps", "leaves", "leaves_at_once"):
        assert await author.call(name) == {"data": None}
    for name in ("leaves", "leaves_at_once"):
        # The others were called before, and so would have been told of before.
        assert await until(lambda name=name: author.told(f"api.faulty.{name} has ended")) == [  # type: ignore[misc]
            f"api.faulty.{name} has ended, and a task that it made at {author.place(name)} still runs: await it, or "
            "cancel it. What is to outlive its call is made in jackfield_startup, or with "
            "context=contextvars.Context(), and cancelled in jackfield_shutdown"
        ]
    assert len(author.told("has ended, and a task")) == 2


async def test_a_coroutine_that_is_not_awaited(author: Author) -> None:
    """The line is that which made it."""
    await author.call("forgets")
    assert await until(lambda: author.told("is never awaited")) == [
        f"the coroutine answer made at {author.place('forgets')} is never awaited: write await before it"
    ]


async def test_a_result_that_only_a_close_look_finds_wrong(author: Author) -> None:
    """Its caller gets it, as in production, and the log says where in it what is wrong."""
    for _ in range(2):
        reply = await author.call("fits", "mutated")
        assert reply["data"][0]["of"][0]["w"] == -2
    [told] = author.told("api.faulty.fits: the result does not fit", "-2")
    assert f"({author.file}:" in told
    assert " promises: 0.of.0.width: " in told
    assert told.endswith(
        "Input should be greater than 0, and is -2 [greater_than]; it is sent all the same, for only a look into its "
        "models shows it"
    )


async def test_a_result_that_does_not_fit(author: Author) -> None:
    """A caller on this machine is told what the log says: where it is wrong, and whose it is."""
    error = (await author.call("fits", "dictionary"))["error"]
    said = "Input should be a valid integer, unable to parse string as an integer"
    assert error["code"] == "internal"
    assert error["details"] == [{"path": [0, "of", 0, "w"], "type": "int_parsing", "message": said}]
    assert error["message"].startswith(f"api.faulty.fits: the result does not fit what fits ({author.file}:")
    told = error["message"].removesuffix(", see details.")
    assert author.told(error["error_id"]) == [
        f"{told}: 0.of.0.w: {said}, and is 'wide' [int_parsing] (error_id {error['error_id']})"
    ]


async def test_an_item_that_does_not_fit(author: Author) -> None:
    """The items before it have been sent."""
    async with connected(author.server.url, "websocket") as client:
        await client.send({"event": "api.faulty.streams", "id": 1})
        assert await client.next("stream") == {"id": 1, "data": 1}
        error = (await client.next("stream"))["error"]
    assert error["message"].startswith("api.faulty.streams: an item does not fit what streams (")
    assert error["details"][0]["type"] == "int_parsing"


async def test_a_result_that_cannot_be_sent(author: Author) -> None:
    """It is no fault of its type, and told likewise; what only its encoding lacks is told with the function's place."""
    error = (await author.call("untyped"))["error"]
    assert error["code"] == "internal"
    assert error["message"].startswith("api.faulty.untyped: the result does not fit what untyped (")
    assert error["message"].endswith("send it as a string.")
    async with connected(author.server.url, "websocket") as client:
        error = (await client.call("api.faulty.untyped", accept="msgpack"))["error"]
    assert re.fullmatch(rf"EncodeError: .+ \(untyped \({re.escape(str(author.file))}:\d+\)\)", error["message"])


@pytest.mark.parametrize("data", ["", "fitting"])
async def test_a_result_that_fits(author: Author, data: str) -> None:
    """A model, a dictionary, an alias, and what is decoded when it is validated."""
    assert "data" in await author.call("fits", data)
    assert await author.call("decodes") == {"data": 2 * [{"text": "aGk="}]}
    assert author.told("api.faulty.decodes") == []
    assert [line for line in author.told("api.faulty.fits") if "-2" not in line and "wide" not in line] == []


@pytest.mark.parametrize(
    ("event", "value", "said"),
    [
        ("moved", {"w": -1}, "w: Input should be greater than 0, and is -1 [greater_than]"),
        ("moved", {"w": "1", "of": []}, 'it is {"w":"1","of":[]} where its type is written as {"w":1,"of":[]}'),
        ("gone", None, "its contract names 'moved' only"),
    ],
)
async def test_an_emitted_event_that_does_not_fit(author: Author, event: str, value: Any, said: str) -> None:
    """The log says so, with the line; it is sent all the same."""
    async with connected(author.server.url, "websocket") as client:
        assert await client.call("api.faulty.emits", [[event, value]]) == {"data": None}
        assert await client.next(event) == value
    [told] = author.told(f"api.faulty.emits emits {event!r} at {author.place('emits')}", said)
    assert told.endswith("; it is sent all the same")


async def test_an_emitted_event_that_fits(author: Author) -> None:
    """Nor is anything wrong where the function says nothing of what it emits."""
    before = author.told("emits")
    assert await author.call("emits", [["moved", {"w": 1, "of": []}]]) == {"data": None}
    assert await author.call("emits_freely") == {"data": None}
    assert author.told("emits") == before


@pytest.mark.parametrize("name", ["fails", "calls"])
async def test_a_caller_on_this_machine_is_told_of_exceptions(author: Author, name: str) -> None:
    """Its class, its text, and the line, whether it called the function itself or through another."""
    error = (await author.call(name, "api.faulty.fails" if name == "calls" else None))["error"]
    assert error["code"] == "internal"
    assert error["message"] == f"KeyError: 'key' ({author.place('fails')} in fails)"
    assert f"error_id {error['error_id']}" in author.told("api.faulty.fails failed: KeyError")[-1]


async def test_a_caller_elsewhere_is_told_nothing(author: Author) -> None:
    """What production tells, although the server runs for an author."""
    async with connected(author.server.url, "websocket", headers={"X-Forwarded-For": "203.0.113.9"}) as client:
        for name, data in (("fails", None), ("fits", "dictionary")):
            error = (await client.call(f"api.faulty.{name}", data))["error"]
            assert error == {
                "code": "internal",
                "message": f"Something went wrong in the server (error {error['error_id']}).",
                "error_id": error["error_id"],
            }


async def test_nothing_of_it_is_there_without_the_option(author: Author, tmp_path: Path) -> None:
    """A server that runs for others has imported no check."""
    assert len((await author.call("loaded"))["data"]) > 5
    with serving(tmp_path, config=disabled(), path=author.path) as server:
        async with connected(server.url, "websocket") as client:
            assert await client.call("api.faulty.loaded") == {"data": []}
