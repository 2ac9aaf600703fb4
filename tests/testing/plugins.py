"""Plugins that tests of the kit serve, and how to write the project of one."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from jackfield import Call, Handshake, Principal, Service, Value, hookimpl


class Settings(BaseModel):
    """Settings of `Echo`."""

    model_config = ConfigDict(extra="forbid")

    prefix: str = Field("", description="What every answer begins with.")


def echo_service(prefix: str = "") -> Service:
    """Return a service with a function for each thing that a test of the kit needs."""
    service = Service("api.echo")

    @service.function
    async def echo(call: Call, data: str) -> str:
        """Return what was sent."""
        return prefix + data

    @service.function
    async def header(call: Call, data: str) -> str | None:
        """Return one of the call's headers."""
        return call.meta.get(data)

    @service.function
    async def who(call: Call) -> str | None:
        """Tell who is calling."""
        return call.principal.id if call.principal else None

    @service.function(requires="orders:read")
    async def orders(call: Call) -> str:
        """Need a scope."""
        return "orders"

    @service.function
    async def wait(call: Call, data: float) -> float:
        """Take so many seconds."""
        await asyncio.sleep(data)
        return data

    @service.function
    async def numbers(call: Call, data: int) -> AsyncIterator[bytes]:
        """Give Buffers of 10,000 bytes."""
        for number in range(data):
            yield number.to_bytes(10_000, "big")

    @service.function
    async def both(call: Call, items: AsyncIterator[str]) -> AsyncIterator[str]:
        """Give back what comes."""
        async for item in items:
            yield item

    @service.function
    async def ask(call: Call, data: str) -> Value:
        """Ask the caller."""
        assert call.client is not None
        return await call.client.request("question", data, timeout=5)

    @service.function
    async def neighbour(call: Call) -> Value:
        """Ask the plugin next door."""
        return await call.invoke("api.neighbour.hello")

    return service


class Echo:
    """A plugin with settings and a service."""

    @hookimpl
    def jackfield_settings(self) -> type[Settings]:
        """Return the model."""
        return Settings

    @hookimpl
    def jackfield_services(self, settings: Settings) -> list[Service]:
        """Return the service."""
        return [echo_service(settings.prefix)]


class Door:
    """A plugin that knows who clients are by a password."""

    @hookimpl
    async def jackfield_authenticate(self, handshake: Handshake) -> Principal | None:
        """Let ann in."""
        return Principal("ann") if handshake.auth.get("password") == "open sesame" else None


def make_neighbour() -> Service:
    """Return a service to be somebody's neighbour."""
    service = Service("api.neighbour")

    @service.function
    async def hello(call: Call) -> str:
        """Say that it is there."""
        return "still here"

    return service


PYPROJECT = """
    [project]
    name = "jackfield-{name}"
    version = "1.2"
    description = "The plugin {name}"
    dependencies = ["jackfield>=0.1,<0.2", "other; extra == 'never'"]

    [project.entry-points."jackfield.plugins"]
    {name} = "{module}"

    [project.entry-points."jackfield.namespaces"]
    "api.{name}" = "{module}"
"""

SOURCE = '''
    """A plugin."""

    from pydantic import BaseModel, ConfigDict, Field

    from jackfield import Call, Service, hookimpl

    service = Service("api.{name}")


    class Settings(BaseModel):
        """The settings."""

        model_config = ConfigDict(extra="forbid")

        word: str = Field("hello", description="What it says.")


    @service.function
    async def hello(call: Call) -> str:
        """Say hello."""
        return "hello"


    @hookimpl
    def jackfield_settings():
        return Settings


    @hookimpl
    def jackfield_services():
        return [service]
'''


def write_project(folder: Path, name: str, source: str = SOURCE, pyproject: str = PYPROJECT) -> Path:
    """Write a project with a plugin that is a package in `src`, not installed; return its folder."""
    package = folder / "src" / f"plug_{name}"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(textwrap.dedent(pyproject).format(name=name, module=f"plug_{name}"))
    (package / "__init__.py").write_text(textwrap.dedent(source).replace("{name}", name))
    (package / "py.typed").touch()
    return folder


@contextmanager
def importable(project: Path) -> Iterator[None]:
    """Let the package of a project be imported, and forget it in the end."""
    source = project / "src"
    sys.path.insert(0, str(source))
    try:
        yield
    finally:
        sys.path.remove(str(source))
        for name in [name for name in sys.modules if (source / name.partition(".")[0]).is_dir()]:
            del sys.modules[name]
