"""`jackfield call` with functions that take and give streams."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.shell import Invoke, Result, Shell
from tests.support.plugins import write_plugin
from tests.support.server import Server, environment, serving
from tests.support.waiting import until

# A command takes a second of both cores, so the rarer ways are in the larger run.

DEPOT = r"""
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path
    from jackfield import Call, CallError, Service, Value, hookimpl

    service = Service("api.depot")

    @service.function
    async def upload(call: Call, items: AsyncIterator[bytes]) -> dict[str, Value]:
        sizes = [len(piece) async for piece in items]
        return {"name": call.meta.get("filename"), "pieces": len(sizes), "size": sum(sizes), "largest": max(sizes)}

    @service.function
    async def mirror(call: Call, items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in items:
            yield piece

    @service.function
    async def store(call: Call, data: bytes) -> dict[str, Value]:
        return {"name": call.meta.get("filename"), "of": call.meta.get("of"), "size": len(data)}

    @service.function
    async def download(call: Call, data: int = 3) -> AsyncIterator[bytes]:
        for number in range(data):
            yield bytes([number]) * 3

    @service.function
    async def mixed(call: Call) -> AsyncIterator[Value]:
        yield b"ab"
        yield {"n": b"c"}
        yield b"de"

    @service.function
    async def brittle(call: Call) -> AsyncIterator[int]:
        yield 1
        yield 2
        raise CallError("aborted", "It broke.")

    @service.function
    async def forever(call: Call, data: str) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            Path(data).touch()

    @service.function
    async def slow(call: Call, data: str) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            Path(data).touch()

    @service.function
    async def steps(call: Call, data: int) -> AsyncIterator[int]:
        for number in range(1, data + 1):
            call.progress(number, data, f"step {number}")
            await asyncio.sleep(0.12)
            yield number

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(scope="module", name="depot")
def _depot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with functions of every kind."""
    folder = write_plugin(tmp_path_factory.mktemp("depot"), "depot", DEPOT, namespaces=["api.depot"])
    with serving(folder / "server", path=[folder]) as server:
        yield server


@pytest.fixture(scope="module", name="mute")
def _mute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same without the system plugin, so that nobody says what kind a function is."""
    folder = write_plugin(tmp_path_factory.mktemp("mute"), "depot", DEPOT, namespaces=["api.depot"])
    with serving(folder / "server", path=[folder], config='[plugins]\ndisabled = ["system"]') as server:
        yield server


def words(server: Server, event: str, *arguments: str) -> list[str]:
    """Return the words of the command."""
    return ["call", event, *arguments, "--url", server.url]


@contextmanager
def started(
    server: Server, folder: Path, event: str, *arguments: str, stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command beside the test."""
    command = [sys.executable, "-m", "jackfield", *words(server, event, *arguments)]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def on_a_terminal(server: Server, folder: Path, event: str, *arguments: str) -> tuple[int, bytes, str]:
    """Run the command with a terminal for standard error; return its status, its output, and what the terminal saw."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jackfield", *words(server, event, *arguments)],
        cwd=folder,
        env=environment(env={"TERM": "xterm"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    seen = b""
    with process:
        while True:
            try:
                seen += os.read(master, 4096)
            except OSError:  # so Linux says that the other side has closed
                break
        out = process.stdout.read() if process.stdout else b""
    os.close(master)
    return process.returncode, out, seen.decode()


# ------------------------------------------------------------------- what comes back


def test_items_are_lines_of_json(invoke: Invoke, server: Server) -> None:
    """One a line, and nothing else on standard output."""
    result = invoke(*words(server, "api.services.test.count", '{"to": 3}', "--credit", "1"))
    assert (result.status, result.out, result.err) == (0, '{"n": 1}\n{"n": 2}\n{"n": 3}\n', "")


def test_items_are_written_as_they_come(depot: Server, tmp_path: Path) -> None:
    """The first can be read while the second is still to come; Ctrl-C cancels the call at the server."""
    mark = tmp_path / "cancelled"
    with started(depot, tmp_path, "api.depot.slow", json.dumps(str(mark))) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
    asyncio.run(until(mark.exists))


@pytest.mark.full
def test_whoever_stops_reading_ends_the_call(depot: Server, tmp_path: Path) -> None:
    """As in `jackfield call … | head -2`: without a word, and the call is cancelled at the server."""
    mark = tmp_path / "cancelled"
    with started(depot, tmp_path, "api.depot.forever", json.dumps(str(mark))) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline(), process.stdout.readline()] == [b"0\n", b"1\n"]
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
    asyncio.run(until(mark.exists))


def test_whoever_stops_reading_a_quiet_stream_ends_the_call(depot: Server, tmp_path: Path) -> None:
    """Though no item comes of which it could be noticed."""
    mark = tmp_path / "cancelled"
    with started(depot, tmp_path, "api.depot.slow", json.dumps(str(mark))) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"1\n"
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
    asyncio.run(until(mark.exists))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize(
    "arguments",
    [
        ("call", "api.services.test.count"),
        ("call", "api.services.test.digest", "--file", "letters"),
        ("call", "api.services.test.reverse", "--file", "letters"),
        ("functions", "--json"),
        ("functions",),
    ],
    ids=" ".join,
)
def test_what_cannot_be_written_is_a_failure(server: Server, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """One line says why, as when the disk is full."""
    (tmp_path / "letters").write_bytes(b"abc")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "jackfield", *arguments, "--url", server.url],
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=40,
            check=False,
        )
    said = done.stderr.decode().removeprefix(f"from the running server at {server.url}\n")
    assert (done.returncode, said) == (1, "✗ standard output cannot be written: No space left on device\n")


def test_buffers_come_as_their_bytes(invoke: Invoke, depot: Server) -> None:
    """In sequence, where standard output is no terminal."""
    result = invoke(*words(depot, "api.depot.download", "3"))
    assert (result.status, result.raw, result.err) == (0, b"\0\0\0\1\1\1\2\2\2", "")


@pytest.mark.full
def test_buffers_can_be_written_to_a_file(invoke: Invoke, depot: Server, tmp_path: Path) -> None:
    """One after the other; of a stream without items the file is empty."""
    result = invoke(*words(depot, "api.depot.download", "3", "--output", "out.bin"))
    assert (result.status, result.raw, result.err) == (0, b"", "9 bytes are in out.bin\n")
    assert (tmp_path / "out.bin").read_bytes() == b"\0\0\0\1\1\1\2\2\2"
    result = invoke(*words(depot, "api.depot.download", "0", "--output", "none.bin"))
    assert (result.status, result.raw, result.err) == (0, b"", "0 bytes are in none.bin\n")
    assert (tmp_path / "none.bin").read_bytes() == b""


@pytest.mark.full
def test_items_that_are_no_buffers_are_not_lost(invoke: Invoke, depot: Server, tmp_path: Path) -> None:
    """They are shown, and the status says that the file has not got them."""
    result = invoke(*words(depot, "api.depot.mixed", "--output", "out.bin"))
    assert (result.status, result.out) == (1, '{"n": {"base64": "Yw=="}}\n')
    assert result.err == "4 bytes are in out.bin\n✗ 1 of 3 items are no Buffers, so out.bin has not got them\n"
    assert (tmp_path / "out.bin").read_bytes() == b"abde"


def test_json_writes_an_object_a_line_and_the_end(invoke: Invoke, depot: Server) -> None:
    """So that a program knows whether the stream was complete."""
    result = invoke(*words(depot, "api.depot.mixed", "--json"))
    lines = ['{"data": {"base64": "YWI="}}', '{"data": {"n": {"base64": "Yw=="}}}', '{"data": {"base64": "ZGU="}}']
    assert (result.status, result.out.splitlines(), result.err) == (0, [*lines, '{"end": true}'], "")


@pytest.mark.full
def test_an_error_midway_leaves_what_came_before(invoke: Invoke, depot: Server) -> None:
    """The items stand, then the error is told; with --json it is the last line."""
    result = invoke(*words(depot, "api.depot.brittle"))
    assert (result.status, result.out) == (1, "1\n2\n")
    assert result.err == "✗ aborted  api.depot.brittle\n  It broke.\n"
    result = invoke(*words(depot, "api.depot.brittle", "--json"))
    error = '{"error": {"code": "aborted", "message": "It broke."}}'
    assert (result.status, result.out, result.err) == (1, f'{{"data": 1}}\n{{"data": 2}}\n{error}\n', "")


@pytest.mark.full
def test_a_deadline_ends_a_stream(invoke: Invoke, server: Server) -> None:
    """--timeout is for its whole life."""
    result = invoke(*words(server, "api.services.test.count", '{"pause": 60}', "--timeout", "0.3"))
    assert (result.status, result.out) == (1, '{"n": 1}\n')
    assert result.err.startswith("✗ deadline_exceeded  api.services.test.count\n")


@pytest.mark.full
def test_a_server_that_goes_ends_a_stream(tmp_path: Path) -> None:
    """What came stands, and the message says what happened."""
    with (
        serving(tmp_path / "server") as server,
        started(server, tmp_path, "api.services.test.count", '{"pause": 60}') as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b'{"n": 1}\n'
        server.process.kill()
        assert process.wait(30) == 1
        said = process.stderr.read().decode()
        assert said == "✗ the server closed the connection before the stream ended\n"


@pytest.mark.full
def test_a_lost_connection_is_the_last_line_of_json(tmp_path: Path) -> None:
    """A program learns that it was not all."""
    with (
        serving(tmp_path / "server") as server,
        started(server, tmp_path, "api.services.test.count", '{"pause": 60}', "--json") as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b'{"data": {"n": 1}}\n'
        server.process.kill()
        assert process.wait(30) == 1
        error = {"code": "unavailable", "message": "The server closed the connection before the stream ended."}
        assert json.loads(process.stdout.read()) == {"error": error}
        assert process.stderr.read() == b""


# ------------------------------------------------------------------- what is sent


def test_items_come_from_standard_input_or_a_file(shell: Shell, server: Server, tmp_path: Path) -> None:
    """A line of JSON each; empty lines are none, and DATA is the first."""
    text = b'{"n": 1}\n\n  {"n": 2}'
    result = shell(*words(server, "api.services.test.total", "--items", "-"), stdin=text)
    assert (result.status, result.out, result.err) == (0, '{"sum": 3, "count": 2}\n', "")
    (tmp_path / "items.jsonl").write_bytes(text)
    result = shell(*words(server, "api.services.test.total", '{"n": 10}', "--items", "items.jsonl"))
    assert result.out == '{"sum": 13, "count": 3}\n'


@pytest.mark.full
def test_data_alone_is_the_only_item(invoke: Invoke, server: Server) -> None:
    """And nothing at all is a stream without items."""
    assert invoke(*words(server, "api.services.test.total", '{"n": 7}')).out == '{"sum": 7, "count": 1}\n'
    assert invoke(*words(server, "api.services.test.total")).out == '{"sum": 0, "count": 0}\n'


def test_lines_are_answered_as_they_are_written(server: Server, tmp_path: Path) -> None:
    """Both ways at once; the end of standard input is the end of the items."""
    with started(server, tmp_path, "api.services.test.shout", "--items", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in ("one", "two"):
            process.stdin.write(f'"{word}"\n'.encode())
            process.stdin.flush()
            assert process.stdout.readline() == f'"{word.upper()}"\n'.encode()
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.full
def test_the_end_does_not_wait_for_standard_input(server: Server, tmp_path: Path) -> None:
    """A call that has ended is over, though more could be written to it."""
    with started(
        server, tmp_path, "api.services.test.shout", "--items", "-", "--timeout", "0.5", stdin=subprocess.PIPE
    ) as process:
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"\xe2\x9c\x97 deadline_exceeded")


def test_an_item_that_does_not_fit_is_named(shell: Shell, server: Server) -> None:
    """By its number, before its faults."""
    result = shell(*words(server, "api.services.test.total", "--items", "-"), stdin=b'{"n": 1}\n{"n": "x"}\n')
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[:3] == [
        "✗ invalid_argument  api.services.test.total",
        "  Item 2:",
        "  n   Input should be a valid integer, unable to parse string as an integer",
    ]


@pytest.mark.full
def test_an_item_that_is_too_large_is_named_as_the_cause(shell: Shell, server: Server) -> None:
    """A server that is sent more than its limit closes the connection; the sizes say why."""
    text = f'"{"x" * 1_020_000}"\n'.encode()
    result = shell(*words(server, "api.services.test.shout", "--items", "-"), stdin=text)
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "✗ the server closed the connection before the stream ended: "
        "the item that was sent last has 1020002 bytes, and limits.message_size is 1000000\n"
    )


@pytest.mark.full
def test_a_line_that_is_no_json_is_named(shell: Shell, server: Server, tmp_path: Path) -> None:
    """By its number; the call is cancelled."""
    result = shell(*words(server, "api.services.test.total", "--items", "-"), stdin=b'{"n": 1}\n\nnonsense\n')
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[-1] == (
        "Error: Invalid value for --items: line 3 of standard input is not JSON "
        "(Expecting value: line 1 column 1 (char 0))."
    )
    (tmp_path / "items").write_bytes(b'"\xff"\n')
    result = shell(*words(server, "api.services.test.total", "--items", "items"))
    assert result.status == 2
    assert result.err.splitlines()[-1] == (
        "Error: Invalid value for --items: line 1 of 'items' is not UTF-8. "
        "--file items sends the file itself, in Buffers."
    )


def test_lines_that_are_no_json_may_be_a_file(invoke: Invoke, server: Server, tmp_path: Path) -> None:
    """The error has the option that sends it whole."""
    (tmp_path / "s.csv").write_text("name,amount\n", encoding="utf-8")
    result = invoke(*words(server, "api.services.test.total", "--items", "s.csv"))
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[-1] == (
        "Error: Invalid value for --items: line 1 of 's.csv' is not JSON (Expecting value: line 1 column 1 (char 0)). "
        "--file s.csv sends the file itself, in Buffers."
    )


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("1" + "0" * 30, "Integer exceeds 64-bit range"),
        ("9007199254740992", "An integer is beyond ±(2^53−1), which JSON clients cannot hold: send it as a string."),
        ("1e999", "inf is not a number that JSON has"),
    ],
)
def test_a_line_that_cannot_be_sent_is_named(shell: Shell, server: Server, value: str, why: str) -> None:
    """By its number, like one that is no JSON."""
    text = f'{{"n": 1}}\n{{"n": {value}}}\n'.encode()
    result = shell(*words(server, "api.services.test.total", "--items", "-"), stdin=text)
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[-1] == (
        f"Error: Invalid value for --items: line 2 of standard input cannot be sent ({why})."
    )


@pytest.mark.full
def test_lines_that_are_given_as_data_are_items(shell: Shell, tmp_path: Path) -> None:
    """The error has the option that sends them."""
    (tmp_path / "it.jsonl").write_bytes(b'{"n": 1}\n{"n": 2}\n')
    result = shell("call", "api.services.test.total", "@it.jsonl")
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[-1] == (
        "Error: Invalid value for DATA: it.jsonl is not JSON, but each of its lines is: "
        "--items it.jsonl sends them as the items of a stream."
    )
    result = shell("call", "api.services.test.total", "-", stdin=b"1\n2\n")
    assert result.err.splitlines()[-1] == (
        "Error: Invalid value for DATA: standard input is not JSON, but each of its lines is: "
        "--items - sends them as the items of a stream."
    )
    result = shell("call", "api.services.test.total", "-", stdin=b"1\ntwo\n")
    assert result.err.splitlines()[-1].startswith("Error: Invalid value for DATA: standard input is not JSON (")


@pytest.mark.full
def test_a_file_for_a_function_that_takes_no_bytes_may_be_items(invoke: Invoke, server: Server, tmp_path: Path) -> None:
    """The error of the server is followed by the option that sends its lines."""
    (tmp_path / "it.jsonl").write_bytes(b'{"n": 1}\n{"n": 2}\n')
    result = invoke(*words(server, "api.services.test.total", "--file", "it.jsonl"))
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[:2] == ["✗ invalid_argument  api.services.test.total", "  Item 1:"]
    assert result.err.splitlines()[-1] == (
        "  --file sends pieces of bytes; --items it.jsonl sends its lines, each of which is JSON"
    )
    result = invoke(*words(server, "api.services.test.total", '"x"'))
    assert "--items" not in result.err


def test_a_file_is_sent_in_pieces_to_a_function_that_takes_them(invoke: Invoke, depot: Server, tmp_path: Path) -> None:
    """64 KiB each, with its name; it may be larger than any message."""
    (tmp_path / "big.iso").write_bytes(bytes(1_500_000))
    result = invoke(*words(depot, "api.depot.upload", "--file", "big.iso"))
    assert result.err == ""
    assert result.json == {"name": "big.iso", "pieces": 23, "size": 1_500_000, "largest": 65_536}


@pytest.mark.full
def test_a_file_goes_there_and_back(invoke: Invoke, depot: Server, tmp_path: Path) -> None:
    """Byte for byte."""
    content = os.urandom(300_000)
    (tmp_path / "in.bin").write_bytes(content)
    assert invoke(*words(depot, "api.depot.mirror", "--file", "in.bin")).raw == content
    (tmp_path / "empty").write_bytes(b"")
    result = invoke(*words(depot, "api.depot.mirror", "--file", "empty"))
    assert (result.status, result.raw) == (0, b"")


@pytest.mark.full
def test_a_file_is_one_buffer_for_any_other_function(invoke: Invoke, depot: Server, tmp_path: Path) -> None:
    """With its name, and the headers that were given."""
    (tmp_path / "small").write_bytes(b"abc")
    result = invoke(*words(depot, "api.depot.store", "--file", "small", "--meta", "of=me"))
    assert result.json == {"name": "small", "of": "me", "size": 3}
    result = invoke(*words(depot, "api.depot.store", "--file", "small", "--meta", "filename=other=1"))
    assert result.json == {"name": "other=1", "of": None, "size": 3}


@pytest.mark.full
def test_where_the_kind_is_not_known_the_options_say_it(shell: Shell, mute: Server, tmp_path: Path) -> None:
    """--items makes a stream, DATA and --file one argument."""
    (tmp_path / "small").write_bytes(b"abc")
    assert shell(*words(mute, "api.depot.store", "--file", "small")).json["size"] == 3
    assert shell(*words(mute, "api.depot.download", "1")).raw == b"\0\0\0"
    result = shell(*words(mute, "api.services.test.total", "--items", "-"), stdin=b'{"n": 1}')
    assert result.out == '{"sum": 1, "count": 1}\n'


@pytest.mark.full
def test_a_large_file_is_not_sent_whole_by_accident(invoke: Invoke, mute: Server, tmp_path: Path) -> None:
    """Where nobody says that the function takes one Buffer, what fits into no message is not tried."""
    (tmp_path / "big.iso").write_bytes(bytes(1_500_000))
    result = invoke(*words(mute, "api.depot.upload", "--file", "big.iso"))
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "✗ big.iso has 1500000 bytes, limits.message_size is 1000000, and the server does not say whether "
        "api.depot.upload takes a stream: it needs the system plugin for that\n"
    )


@pytest.mark.full
def test_items_for_a_function_that_takes_none_are_refused(shell: Shell, server: Server, mute: Server) -> None:
    """Before it is called, where it is known in time."""
    result = shell(*words(server, "api.services.test.add", "--items", "-"), stdin=b"1\n")
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[-1] == (
        "Error: api.services.test.add takes no items (it is unary): give it DATA or --file."
    )
    result = shell(*words(mute, "api.depot.download", "--items", "-"), stdin=b"1\n")
    assert result.status == 1
    assert result.err == "✗ api.depot.download takes no items (it is server), so it was called without an argument\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--items", "-", "--file", "jackfield.toml"], "--items and --file exclude each other."),
        (["-", "--items", "-"], "DATA and --items cannot both be read from standard input."),
        (["--items", "nowhere"], "Invalid value for '--items': File 'nowhere' does not exist."),
        (["--credit", "0"], "Invalid value for '--credit': 0 is not in the range 1<=x<=2147483647."),
        (["--meta", "tenant"], "Invalid value for --meta: 'tenant' is no KEY=VALUE."),
        (["--meta", "=x"], "Invalid value for --meta: '=x' is no KEY=VALUE."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_is_a_usage_error(invoke: Invoke, arguments: list[str], message: str) -> None:
    """Status 2 and a sentence, before any server is asked."""
    result: Result = invoke("call", "api.services.test.shout", *arguments, config="")
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines()[-1] == f"Error: {message}"


# ------------------------------------------------------------------- progress


def test_on_a_terminal_progress_is_a_bar(depot: Server, tmp_path: Path) -> None:
    """It is drawn on standard error, gives way to every item, and is gone in the end."""
    status, out, seen = on_a_terminal(depot, tmp_path, "api.depot.steps", "3")
    assert (status, out) == (0, b"1\n2\n3\n")
    drawn = [line for line in seen.split("\r\x1b[K") if line]
    assert drawn[0] == "[##########--------------------]  33%  1/3  step 1"
    assert drawn[-1] == "[##############################] 100%  3/3  step 3"
    assert seen.endswith("\r\x1b[K")


def test_an_upload_has_a_bar(depot: Server, tmp_path: Path) -> None:
    """Of its bytes."""
    (tmp_path / "big.iso").write_bytes(bytes(1_500_000))
    status, out, seen = on_a_terminal(depot, tmp_path, "api.depot.upload", "--file", "big.iso")
    assert status == 0
    assert json.loads(out)["size"] == 1_500_000
    assert "] 100%  1.5 MB of 1.5 MB" in seen
    assert seen.endswith("\r\x1b[K")


@pytest.mark.full
def test_a_download_has_a_bar(depot: Server, tmp_path: Path) -> None:
    """Of the bytes so far; how many there will be only the function knows."""
    status, out, seen = on_a_terminal(depot, tmp_path, "api.depot.download", "2", "--output", "out.bin")
    assert (status, out) == (0, b"")
    assert seen.startswith("\r\x1b[K3 B")
    assert seen.replace("\x1b[2m", "").replace("\x1b[0m", "").endswith("\r\x1b[K6 bytes are in out.bin\r\n")


@pytest.mark.full
def test_a_bar_can_be_done_without(depot: Server, tmp_path: Path) -> None:
    """--no-progress writes nothing about it."""
    status, out, seen = on_a_terminal(depot, tmp_path, "api.depot.steps", "2", "--no-progress")
    assert (status, out, seen) == (0, b"1\n2\n", "")


@pytest.mark.full
def test_without_a_terminal_there_is_no_bar(invoke: Invoke, depot: Server) -> None:
    """Not even with --progress."""
    result = invoke(*words(depot, "api.depot.steps", "2", "--progress"))
    assert (result.status, result.out, result.err) == (0, "1\n2\n", "")


@pytest.mark.full
def test_an_error_takes_the_place_of_the_bar(server: Server, tmp_path: Path) -> None:
    """It stands on a line of its own."""
    data = '{"steps": 100, "seconds": 60}'
    status, out, seen = on_a_terminal(server, tmp_path, "api.services.test.work", data, "--timeout", "1.5")
    assert (status, out) == (1, b"")
    assert "]   1%  1/100  step 1 is done\r\x1b[K" in seen
    assert "\r\x1b[K✗ deadline_exceeded" in seen.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\x1b[1m", "")
