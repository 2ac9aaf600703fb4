"""`jackfield serve --workers` with channels that are one process's own: it says so, and what to set."""

from __future__ import annotations

from pathlib import Path

from tests.support.server import serving

CONFIG = """
[server]
transports = ["websocket"]

[plugins]
policy = "listed"
enabled = ["channels"]

[plugins.channels]
store = "{store}"

[[plugins.channels.rules]]
match = "*"
history = 10
"""
TOLD = (
    "each of the 2 workers has channels of its own: who is connected to one gets nothing of what is published at "
    'another; set plugins.channels.store = "redis", or run one process'
)


def test_a_file_is_refused(tmp_path: Path) -> None:
    """The first worker would have it, and the others nothing."""
    with serving(tmp_path, "--workers", "2", config=CONFIG.format(store="sqlite")) as server:
        channels = server.plugins["channels"]
    assert channels["state"] == "quarantined"
    assert channels["reason"].startswith(
        "RuntimeError: the file of history is for one process, and --workers makes 2: "
        'set plugins.channels.store = "redis", or run one process ('
    )
    assert not (tmp_path / "channels.sqlite3").exists()


def test_memory_is_warned_of(tmp_path: Path) -> None:
    """It serves, for who knows what that means; one process has nothing to be warned of."""
    with serving(tmp_path / "2", "--workers", "2", config=CONFIG.format(store="memory")) as server:
        assert server.plugins["channels"]["state"] == "started"
        assert TOLD in server.log
    with serving(tmp_path / "1", config=CONFIG.format(store="memory")) as server:
        assert "workers" not in server.log
