"""Where the examples of one document play: an empty folder, an environment of its own, a server."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sysconfig
import time
import venv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.installed import INSTALLED
from tests.support.plugins import write_plugin
from tests.support.server import environment

LIMIT: Final = 90.0
SHOWN_URL: Final = "http://127.0.0.1:8000"
"""What the documentation calls the server; the examples run against one on a free port."""

SHOWN_PLUGINS: Final = frozenset({"demo", "files", "system"})
"""What the reader of a document has installed, where it says nothing else."""

READY: Final = "(Ctrl+C stops)"
_MODULES: Final = Path(__file__).parents[1] / "interop" / "node_modules"

_SHIM: Final = '#!/bin/sh\nexec "{python}" -m {module} "$@"\n'
# What a reader gets from an index is there already, and nothing is fetched.
_PIP: Final = """#!/bin/sh
case "$1" in install | wheel) command=$1; shift; set -- "$command" --no-index --no-build-isolation "$@" ;; esac
exec "{python}" -m pip "$@"
"""


class Stage:
    """The place of one document's examples.

    Args:
        folder: Where all of it is written.
        plugins: Those of this repository that are installed beside demo, files and system.
    """

    def __init__(self, folder: Path, plugins: Iterable[str] = ()) -> None:
        self._root = folder
        self._always = tuple(plugins)
        self._acts = 0
        self._port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self._stale = False
        self._told_to_stop = False
        self._read = 0
        self.begin()

    def begin(self, plugins: Iterable[str] = ()) -> None:
        """Begin anew: an empty folder, no server, no plugins but demo, files, system and those that are named."""
        self.stop()
        self._hidden = set(INSTALLED) - {*SHOWN_PLUGINS, *self._always, *plugins}
        self._acts += 1
        act = self._root / str(self._acts)
        self.folder = act / "work"
        self._plugins = act / "plugins"
        self._venv = act / "venv"
        self._output = act / "output"
        self.folder.mkdir(parents=True)

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables of what is run."""
        self._make_venv()
        return environment(
            [self._plugins],
            {
                "PATH": os.pathsep.join([str(self._venv / "bin"), os.environ["PATH"]]),
                "JACKFIELD_SERVER__PORT": str(self._port),
                "COLUMNS": "100",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_PLUGINS": "pytest_asyncio.plugin,jackfield.testing._pytest",
            },
        )

    @property
    def url(self) -> str:
        """The server's address; it is started, or started anew where a plugin or the configuration has come since."""
        if self._server is None or self._stale or self._server.poll() is not None:
            output, ready = self.serve("jackfield serve")
            assert ready, f"the server did not start:\n{output}"
        return f"http://127.0.0.1:{self._port}"

    def real(self, text: str) -> str:
        """Return the text of an example with the server's real address."""
        return text.replace(SHOWN_URL, f"http://127.0.0.1:{self._port}")

    def shown(self, text: str) -> str:
        """Return an output as the documentation shows it."""
        text = text.replace(f"{self.folder}{os.sep}", "").replace(str(self.folder), ".")
        return re.sub(rf"\b{self._port}\b", "8000", text)

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.real(text), encoding="utf-8")
        self._stale |= name == "jackfield.toml"
        return path

    def enter(self, name: str) -> None:
        """Go on in a folder of the folder."""
        self.folder /= name
        assert self.folder.is_dir(), f"there is no folder {name}"

    def install(self, name: str, namespaces: list[str], source: str) -> None:
        """Install a plugin that is one module."""
        write_plugin(self._plugins, name, source, namespaces=namespaces, requires=["jackfield>=0.1,<0.2"])
        self._stale = True

    def run(self, command: str | list[str]) -> str:
        """Run a command in the folder, and return what it writes; it must succeed."""
        done = subprocess.run(
            ["bash", "-c", self.real(command)] if isinstance(command, str) else command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
        )
        written = self.shown(done.stdout.decode())
        assert done.returncode == 0, f"{command}\nends with status {done.returncode}:\n{written}"
        return written

    def serve(self, command: str) -> tuple[str, bool]:
        """Start the server; return what it writes until it is ready or has ended, and whether it is ready."""
        self.stop()
        with self._output.open("wb") as output:
            self._server = server = subprocess.Popen(
                ["bash", "-c", f"exec {self.real(command)}"],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        _wait(lambda: server.poll() is not None or READY in self._text(), "the server is neither ready nor ended")
        written = self.new_output()
        return written, READY in written

    def new_output(self) -> str:
        """Return what the server has written since this was last asked, or since it was ready."""
        if self._told_to_stop and self._server is not None:
            self._server.wait(LIMIT)
        text = self._text()
        new, self._read = text[self._read :], len(text)
        return self.shown(new)

    def happen(self, what: str) -> None:
        """Do what an example says happens beside it."""
        assert what == "the server is told to stop (SIGTERM)", what
        assert self._server is not None
        self._server.terminate()
        self._stale = self._told_to_stop = True

    def stop(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(LIMIT)
        self._server, self._stale, self._told_to_stop, self._read = None, False, False, 0

    def link_node_modules(self) -> None:
        """Put socket.io-client where programs in the folder find it."""
        link = self.folder / "node_modules"
        if not link.exists():
            link.symlink_to(_MODULES)

    def _text(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def _make_venv(self) -> None:
        if self._venv.exists():
            return
        venv.create(self._venv, symlinks=True)
        python = self._venv / "bin" / "python"
        variables = {"base": str(self._venv), "platbase": str(self._venv)}
        site = Path(sysconfig.get_path("purelib", "venv", variables))
        outer = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        seen = self._venv / "outer"
        for number, path in enumerate(outer):
            _show(Path(path), seen / str(number), self._hidden)
        (site / "outer.pth").write_text(
            "".join(f"import site; site.addsitedir({str(path)!r})\n" for path in sorted(seen.iterdir()))
        )
        for name in ("jackfield", "pytest", "pip"):
            shim = self._venv / "bin" / name
            shim.write_text((_PIP if name == "pip" else _SHIM).format(python=python, module=name))
            shim.chmod(0o755)


def missing_for_node() -> str | None:
    """Return what JavaScript examples lack on this machine, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (_MODULES / "socket.io-client").exists():
        return "socket.io-client is not installed: make test installs it where npm is"
    return None


@contextmanager
def stage(folder: Path, plugins: Iterable[str] = ()) -> Iterator[Stage]:
    """Open a stage, and stop its server in the end; see `Stage` for `plugins`."""
    opened = Stage(folder, plugins)
    try:
        yield opened
    finally:
        opened.stop()


def _show(outer: Path, seen: Path, hidden: Iterable[str]) -> None:
    """Make a folder with all that is installed in another one, but some of the plugins of this repository."""
    seen.mkdir(parents=True)
    names = re.compile(rf"(?:_editable_impl_)?jackfield_(?:{'|'.join(hidden)})(?:[-.].*)?")
    for path in outer.iterdir():
        if not names.fullmatch(path.name):
            (seen / path.name).symlink_to(path)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(condition: Callable[[], bool], problem: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, problem
        time.sleep(0.02)
