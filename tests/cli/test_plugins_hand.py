"""`jackfield plugins quarantine` and `release`: an operator's hand on a running server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.shell import Invoke
from tests.support.plugins import write_neighbour
from tests.support.server import Server, serving


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hand")
    with serving(folder / "s", path=[write_neighbour(folder / "p")]) as server:
        yield server


def test_a_plugin_is_taken_out_and_back_in(invoke: Invoke, server: Server) -> None:
    """Both commands say what they did, and the list shows why the plugin is out."""
    out = invoke("plugins", "quarantine", "neighbour", "--reason", "it eats the disk", "--url", server.url)
    assert (out.status, out.out) == (0, "neighbour is out of service   → jackfield plugins release neighbour\n")
    listed = invoke("plugins", "list", "--url", server.url)
    assert "  ✗ it eats the disk   → jackfield plugins release neighbour" in listed.out.splitlines()
    back = invoke("plugins", "release", "neighbour", "--url", server.url)
    assert (back.status, back.out) == (0, "neighbour is in service\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quarantine", "nobody"], "✗ not_found: There is no plugin 'nobody'.\n"),
        (["release", "neighbour"], "✗ failed_precondition: The plugin neighbour is in service.\n"),
    ],
)
def test_what_cannot_be_done_is_said(invoke: Invoke, server: Server, arguments: list[str], said: str) -> None:
    """The server's reason is shown, and the status is 1."""
    result = invoke("plugins", *arguments, "--url", server.url)
    assert (result.status, result.out, result.err) == (1, "", said)


def test_without_a_server_nothing_is_done(invoke: Invoke) -> None:
    """A hand on a running server needs one; the configuration is not touched."""
    result = invoke("plugins", "release", "demo", "--url", "http://127.0.0.1:1")
    assert (result.status, result.out) == (1, "")
    assert "http://127.0.0.1:1" in result.err
