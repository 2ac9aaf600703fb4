"""What a server logs: for people, or in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jackfield._cli.logs import without_secrets
from tests.cli.shell import Hide, Invoke
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import Server, launch, serving
from tests.support.waiting import until

TALKER = """
    import logging
    import warnings
    from jackfield import Call, Principal, Service, hookimpl

    service = Service("api.talker")
    log = logging.getLogger("plugin_talker")

    @service.function(requires=())
    async def speak(call: Call, data: str) -> None:
        log.info("it said %s", data, extra={"order": 17, "access_token": "sesame", "odd": object()})

    @service.function(requires=())
    def thread(call: Call) -> None:
        log.warning("in a thread")

    @service.function(requires=())
    async def wait(call: Call) -> None:
        import asyncio
        await asyncio.sleep(0)
        log.info("after a wait")

    @service.function(requires=())
    async def crash(call: Call) -> None:
        raise RuntimeError("one\\ntwo, token=sesame")

    @service.function(requires=())
    async def broken(call: Call) -> None:
        log.info("%d", "no number")
        warnings.warn("careful")

    @service.function(requires=())
    async def native(call: Call) -> None:
        import structlog
        from structlog.stdlib import BoundLogger, ProcessorFormatter
        processors = [ProcessorFormatter.wrap_for_formatter]
        structlog.wrap_logger(log, processors=processors, wrapper_class=BoundLogger).info("native", order=5)

    @hookimpl
    async def jackfield_startup(kernel, settings):
        log.info("up")

    @hookimpl
    async def jackfield_authenticate(handshake):
        return Principal("ann b")

    @hookimpl
    def jackfield_services():
        return [service]
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module", name="talker")
def _talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin that logs."""
    return write_plugin(tmp_path_factory.mktemp("talker"), "talker", TALKER, namespaces=["api.talker"])


@pytest.fixture(scope="module", name="machine")
def _machine(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose log is JSON."""
    with serving(tmp_path_factory.mktemp("machine"), path=[talker], config='[log]\nformat = "json"\n') as server:
        yield server


@pytest.fixture(scope="module", name="person")
def _person(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose log is for people, which is the default."""
    with serving(tmp_path_factory.mktemp("person"), path=[talker]) as server:
        yield server


async def logged(server: Server, event: str, data: Any = None, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Call a function, and return the reply and the lines that the log has got by it."""
    before = len(server.log)
    async with connected(server.url) as client:
        reply = await client.call(event, data, **more)
    await until(lambda: "\n" in server.log[before:])
    return reply, server.log[before:].splitlines()


async def test_each_line_is_json_with_what_is_known_of_the_call(machine: Server) -> None:
    """Also what plugins log with `logging`, with their own fields; no secret is among them."""
    meta = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    _, lines = await logged(
        machine, "api.talker.speak", "Authorization: Bearer sesame\n2030 ERROR", id="a 1", meta=meta
    )
    [line] = map(json.loads, lines)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line.pop("client")
    assert line.pop("odd").startswith("<object object")
    assert line == {
        "level": "info",
        "logger": "plugin_talker",
        "event": "it said Authorization: ***\n2030 ERROR",
        "pid": machine.process.pid,
        "call": "api.talker.speak",
        "id": "a 1",
        "principal": "ann b",
        "plugin": "talker",
        "trace_id": TRACE,
        "order": 17,
        "access_token": "***",
    }


@pytest.mark.parametrize("function", ["thread", "wait"])
async def test_the_call_is_known_wherever_its_function_runs(machine: Server, function: str) -> None:
    """In a thread, and after a wait; without a trace there is no id of one."""
    _, lines = await logged(machine, f"api.talker.{function}", meta={"traceparent": "00-nonsense-01"})
    [line] = map(json.loads, lines)
    assert (line["call"], line["plugin"]) == (f"api.talker.{function}", "talker")
    assert "trace_id" not in line


async def test_a_failure_has_its_id_and_its_trace(machine: Server) -> None:
    """On the line on which the exception is, as a field."""
    meta = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    reply, lines = await logged(machine, "api.talker.crash", meta=meta)
    [line] = map(json.loads, lines)
    assert line["error_id"] == reply["error"]["error_id"]
    assert (line["level"], line["call"], line["trace_id"]) == ("error", "api.talker.crash", TRACE)
    assert (line["exception"][0]["exc_type"], line["exception"][0]["exc_value"]) == (
        "RuntimeError",
        "one\ntwo, token=***",
    )
    assert line["exception"][0]["frames"][-1]["name"] == "crash"
    assert "locals" not in line["exception"][0]["frames"][-1]


async def test_plugins_may_use_structlog(machine: Server) -> None:
    """Its fields come as they are."""
    _, lines = await logged(machine, "api.talker.native")
    [line] = map(json.loads, lines)
    assert (line["event"], line["order"], line["call"]) == ("native", 5, "api.talker.native")


async def test_what_goes_wrong_while_logging_is_logged(machine: Server) -> None:
    """Arguments that do not fit, and Python's warnings."""
    _, lines = await logged(machine, "api.talker.broken")
    first, second = map(json.loads, lines)
    assert first["event"] == "%d (its arguments do not fit: TypeError)"
    assert second["logger"] == "py.warnings"
    assert "careful" in second["event"]


def test_outside_a_call_there_is_no_call(machine: Server) -> None:
    """The start of a plugin, for example; every line that the server wrote is JSON."""
    lines = [json.loads(line) for line in machine.log.splitlines()]
    [up] = [line for line in lines if line["event"] == "up"]
    assert up.keys() == {"timestamp", "level", "logger", "event", "pid"}


async def test_a_line_for_people(person: Server) -> None:
    """When, how bad, who, what, and the same fields; what came from outside begins no line."""
    _, lines = await logged(person, "api.talker.speak", "hi\x1b[31m\n2030 ERROR", id=7)
    [line] = lines
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    plugin_talker  it said hi\\u001b\[31m\\n2030 ERROR  "
        r"call=api\.talker\.speak id=7 client=[\w-]+ principal=\"ann b\" plugin=talker order=17 "
        r"access_token=\"\*\*\*\" odd=\"<object object at .+>\"",
        line,
    )
    _, (first, *trace) = await logged(person, "api.talker.crash")
    assert "  call=api.talker.crash client=" in first
    assert all(one.startswith("    ") for one in trace)
    assert trace[-1] == "    two, token=***"


def test_workers_say_which_they_are(talker: Path, tmp_path: Path) -> None:
    """In their lines for people; JSON always has it."""
    config = '[server]\ntransports = ["websocket"]\n'
    with serving(tmp_path, "--workers", "2", path=[talker], config=config) as server:
        pids = set(re.findall(r" up  pid=(\d+)$", server.log, re.MULTILINE))
        assert pids
        assert str(server.process.pid) not in pids


def test_json_needs_structlog(tmp_path: Path, invoke: Invoke, unloadable: Hide) -> None:
    """Without it the server does not start, and says what to install; the default does without."""
    path = [unloadable("structlog")]
    process, log = launch(tmp_path / "server", path=path, config='[log]\nformat = "json"\n')
    assert process.wait(30) == 3
    process.communicate()
    fault = 'log.format "json" needs structlog: pip install structlog, or "jackfield[standard]" (log.format)'
    assert log.read_text(encoding="utf-8") == f"✗ {fault}\n"
    with serving(tmp_path / "plain", path=path) as server:
        assert "✗" not in server.log


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("authorization=abc, x", "authorization=***, x"),
        ("{'Authorization': 'Basic a b', 'x': 1}", "{'Authorization': ***, 'x': 1}"),
        ("[(b'authorization', b'Bearer abc')]", "[(b'authorization', b***)]"),
        ('{"token": "a b c"}', '{"token": ***}'),
        ("GET /?access_token=abc&x=1", "GET /?access_token=***&x=1"),
        ("sent bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "sent bearer ***"),
        (
            "the token, which has expired, is of the bearer of it",
            "the token, which has expired, is of the bearer of it",
        ),
        ("tokens: 5", "tokens: 5"),
        ("nobody is asked for a token: all are let in", "nobody is asked for a token: all are let in"),
        ("token: a1b2", "token: ***"),
        ("a" * 1_000_000, "a" * 1_000_000),
    ],
    ids=lambda text: text[:20],
)
def test_secrets_are_masked_wherever_they_stand(text: str, shown: str) -> None:
    """After `Authorization`, after `token`, after `Bearer`; prose stays."""
    assert without_secrets(text) == shown
