"""A server with the plugin and one that says who is calling: whoever shows a name is that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.plugins import KNOWN_MAY_CALL_ALL, write_plugin
from tests.support.server import Server, serving

COUNTER = Path(__file__).with_name("counting.py")

DOOR = """
    from jackfield import Handshake, Principal, hookimpl

    @hookimpl
    async def jackfield_authenticate(handshake: Handshake) -> Principal | None:
        name = str(handshake.auth.get("name", ""))
        return Principal(name) if name else None
"""
"""Whoever shows a name has it."""


@contextmanager
def limited(folder: Path, settings: str) -> Iterator[Server]:
    """Run a server with settings of the plugin."""
    path = folder / "plugins"
    source = COUNTER.read_text(encoding="utf-8")
    write_plugin(path, "counter", source, namespaces=["api.counter", "api.counter.deep"])
    write_plugin(path, "door", DOOR)
    config = f"""
[plugins]
policy = "listed"
enabled = ["ratelimit", "counter", "door"]
[plugins.ratelimit]
{settings}
{KNOWN_MAY_CALL_ALL}"""
    with serving(folder / "server", config=config, path=[path]) as server:
        yield server
