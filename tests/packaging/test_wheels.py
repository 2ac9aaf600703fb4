"""Each package, built as a wheel and installed with nothing of the workspace around it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.client import connected
from tests.support.server import Server, serving

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "jackfield": "kernel",
    "jackfield_demo": "plugins/demo",
    "jackfield_files": "plugins/files",
    "jackfield_idempotency": "plugins/idempotency",
    "jackfield_jobs": "plugins/jobs",
    "jackfield_jwt": "plugins/jwt",
    "jackfield_kv": "plugins/kv",
    "jackfield_system": "plugins/system",
}

Install = Callable[..., Path]


@pytest.fixture(scope="module", name="wheels")
def _wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of every package, built without the network."""
    out = tmp_path_factory.mktemp("wheels")
    for folder in PACKAGES.values():
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
        subprocess.run(command, cwd=ROOT / folder, check=True, capture_output=True)
    return {wheel.name.split("-")[0]: wheel for wheel in out.glob("*.whl")}


@pytest.fixture(name="install")
def _install(tmp_path: Path, wheels: dict[str, Path]) -> Install:
    """Install wheels of the workspace, and what they need, into a fresh environment; return its folder."""

    def install(*names: str, extras: str = "") -> Path:
        folder = tmp_path / "environment"
        uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
        targets = [f"{wheels[name]}{extras if name == 'jackfield' else ''}" for name in names]
        constraints = ["--constraints", str(ROOT / "requirements.lock")]
        environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *constraints, *targets],
        ):
            subprocess.run(command, check=True, capture_output=True, env=environ)
        return folder

    return install


@contextmanager
def _serving_from(environment: Path, folder: Path) -> Iterator[Server]:
    with serving(folder / "server", python=environment / "bin/python") as server:
        yield server


def test_every_wheel_holds_its_licence_and_its_types(wheels: dict[str, Path]) -> None:
    """A wheel carries the licence's text and `py.typed`."""
    assert set(wheels) == set(PACKAGES)
    for name, wheel in wheels.items():
        files = ZipFile(wheel).namelist()
        assert f"{name}/py.typed" in files
        assert f"{name}-0.1.0.dist-info/licenses/LICENSE" in files


async def test_the_kernel_alone_starts_and_says_that_no_plugin_is_there(install: Install, tmp_path: Path) -> None:
    """The kernel's wheel needs no plugin, and no extra."""
    with _serving_from(install("jackfield"), tmp_path) as server:
        assert server.ready["plugins"] == []
        async with connected(server.url) as client:
            reply = await client.call("api.services.test.add")
            assert reply == {"error": {"code": "not_found", "message": "There is no function 'api.services.test.add'."}}
        assert server.stop() == 0


async def test_the_demo_works_alone_with_the_kernel(install: Install, tmp_path: Path) -> None:
    """The demonstration's wheel beside the kernel's is all that it needs."""
    with _serving_from(install("jackfield", "jackfield_demo"), tmp_path) as server:
        assert list(server.plugins) == ["demo"]
        async with connected(server.url) as client:
            assert await client.call("api.services.test.add", {"a": 1, "b": 2}) == {"data": {"sum": 3}}
        assert server.stop() == 0


async def test_the_files_plugin_works_alone_with_the_kernel(install: Install, tmp_path: Path) -> None:
    """The files plugin's wheel beside the kernel's is all that it needs."""
    with _serving_from(install("jackfield", "jackfield_files"), tmp_path) as server:
        assert list(server.plugins) == ["files"]
        async with connected(server.url) as client:
            assert await client.call("api.files.list") == {"data": {"files": [], "next": None}}
        assert server.stop() == 0


@pytest.mark.full
async def test_the_jwt_plugin_works_alone_with_the_kernel(install: Install, tmp_path: Path) -> None:
    """The jwt plugin's wheel beside the kernel's, with PyJWT and cryptography, is all that it needs."""
    with _serving_from(install("jackfield", "jackfield_jwt"), tmp_path) as server:
        assert list(server.plugins) == ["jwt"]
        async with connected(server.url) as client:
            assert await client.call("api.auth.whoami") == {"data": {"expires": None, "scopes": [], "sub": None}}
        assert server.stop() == 0


@pytest.mark.full
async def test_the_idempotency_plugin_works_alone_with_the_kernel(install: Install, tmp_path: Path) -> None:
    """The idempotency plugin's wheel beside the kernel's is all that it needs, if it is not to use Redis."""
    with _serving_from(install("jackfield", "jackfield_idempotency", "jackfield_system"), tmp_path) as server:
        assert list(server.plugins) == ["idempotency", "system"]
        async with connected(server.url) as client:
            for _ in range(2):
                reply = await client.call("api.system.ping", meta={"idempotency-key": "0123456789012345678901"})
                assert reply == {"data": "pong"}
        assert server.stop() == 0


@pytest.mark.full
async def test_the_jobs_plugin_works_alone_with_the_kernel(install: Install, tmp_path: Path) -> None:
    """The jobs plugin's wheel beside the kernel's is all that it needs, if its jobs are in a file."""
    with _serving_from(install("jackfield", "jackfield_jobs"), tmp_path) as server:
        assert list(server.plugins) == ["jobs"]
        async with connected(server.url) as client:
            assert await client.call("api.jobs.list") == {"data": {"jobs": [], "next": None}}
            reply = await client.call("api.jobs.submit", {"function": "api.jobs.list"})
            assert reply["error"]["code"] == "permission_denied"
        assert server.stop() == 0


@pytest.mark.full
async def test_the_kv_plugin_works_alone_with_the_kernel(install: Install, tmp_path: Path) -> None:
    """The kv plugin's wheel beside the kernel's is all that it needs, if it is not to use Redis."""
    with _serving_from(install("jackfield", "jackfield_kv"), tmp_path) as server:
        assert list(server.plugins) == ["kv"]
        async with connected(server.url) as client:
            assert await client.call("api.kv.set", {"key": "a", "value": 1}) == {"data": {"version": 1}}
        assert server.stop() == 0


async def test_the_system_plugin_works_alone_with_the_kernel(install: Install, tmp_path: Path) -> None:
    """The system plugin's wheel beside the kernel's is all that it needs."""
    with _serving_from(install("jackfield", "jackfield_system"), tmp_path) as server:
        assert list(server.plugins) == ["system"]
        async with connected(server.url) as client:
            assert await client.call("api.system.ping") == {"data": "pong"}
        assert server.stop() == 0


def test_the_standard_extra_makes_a_whole_server(install: Install) -> None:
    """`jackfield[standard]` brings what the command line and a fast server want."""
    environment = install("jackfield", "jackfield_system", extras="[standard]")
    script = "import aiohttp, httptools, jackfield_system, tomlkit, uvloop"
    subprocess.run([environment / "bin/python", "-c", script], check=True)
    shown = subprocess.run([environment / "bin/jackfield", "--version"], check=True, capture_output=True, text=True)
    assert shown.stdout == "jackfield, version 0.1.0\n"
