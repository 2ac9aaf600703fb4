"""`jackfield call`."""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.cli.shell import Hide, Invoke, Result, Shell
from tests.support.installed import disabled
from tests.support.plugins import write_plugin
from tests.support.server import Server, environment, serving

GUARD = r"""
    import asyncio
    from jackfield import Call, CallError, Handshake, Principal, Service, hookimpl

    service = Service("api.guard")

    @service.function(requires=())
    async def wait(call: Call) -> None:
        await call.emit("message", "running")
        await asyncio.sleep(60)

    @service.function(requires=())
    async def busy(call: Call) -> None:
        raise CallError("unavailable", "Too many of you.\nCome back later.", retry_after=200)

    @service.function(requires=())
    async def closed(call: Call) -> None:
        details = [
            {"path": [], "type": "poll_\x1bclosed", "message": "It ended at noon."},
            {"path": ["day", 0], "type": "past", "message": "That was yesterday."},
            {"path": [], "message": "There is no word for it."},
        ]
        raise CallError("failed_precondition", "The vote was not counted.", details=details)

    @service.function(requires=())
    async def odd(call: Call) -> dict[str, str]:
        return {"bell": "\x07\x1b[31m\x9b", "word": "grün"}

    @service.function(requires=())
    async def refuse(call: Call) -> None:
        raise CallError("aborted", "\x1b]0;gotcha\x07no")

    @service.function(requires=())
    async def parts(call: Call) -> dict[str, list[bytes]]:
        return {"parts": [b"\x00\x01", b""]}

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    async def jackfield_authenticate(handshake: Handshake) -> Principal | None:
        return Principal("me") if handshake.auth.get("token") == "open sesame" else None
"""
Call: TypeAlias = Callable[..., Result]
TOKEN = ("--token", "open sesame")


@pytest.fixture(scope="module", name="guarded")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a token, and has functions that do what the demonstration does not."""
    folder = write_plugin(tmp_path_factory.mktemp("guard"), "guard", GUARD, namespaces=["api.guard"])
    with serving(folder / "server", path=[folder], config='[server]\ntransports = ["polling"]') as server:
        yield server


@pytest.fixture(name="call")
def _call(shell: Shell, invoke: Invoke, server: Server) -> Call:
    """Call a function of the shared server, whose address is configured; in a process to read standard input."""

    def call(event: str, *arguments: str, stdin: bytes | None = None) -> Result:
        env = {"JACKFIELD_SERVER__PORT": server.url.rpartition(":")[2]}
        if stdin is not None:
            return shell("call", event, *arguments, env=env, stdin=stdin)
        return invoke("call", event, *arguments, env=env)

    return call


# ------------------------------------------------------------------- results


@pytest.mark.parametrize(
    ("event", "data", "shown"),
    [
        ("api.services.test.add", '{"a": 1, "b": 2}', '{"sum": 3}'),
        ("api.services.test.testFunc", '"You`re welcome, Jürgen"', '"You`re welcome, Jürgen"'),
        ("api.services.test.echo", "null", "null"),
    ],
)
def test_the_result_is_json_on_one_line(call: Call, event: str, data: str, shown: str) -> None:
    """Standard output holds the result and nothing else."""
    result = call(event, data)
    assert (result.status, result.out, result.err) == (0, f"{shown}\n", "")


def test_data_may_be_left_out(call: Call) -> None:
    """A function that takes nothing is called with nothing."""
    assert call("api.system.ping").out == '"pong"\n'


def test_data_comes_from_standard_input_or_a_file(call: Call, tmp_path: Path) -> None:
    """`-` reads standard input, `@file` a file."""
    assert call("api.services.test.add", "-", stdin=b'{"a": 1, "b": 2}').out == '{"sum": 3}\n'
    (tmp_path / "data.json").write_text('{"a": 3, "b": 4}', encoding="utf-8")
    assert call("api.services.test.add", "@data.json").out == '{"sum": 7}\n'


def test_a_file_is_sent_as_a_buffer_and_a_buffer_comes_raw(call: Call, tmp_path: Path) -> None:
    """Bytes in, bytes out, where standard output is no terminal."""
    content = bytes(range(256))
    (tmp_path / "in.bin").write_bytes(content)
    result = call("api.services.test.reverse", "--file", "in.bin")
    assert (result.status, result.raw, result.err) == (0, content[::-1], "")


def test_a_buffer_can_be_written_to_a_file(call: Call, tmp_path: Path) -> None:
    """With --output standard output stays empty."""
    (tmp_path / "in.bin").write_bytes(b"abc")
    result = call("api.services.test.reverse", "--file", "in.bin", "--output", "out.bin")
    assert (result.status, result.raw, result.err) == (0, b"", "3 bytes are in out.bin\n")
    assert (tmp_path / "out.bin").read_bytes() == b"cba"


def test_a_result_that_is_no_buffer_is_not_written_to_a_file(call: Call, tmp_path: Path) -> None:
    """It is shown instead of being lost, and the status says that the file is not there."""
    result = call("api.services.test.add", '{"a": 1, "b": 2}', "--output", "out.bin")
    assert (result.status, result.out) == (1, '{"sum": 3}\n')
    assert result.err == "✗ the result is no Buffer, so out.bin was not written\n"
    assert not (tmp_path / "out.bin").exists()


def test_on_a_terminal_a_buffer_is_base64(server: Server, tmp_path: Path) -> None:
    """Raw bytes would steer the terminal."""
    (tmp_path / "in.bin").write_bytes(b"\x07\x1b[31m")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "jackfield", "call", "api.services.test.reverse", "--file", "in.bin"]
    done = subprocess.run(
        [*command, "--url", server.url], cwd=tmp_path, env=environment(), stdout=slave, timeout=30, check=False
    )
    os.close(slave)
    written = os.read(master, 1000)
    os.close(master)
    assert done.returncode == 0
    assert json.loads(written) == {"base64": base64.b64encode(b"m13[\x1b\x07").decode()}


def test_json_writes_the_whole_reply(call: Call) -> None:
    """For programs: the envelope as it came, indented."""
    result = call("api.services.test.add", '{"a": 1, "b": 2}', "--json")
    assert (result.status, result.json, result.err) == (0, {"data": {"sum": 3}}, "")


def test_buffers_inside_a_result_are_base64(invoke: Invoke, guarded: Server) -> None:
    """A Buffer among other things is an object with its base64; the server here knows polling only."""
    result = invoke("call", "api.guard.parts", "--url", guarded.url, *TOKEN)
    assert (result.status, result.out) == (0, '{"parts": [{"base64": "AAE="}, {"base64": ""}]}\n')


def test_nothing_that_a_server_says_steers_the_terminal(invoke: Invoke, guarded: Server) -> None:
    """Control characters come escaped, letters of all tongues as they are."""
    result = invoke("call", "api.guard.odd", "--url", guarded.url, *TOKEN)
    assert result.out == '{"bell": "\\u0007\\u001b[31m\\u009b", "word": "grün"}\n'
    result = invoke("call", "api.guard.refuse", "--url", guarded.url, *TOKEN)
    assert result.err == "✗ aborted  api.guard.refuse\n  \\u001b]0;gotcha\\u0007no\n"


def test_events_are_told_on_request(call: Call) -> None:
    """What the server emits meanwhile goes to standard error, and only with --events."""
    result = call("api.services.test.testFunc", '"hi"', "--events")
    assert (result.status, result.out) == (0, '"hi"\n')
    assert result.err == '{"event": "message", "data": "hi"}\n'


# ------------------------------------------------------------------- errors


def test_each_fault_of_the_argument_has_its_line(call: Call) -> None:
    """The code and the event, then where and what, then the command that tells more."""
    result = call("api.services.test.add", '{"a": 1}')
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "✗ invalid_argument  api.services.test.add\n"
        "  b   Field required\n"
        "  jackfield functions api.services.test.add shows what it takes\n"
    )


def test_faults_stand_below_one_another(call: Call) -> None:
    """Whatever the length of their paths; one in the argument as a whole is at `data`."""
    result = call("api.services.test.addAll", '[1, "x", 2.5]')
    assert result.err.splitlines()[1:3] == [
        "  1   Input should be a valid integer, unable to parse string as an integer",
        "  2   Input should be a valid integer, got a number with a fractional part",
    ]
    result = call("api.services.test.add", "[]")
    assert result.err.splitlines()[1] == "  data   Input should be an object"


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            "api.services.test.ad",
            "✗ not_found  api.services.test.ad\n"
            "  There is no function 'api.services.test.ad'. Did you mean api.services.test.add?\n",
        ),
        (
            "api.services.test.fail",
            "✗ failed_precondition  api.services.test.fail\n  This function always fails, on purpose.\n",
        ),
        (
            "nonsense",
            "✗ invalid_argument  nonsense\n"
            "  event 'nonsense' is no dotted path: it goes <namespace>.<function>, in letters, digits and _\n",
        ),
        ("", "✗ invalid_argument  \n  event cannot be empty\n"),
    ],
)
def test_an_error_without_details_has_its_message(call: Call, event: str, shown: str) -> None:
    """What the server says is shown as it says it."""
    result = call(event)
    assert (result.status, result.out, result.err) == (1, "", shown)


def test_the_id_of_an_accident_is_shown(call: Call, server: Server) -> None:
    """An operator finds it in the log."""
    result = call("api.services.test.crash")
    first, message, error_id = result.err.splitlines()
    assert result.status == 1
    assert first == "✗ internal  api.services.test.crash"
    shown = error_id.removeprefix("  error_id   ").removesuffix(" (the server's log tells more under it)")
    assert f"error_id {shown}" in server.log
    assert message == f"  Something went wrong in the server (error {shown})."


def test_when_a_later_try_can_succeed_is_shown(invoke: Invoke, guarded: Server) -> None:
    """A message of several lines is indented line by line; retry_after follows it."""
    result = invoke("call", "api.guard.busy", "--url", guarded.url, *TOKEN)
    assert result.status == 1
    assert result.err == (
        "✗ unavailable  api.guard.busy\n  Too many of you.\n  Come back later.\n  retry_after   200 ms\n"
    )


def test_a_reason_of_the_functions_own_is_shown(invoke: Invoke, guarded: Server) -> None:
    """Where a detail is about no part of the data, the word for its kind stands before it."""
    result = invoke("call", "api.guard.closed", "--url", guarded.url, *TOKEN)
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines() == [
        "✗ failed_precondition  api.guard.closed",
        "  The vote was not counted.",
        "  poll_\\u001bclosed   It ended at noon.",
        "  day.0               That was yesterday.",
        "                      There is no word for it.",
    ]


def test_an_error_as_json_is_data(call: Call) -> None:
    """With --json the reply goes to standard output whatever it says; the status tells."""
    result = call("api.services.test.fail", "--json")
    assert (result.status, result.err) == (1, "")
    assert result.json == {
        "error": {"code": "failed_precondition", "message": "This function always fails, on purpose."}
    }


def test_a_call_that_takes_too_long_is_ended(call: Call) -> None:
    """--timeout is the deadline of the call, kept by the server."""
    result = call("api.services.test.sleep", '{"seconds": 60}', "--timeout", "0.2")
    assert result.status == 1
    assert (
        result.err == "✗ deadline_exceeded  api.services.test.sleep\n  api.services.test.sleep did not end in time.\n"
    )


def test_data_that_is_too_large_is_named_as_the_cause(call: Call, tmp_path: Path) -> None:
    """A server that is sent more than its limit closes the connection; the sizes say why."""
    (tmp_path / "big").write_bytes(bytes(1_500_000))
    result = call("api.services.test.digest", "--file", "big")
    assert result.status == 1
    assert result.err == (
        "✗ the server closed the connection before it answered: "
        "the data has 1500000 bytes, and limits.message_size is 1000000\n"
    )


# ------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["hello"],
            "Invalid value for DATA: DATA is not JSON (Expecting value: line 1 column 1 (char 0)). "
            "A string goes in quotes: '\"hello\"'",
        ),
        (
            ["{'a': 1}"],
            "Invalid value for DATA: DATA is not JSON (Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)). A string goes in quotes: '\"hello\"'",
        ),
        (
            ["[NaN]"],
            "Invalid value for DATA: DATA is not JSON (JSON has no NaN). A string goes in quotes: '\"hello\"'",
        ),
        (
            ["@jackfield.toml"],
            "Invalid value for DATA: jackfield.toml is not JSON (Expecting value: line 1 column 1 (char 0)). "
            "--file jackfield.toml sends it as it is, in a Buffer.",
        ),
        (["@nowhere"], "Invalid value for DATA: 'nowhere' cannot be read: No such file or directory."),
        (["1", "--file", "jackfield.toml"], "DATA and --file exclude each other."),
        (["--file", "nowhere"], "Invalid value for '--file': File 'nowhere' does not exist."),
        (["--output", "no/where"], "Invalid value for --output: there is no folder 'no'."),
        (["--timeout", "0"], "Invalid value for '--timeout': 0.0 is not in the range x>=0.001."),
        (["--token", "a", "--token-file", "jackfield.toml"], "--token and --token-file exclude each other."),
        (
            ["--url", "ftp://x"],
            "Invalid value for '--url': 'ftp://x' is no address of a server, such as http://127.0.0.1:8000",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_is_a_usage_error(invoke: Invoke, arguments: list[str], message: str) -> None:
    """Status 2 and a sentence, before any server is asked."""
    result = invoke("call", "api.services.test.echo", *arguments, config="")
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[-1] == f"Error: {message}"


def test_what_is_nested_beyond_reason_is_no_crash(call: Call) -> None:
    """Neither reading nor sending it ends in a traceback."""
    assert call("api.services.test.echo", "[" * 100_000).status == 2
    assert call("api.services.test.echo", "[" * 700 + "]" * 700).status == 1


# ------------------------------------------------------------------- the connection


def test_no_server_is_a_failure(invoke: Invoke, closed_port: int) -> None:
    """The message says how to start one."""
    result = invoke("call", "api.system.ping")
    assert (result.status, result.out) == (1, "")
    assert result.err == f"✗ no server answers at http://127.0.0.1:{closed_port}: start one with jackfield serve\n"


def test_a_port_that_nobody_knows_is_a_failure(invoke: Invoke) -> None:
    """A server on a port of the system's choice has to be named."""
    result = invoke("call", "api.system.ping", env={"JACKFIELD_SERVER__PORT": "0"})
    assert result.status == 1
    assert result.err == "✗ server.port is 0, so nobody knows where the server is: give its address with --url\n"


def test_a_refused_connection_shows_why(invoke: Invoke, guarded: Server) -> None:
    """Code and message of the server, and the option that is missing."""
    result = invoke("call", "api.guard.odd", "--url", guarded.url)
    assert (result.status, result.out) == (1, "")
    first, *_, last = result.err.splitlines()
    assert first == f"✗ unauthenticated  {guarded.url}"
    assert last == "  say who you are with --token or --token-file"


def test_a_server_that_refuses_does_not_hinder_looking_around(invoke: Invoke, guarded: Server) -> None:
    """`functions` says that it was not let in, and finds out by itself."""
    config, port = disabled(), guarded.url.rpartition(":")[2]
    result = invoke("functions", "--json", config=config, env={"JACKFIELD_SERVER__PORT": port})
    assert (result.status, result.json) == (0, [])
    assert result.err.startswith(f"{guarded.url} refuses the connection: unauthenticated: ")
    hint = " (say who you are with --token or --token-file)"
    assert result.err.endswith(f"{hint}; loaded here, each plugin in a process of its own\n")


def test_a_token_comes_from_a_file(invoke: Invoke, guarded: Server, tmp_path: Path) -> None:
    """So that it stands in no list of processes; a line's end does not belong to it."""
    (tmp_path / "token").write_text("open sesame\n", encoding="utf-8")
    result = invoke("functions", "api.guard.odd", "--json", "--url", guarded.url, "--token-file", "token")
    assert result.status == 0
    assert result.json[0]["event"] == "api.guard.odd"


def test_a_token_comes_from_the_environment(invoke: Invoke, guarded: Server) -> None:
    """Unless an option says another one; neither is repeated where it is refused, and it is no setting."""
    asked = ("functions", "api.guard.odd", "--json", "--url", guarded.url)
    assert invoke(*asked, env={"JACKFIELD_TOKEN": "open sesame"}).json[0]["event"] == "api.guard.odd"
    for arguments, variable in [((), "barley"), (("--token", "barley"), "open sesame"), ((), "")]:
        result = invoke("call", "api.guard.odd", "--url", guarded.url, *arguments, env={"JACKFIELD_TOKEN": variable})
        assert result.status == 1
        assert "unauthenticated" in result.err
        assert "barley" not in result.err
    assert invoke("config", "show", env={"JACKFIELD_TOKEN": "open sesame"}).status == 0


def test_another_path_can_be_given(invoke: Invoke, server: Server) -> None:
    """The path of the address is the Socket.IO path."""
    result = invoke("call", "api.system.ping", "--url", f"{server.url}/socket.io/")
    assert (result.status, result.out) == (0, '"pong"\n')
    result = invoke("call", "api.system.ping", "--url", f"{server.url}/elsewhere")
    assert result.status == 1
    assert result.err == (
        f"✗ what answers at {server.url}/elsewhere is no jackfield server "
        "(Unexpected status code 404 in server response)\n"
    )


def test_without_aiohttp_nobody_can_be_called(shell: Shell, unloadable: Hide) -> None:
    """The message has the command that installs what is missing."""
    result = shell("call", "api.system.ping", path=[unloadable("aiohttp")])
    assert result.status == 1
    assert result.err == '✗ speaking with a server needs aiohttp: pip install "jackfield[standard]"\n'


def test_ctrl_c_ends_the_call(guarded: Server, tmp_path: Path) -> None:
    """The status is 130, and there is no traceback."""
    command = [sys.executable, "-m", "jackfield", "call", "api.guard.wait", "--events", "--url", guarded.url, *TOKEN]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == '{"event": "message", "data": "running"}\n'
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""
