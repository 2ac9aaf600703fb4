"""A server of both protocols, on each carrier of websockets."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.peers import Endpoint

ROOT = Path(__file__).parents[2]
START_LIMIT = 30.0


@pytest.fixture(scope="session", params=["picows", "asgi"], name="url")
def _url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of both protocols."""
    command = [sys.executable, "-m", "tests.conformance.server", "--websocket", request.param, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(START_LIMIT, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        try:
            assert line.startswith("listening on "), f"the server ended with status {process.wait()}"
            yield line.split()[-1]
            assert process.poll() is None, "the server has ended"
        finally:
            process.kill()


@pytest.fixture(params=["/engine.io", "/socket.io"], name="endpoint")
def _endpoint(request: pytest.FixtureRequest, url: str) -> Endpoint:
    """Either protocol: what holds of Engine.IO holds under Socket.IO."""
    return Endpoint.at(url, request.param)


@pytest.fixture(name="echo")
def _echo(url: str) -> Endpoint:
    """Engine.IO, which sends every message back."""
    return Endpoint.at(url, "/engine.io")


@pytest.fixture(name="sio")
def _sio(url: str) -> Endpoint:
    """Socket.IO, which echoes in its main namespace."""
    return Endpoint.at(url, "/socket.io")


@pytest.fixture(params=["burst", "tick"], name="pace")
def _pace(request: pytest.FixtureRequest) -> str:
    """Whether frames that are sent together reach the server in one piece, or each in a tick of its own."""
    return str(request.param)
