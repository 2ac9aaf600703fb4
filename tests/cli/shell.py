"""How tests run a command, and what they learn of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """What it wrote to standard output, as text."""
        return self.raw.decode("utf-8")

    @property
    def json(self) -> Any:
        """What it wrote to standard output, as JSON."""
        return json.loads(self.raw)


class Shell(Protocol):
    """Runs `jackfield …` in a process of its own."""

    def __call__(
        self,
        *arguments: str | Path,
        config: str | None = None,
        path: Sequence[Path] = (),
        env: dict[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Result:
        """Run it.

        Args:
            arguments: What stands after `jackfield`.
            config: The text of a jackfield.toml to write first.
            path: Folders with plugins.
            env: More environment variables.
            stdin: What it reads from standard input.
        """


class Invoke(Protocol):
    """Runs a command in this process."""

    def __call__(
        self,
        *arguments: str | Path,
        config: str | None = None,
        path: Sequence[Path] = (),
        env: dict[str, str] | None = None,
    ) -> Result:
        """Run it; the arguments are those of `Shell`."""


class Hide(Protocol):
    """Returns a folder in which a module is as good as not installed."""

    def __call__(self, module: str) -> Path:
        """Make it."""
