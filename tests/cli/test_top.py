"""`jackfield top`: what a server is doing, on a terminal and for programs."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jackfield._cli import board
from tests.cli.pseudo import terminal
from tests.cli.shell import Hide, Invoke, Shell
from tests.support.client import connected
from tests.support.installed import disabled
from tests.support.server import Server, environment, serving

INTO, OUT_OF = "\x1b[?1049h", "\x1b[?1049l"
"""The other screen of a terminal, and back."""
SHOWN = "\x1b[?25h"
"""The cursor is seen again."""


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("top"), config=disabled("demo", "metrics")) as server:
        yield server


async def call(server: Server) -> None:
    async with connected(server.url) as client:
        await client.call("api.services.test.echo", 1)
        await client.call("api.services.test.fail")


def test_one_look_is_plain_tables(server: Server, invoke: Invoke) -> None:
    """All columns, no colour, status 0."""
    asyncio.run(call(server))
    done = invoke("top", "--once", "--interval", "0.2", "--url", server.url)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"jackfield 0.1.0 at {server.url}   pid {server.process.pid}   up ")
    assert lines[1].startswith("clients 1 websocket, 0 polling   in ")
    assert lines[2] == "calls/s 0   errors/s 0   p50 -   p99 -"
    assert lines[4].split() == ["PLUGIN", "STATE", "CALLS/S", "ERRORS/S", "P50", "P99", "RUN", "WAIT", "STREAMS"]
    rows = {row.split()[0]: row.split() for row in lines[5:] if row}
    assert rows["demo"][1:] == ["started", "0", "0", "-", "-", "0", "0", "0"]
    assert rows["metrics"][-1] == "1"
    assert rows["files"][1] == "disabled"
    assert int(rows["api.services.test.fail"][6]) >= 1
    assert rows["api.services.test.echo"][6] == "0"


def test_programs_get_a_line_for_each_look(server: Server, tmp_path: Path) -> None:
    """As the plugin gives it; who stops reading ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jackfield", "top", "--json", "--interval", "0.2", "--url", server.url],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert [look["pid"] for look in looks] == [server.process.pid] * 2
    assert looks[0]["uptime"] < looks[1]["uptime"]


@pytest.mark.parametrize(("press", "status"), [(b"\x03", 130), (None, 143)], ids=["Ctrl+C", "SIGTERM"])
def test_a_terminal_is_taken_and_given_back(server: Server, tmp_path: Path, press: bytes | None, status: int) -> None:
    """The table changes, and in the end the screen and the cursor are as before."""
    with terminal(tmp_path, "top", "--interval", "0.2", "--url", server.url) as seen:
        seen.until("FUNCTION")
        asyncio.run(call(server))
        shown = seen.until("api.services.test.fail")
        assert INTO in seen.text
        assert OUT_OF not in shown
        if press is None:
            seen.process.send_signal(signal.SIGTERM)
        else:
            seen.press(press)
        assert seen.ended() == status
    assert "Traceback" not in seen.text
    assert seen.text.rindex(OUT_OF) > seen.text.rindex(INTO)
    assert seen.text.rindex(SHOWN) > seen.text.rindex("\x1b[?25l")


def test_a_narrow_terminal_has_the_columns_that_fit(server: Server, tmp_path: Path) -> None:
    """No line is broken in two, and there are no more of them than the terminal has."""
    with terminal(tmp_path, "top", "--interval", "0.2", "--url", server.url, columns=45, lines=9) as seen:
        seen.until("PLUGIN")
        frame = seen.until("PLUGIN(.|\n)*\x1b\\[H")
    assert "CALLS/S" in frame
    assert "P50" not in frame
    assert "STREAMS" not in frame
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"\x1b\[H|[\r\n]+", frame)]
    assert 3 < max(map(len, lines)) <= 45


def test_it_waits_for_a_server_that_is_away(tmp_path: Path) -> None:
    """The table stays, with what is wrong above it, until the server is back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = disabled("metrics")
    with (
        serving(tmp_path / "first", "--port", str(port), config=config) as server,
        terminal(tmp_path, "top", "--interval", "0.2", "--url", server.url) as seen,
    ):
        seen.until(f"pid {server.process.pid}")
        server.stop(signal.SIGKILL)
        assert "PLUGIN" in seen.until("Trying again")
        with serving(tmp_path / "second", "--port", str(port), config=config) as another:
            seen.until(f"pid {another.process.pid}")
        seen.press(b"\x03")
        assert seen.ended() == 130


def test_without_the_plugin_it_says_what_to_install(tmp_path: Path, invoke: Invoke) -> None:
    """And ends with status 1."""
    with serving(tmp_path / "server", config=disabled("system")) as server:
        done = invoke("top", "--once", "--url", server.url)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("✗ api.metrics.watch: the plugin metrics is disabled")


def test_nobody_there(invoke: Invoke, closed_port: int) -> None:
    """A server that is not there from the beginning is not waited for."""
    done = invoke("top", "--json")
    assert (done.status, done.out) == (1, "")
    assert done.err == f"✗ no server answers at http://127.0.0.1:{closed_port}: start one with jackfield serve\n"


def test_what_is_no_terminal_gets_no_table(server: Server, invoke: Invoke) -> None:
    """It is told what to use."""
    done = invoke("top", "--url", server.url)
    assert (done.status, done.out) == (1, "")
    assert done.err == "✗ a table that changes needs a terminal: use --once for one look, or --json\n"


def test_without_rich_it_says_what_to_install(server: Server, tmp_path: Path, unloadable: Hide, shell: Shell) -> None:
    """One look needs none."""
    hidden = unloadable("rich")
    with terminal(tmp_path, "top", "--url", server.url, PYTHONPATH=str(hidden)) as seen:
        assert seen.ended() == 1
    assert 'needs rich: pip install "jackfield[standard]"; --once and --json do without' in seen.text
    assert shell("top", "--once", "--interval", "0.2", "--url", server.url, path=[hidden]).status == 0


@pytest.mark.parametrize(
    "arguments", [("--interval", "0.1"), ("--interval", "61"), ("--sort", "colour"), ("more",)], ids=" ".join
)
def test_arguments_that_mean_nothing_are_refused(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    """With status 2, before anybody is asked."""
    assert invoke("top", *arguments).status == 2


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("calls", "bca"), ("errors", "abc"), ("p50", "cab"), ("p99", "acb"), ("total", "cba"), ("name", "abc")],
)
def test_functions_are_sorted(sort: str, expected: str) -> None:
    """The largest first; what was not measured comes last."""
    names = ("event", "calls_per_second", "errors_per_second", "p50", "p99", "calls")
    rows = [("a", 1.0, 2.0, 0.1, 9.0, 1), ("b", 3.0, 0.0, None, None, 2), ("c", 2.0, 0.0, 0.2, 0.3, 3)]
    figures = {"functions": [dict(zip(names, row, strict=True)) for row in rows]}
    assert "".join(row["event"] for row in board._sorted(figures, sort)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        (0, "0 µs"),
        (0.00025, "250 µs"),
        (0.0009996, "1 ms"),
        (0.0125, "12.5 ms"),
        (1.5, "1.5 s"),
        (30, "30 s"),
    ],
)
def test_durations_have_the_unit_that_suits(seconds: float | None, expected: str) -> None:
    """Three digits are enough."""
    assert board.duration(seconds) == expected
