"""What a server is given to serve: the plugin that is measured, and what makes a server large."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.support.plugins import write_plugin

SERVED: Final = Path(__file__).with_name("served.py")

_HANDLER: Final = '''\
"""A module of the size that its name says."""


class Handler:
    def __init__(self) -> None:
        self.calls = 0

    def handle(self, text: str) -> str:
        self.calls += 1
        return text
'''
_FILLER: Final = '''\


def helper_{number}(value: int, scale: float = {number}.5) -> dict[str, float]:
    """Do what nobody asks for; a module of this many lines has many of these."""
    total = 0.0
    for step in range(value):
        if step % {number} == 0:
            total += step * scale
    return {{"helper_{number}": total}}
'''

_SMALL: Final = """
    from jackfield import Call, Service, hookimpl

    service = Service("{namespace}")

    @service.function
    async def hello(call: Call) -> str:
        return "hello"

    @hookimpl
    def jackfield_services():
        return [service]
"""


def write_bench(folder: Path) -> Path:
    """Write the plugin that is measured, and return the folder."""
    return write_plugin(folder, "bench", SERVED.read_text("utf-8"), namespaces=["bench", "bench.filler"])


def write_padded(folder: Path, sizes: Iterable[int]) -> Path:
    """Write modules `padded_<lines>` and their twins `padded_<lines>_source`, and return the folder.

    Args:
        folder: Is put on the path of the server.
        sizes: The lines of the modules, each at least those of the class in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for lines in sizes:
        text = padded(lines)
        for name in (f"padded_{lines}", f"padded_{lines}_source"):
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def padded(lines: int) -> str:
    """Return a module with one class that is used and as many functions as it takes to have so many lines."""
    text = _HANDLER
    each = _FILLER.count("\n")
    for number in range(1, 1 + (lines - text.count("\n")) // each):
        text += _FILLER.format(number=number)
    return text + "#\n" * (lines - text.count("\n"))


def write_many(folder: Path, count: int) -> Path:
    """Write small plugins, each with one function, and return the folder."""
    for number in range(count):
        namespace = f"many.p{number}"
        write_plugin(folder, f"many{number}", _SMALL.format(namespace=namespace), namespaces=[namespace])
    return folder
