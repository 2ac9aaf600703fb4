"""The command line as people use it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from jackfield._cli import group
from tests.cli.shell import Hide, Invoke, Result, Shell
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import environment

LIMIT = 40.0


@pytest.fixture(scope="session", name="closed_port")
def _closed_port() -> Iterator[int]:
    """A port on which nothing listens, and nothing will: it is bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(name="shell")
def _shell(tmp_path: Path, closed_port: int) -> Shell:
    """Run `jackfield …` in `tmp_path`, where no server answers unless the test says which."""

    def run(
        *arguments: str | Path,
        config: str | None = None,
        path: Sequence[Path] = (),
        env: dict[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Result:
        if config is not None:
            (tmp_path / "jackfield.toml").write_text(config, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "jackfield", *map(str, arguments)],
            cwd=tmp_path,
            env=environment(path, {"JACKFIELD_SERVER__PORT": str(closed_port), **(env or {})}),
            input=stdin,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        err = done.stderr.decode("utf-8")
        assert "Traceback" not in err
        return Result(done.returncode, done.stdout, err)

    return run


@pytest.fixture(name="invoke")
def _invoke(tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in this process: much faster, where that makes no difference."""

    def run(
        *arguments: str | Path,
        config: str | None = None,
        path: Sequence[Path] = (),
        env: dict[str, str] | None = None,
    ) -> Result:
        if config is not None:
            (tmp_path / "jackfield.toml").write_bytes(config.encode("utf-8"))
        for name in list(os.environ):
            if name.startswith("JACKFIELD_"):
                monkeypatch.delenv(name)
        for name, value in {"JACKFIELD_SERVER__PORT": str(closed_port), **(env or {})}.items():
            monkeypatch.setenv(name, value)
        for folder in path:
            monkeypatch.syspath_prepend(str(folder))
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(group, [*map(str, arguments)], prog_name="jackfield")
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return Result(done.exit_code, done.stdout_bytes, done.stderr)

    return run


@pytest.fixture(scope="session", name="broken")
def _broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin that works and one whose import fails."""
    folder = write_neighbour(tmp_path_factory.mktemp("broken"))
    return write_plugin(folder, "weather", "import httpx", namespaces=["api.weather"])


@pytest.fixture(name="unloadable")
def _unloadable(tmp_path: Path) -> Hide:
    """Return a function that returns a folder in which a module is as good as not installed."""

    def hide(module: str) -> Path:
        folder = tmp_path / f"without-{module}"
        folder.mkdir()
        (folder / f"{module}.py").write_text(f"raise ImportError({module!r})\n", encoding="utf-8")
        return folder

    return hide
