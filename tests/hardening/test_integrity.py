"""Number 54: a plugin that is not as it was installed is not imported, where the operator wants that."""

from __future__ import annotations

import hashlib
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from jackfield._integrity import fault_of
from tests.support.client import connected
from tests.support.installed import disabled
from tests.support.plugins import NEIGHBOUR, write_plugin
from tests.support.server import serving

TARGET = "open('imported', 'w').close()\nFLAG = 'original'\n"


def install(folder: Path, name: str, source: str, namespaces: tuple[str, ...] = ()) -> Path:
    """Install a plugin that is a package, as an installer would: with a RECORD of all its files; return its folder."""
    write_plugin(folder, name, source, namespaces=namespaces)
    package = folder / f"plugin_{name}"
    (package / "inner").mkdir(parents=True)
    (folder / f"plugin_{name}.py").rename(package / "__init__.py")
    (package / "inner" / "__init__.py").write_text("", encoding="utf-8")
    (package / "large.bin").write_bytes(b"x" * 3_000_000)
    record(folder, name)
    return package


def record(folder: Path, name: str, extra: str = "", algorithm: str = "sha256") -> None:
    """Write down what is there."""
    info = folder / f"jackfield_{name}-1.0.dist-info"
    files = sorted(path for top in (folder / f"plugin_{name}", info) for path in top.rglob("*") if path.is_file())
    lines = [_line(folder, path, algorithm) for path in files if path.name != "RECORD"]
    rows = [*lines, f"{info.name}/RECORD,,", f"plugin_{name}/__pycache__/__init__.cpython-311.pyc,,", extra]
    (info / "RECORD").write_text("\n".join(filter(None, rows)) + "\n", encoding="utf-8")


def _line(folder: Path, path: Path, algorithm: str) -> str:
    data = path.read_bytes()
    digest = urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
    return f"{path.relative_to(folder).as_posix()},{algorithm}={digest},{len(data)}"


def flip(file: Path, at: int = -3) -> None:
    """Change one bit of one byte."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


async def test_54_what_was_changed_is_not_imported(tmp_path: Path) -> None:
    """One byte differs: the plugin is refused with the name of the file, and its neighbours serve."""
    folder = tmp_path / "site"
    package = install(folder, "target", TARGET)
    install(folder, "neighbour", NEIGHBOUR, ("api.neighbour",))
    flip(package / "__init__.py")
    # A plugin that says who clients are, and is refused, would close the server to everybody.
    config = f"{disabled('demo')}verify = true\n"
    with serving(tmp_path / "server", path=[folder], config=config) as server:
        target = server.plugins["target"]
        assert (target["state"], target["kind"]) == ("refused", "Tampered")
        assert target["reason"] == "its file plugin_target/__init__.py is not the one that was installed"
        assert target["hint"] == "pip install --force-reinstall --no-deps jackfield-target"
        # The plugins of this repository are editable installs.
        assert server.plugins["demo"]["reason"] == "it is an editable install, whose files nobody has written down"
        async with connected(server.url) as client:
            assert (await client.call("api.neighbour.hello"))["data"] == "still here"
        assert not (tmp_path / "server" / "imported").exists()


def _add(package: Path, name: str) -> None:
    (package / name).write_text("", encoding="utf-8")


def _link(package: Path) -> None:
    (package.parent / "elsewhere").mkdir()
    (package / "more").symlink_to(package.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda package: flip(package / "large.bin"),
            "its file plugin_target/large.bin is not the one that was installed",
        ),
        (lambda package: (package / "large.bin").unlink(), "its file plugin_target/large.bin is missing"),
        (
            lambda package: (package / "inner" / "__init__.py").unlink(),
            "its file plugin_target/inner/__init__.py is missing",
        ),
        (
            lambda package: _add(package, "inner/more.py"),
            "its RECORD does not list the file plugin_target/inner/more.py",
        ),
        (
            lambda package: _add(package, "__init__.abi3.so"),
            "its RECORD does not list the file plugin_target/__init__.abi3.so",
        ),
        (lambda package: _add(package, "sly.pyc"), "its RECORD does not list the file plugin_target/sly.pyc"),
        (_link, "its RECORD does not list the file plugin_target/more"),
        (
            lambda package: flip(package.parent / "jackfield_target-1.0.dist-info" / "entry_points.txt"),
            "its file jackfield_target-1.0.dist-info/entry_points.txt is not the one that was installed",
        ),
        (
            lambda package: (package.parent / "jackfield_target-1.0.dist-info" / "RECORD").unlink(),
            "there is no RECORD of its files, so nobody knows what they were",
        ),
        (
            lambda package: record(package.parent, "target", algorithm="md5"),
            "its RECORD has no hash of jackfield_target-1.0.dist-info/METADATA that can be relied on",
        ),
        (
            lambda package: record(package.parent, "target", "plugin_target/gone.py,,"),
            "its RECORD has no hash of plugin_target/gone.py that can be relied on",
        ),
        (
            lambda package: (package.parent / "jackfield_target-1.0.dist-info" / "RECORD").write_bytes(b"\xff\xfe"),
            "its files cannot be checked: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
    ],
    ids=[
        *("a byte", "a file less", "a module less", "a module more", "an extension more", "a compiled module more"),
        *("a link", "the entry points", "no RECORD", "a weak hash", "no hash", "no text"),
    ],
)
def test_54_what_nobody_has_written_down_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], reason: str
) -> None:
    """Every way in which files can differ from what was installed; what Python compiles is none."""
    package = install(tmp_path, "target", TARGET)
    monkeypatch.syspath_prepend(str(tmp_path))
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(os.urandom(10))
    assert fault_of("jackfield-target", "plugin_target") is None
    change(package)
    assert fault_of("jackfield-target", "plugin_target") == reason


def test_54_another_module_of_that_name_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stands before the plugin's own on the path, or belongs to somebody else."""
    install(tmp_path / "site", "target", TARGET)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plugin_target.py").write_text("", encoding="utf-8")
    assert fault_of("jackfield-target", "plugin_target") == (
        f"its module plugin_target would come from {tmp_path}/plugin_target.py, which is not in its RECORD"
    )
    assert str(fault_of("jackfield-target", "json")).startswith("its module json would come from ")
    assert fault_of("jackfield-target", "plugin_of_nobody.x") == "its module plugin_of_nobody.x is not there"
    assert fault_of("jackfield-nobody", "json") == "its distribution is not installed any more"
