"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support.plugins import NO_QUARANTINE
from tests.support.server import Server, serving

# A shell starts what runs in the background deaf to Ctrl-C, and so would be all commands that the tests start and end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Without bytecode, each of the many processes that the tests start compiles all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demonstration and the system plugin, for tests that leave it as it was."""
    with serving(tmp_path_factory.mktemp("server"), config=NO_QUARANTINE) as server:
        yield server


@pytest.fixture(scope="session", name="require_all")
def _require_all() -> bool:
    """Whether a program that is missing fails a test, as in CI, rather than skipping it."""
    return os.environ.get("TESTS_REQUIRE_ALL") == "1"
