"""A kernel with just the plugin under test, in memory or on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path, PurePath
from typing import Any, Final, TypeAlias

from pydantic import ValidationError

from jackfield._configuration import explain
from jackfield._errors import StartError
from jackfield._settings import Settings
from jackfield.testing import _principals
from jackfield.testing._clock import Clock
from jackfield.testing._errors import SetupError
from jackfield.testing._given import Given, plugin_of
from jackfield.testing._kernel import GivenKernel
from jackfield.testing._memory import InMemory
from jackfield.testing._network import FIXED, OnPort
from jackfield.testing._principals import Principals
from jackfield.testing._running import RunningKernel

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[RunningKernel]]
"""What the fixture `jackfield_serve` is: `serve`, with the arguments that depend on the test given already."""

_CONFIG: Final[Mapping[str, Mapping[str, object]]] = {
    "server": {"host": "127.0.0.1", "port": 0},
    "limits": {"loop_lag": 0},  # a machine that runs many tests at once would have clients turned away
    "watchdog": {"threshold": 0},
}
"""What is configured where the test says nothing else."""


@asynccontextmanager
async def serve(
    plugin: object,
    *,
    settings: Mapping[str, Any] | None = None,
    neighbours: Mapping[str, object] | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    authenticated: bool = False,
    strict: bool = True,
    network: bool = False,
    project: Path | None = None,
) -> AsyncIterator[RunningKernel]:
    """Serve one plugin, and nothing that happens to be installed beside it, while a block runs.

    Args:
        plugin: The name of its entry point, as the project's `pyproject.toml` or what is installed has it; its module;
            a `Service`, or an object with hooks, for a plugin that the test makes.
        settings: Its settings: what an operator writes into `[plugins.<name>]`. Paths are taken as texts.
        neighbours: Other plugins by name, each as `plugin` may be: fakes, usually.
        config: More configuration, by table, such as `{"limits": {"calls": 7}}`; of neighbours too, in `plugins`.
        authenticated: Whether clients have to say who they are, as beside a plugin that knows them: then
            `connect(as_=…)` does, and who does not is refused, unless another plugin knows the client.
        strict: Whether a plugin with a fault ends the start; if not, it is quarantined as in a server.
        network: Whether to listen on a real port of this machine, for python-socketio's client over a real websocket.
        project: The folder from which `pyproject.toml` is looked for, upwards; where the process runs if left out.

    Yields:
        The kernel, started. At the end its clients are disconnected, calls that run are ended, and plugins stopped;
        a `UserWarning` names each function with `errors=` that has raised a code which is missing there.

    Raises:
        SetupError: There is no such plugin.
        JackfieldError: The kernel does not start, with its own words for all faults at once.

    Example:
        async with serve("demo", settings={"greeting": "Hi"}) as kernel:
            client = await kernel.connect()
            assert await client.call("api.services.test.greet", {"name": "Ann"}) == {"text": "Hi Ann!"}
    """
    kernel, given = kernel_of(
        plugin,
        settings=settings,
        neighbours=neighbours,
        config=config,
        authenticated=authenticated,
        strict=strict,
        project=project,
    )
    kernel.load()
    clock = Clock(tuple({_package(one) for one in given}), FIXED if network else None)
    ground = OnPort(kernel) if network else InMemory(kernel)
    running = RunningKernel(kernel, given[0].name, ground, clock)
    try:
        async with running.in_service():
            yield running
        kernel.warn()
    finally:
        clock.restore()


def kernel_of(
    plugin: object,
    *,
    settings: Mapping[str, Any] | None,
    neighbours: Mapping[str, object] | None,
    config: Mapping[str, Mapping[str, Any]] | None,
    authenticated: bool,
    strict: bool,
    project: Path | None,
) -> tuple[GivenKernel, list[Given]]:
    """Return a kernel with the plugins that `serve` is given, and these, the one under test first."""
    near = Path.cwd() if project is None else project
    given, table = _all_of(plugin, settings or {}, neighbours or {}, config or {}, near)
    principals = Principals() if authenticated else None
    if principals is not None:
        given.append(plugin_of(principals, {}, near, _principals.NAME))
    return GivenKernel(_settings(table, strict=strict), given, principals), given


def _all_of(
    plugin: object,
    settings: Mapping[str, Any],
    neighbours: Mapping[str, object],
    config: Mapping[str, Mapping[str, Any]],
    near: Path,
) -> tuple[list[Given], dict[str, dict[str, Any]]]:
    """Return the plugins, the one under test first, and the configuration with the settings of each."""
    table = {name: {**_CONFIG.get(name, {}), **config.get(name, {})} for name in {**_CONFIG, **config}}
    tables = table.setdefault("plugins", {})
    given = [plugin_of(plugin, settings, near)]
    for name, neighbour in neighbours.items():
        one = plugin_of(neighbour, tables.get(name, {}), near, name)
        if one.name != name:
            raise SetupError(f"the neighbour {name!r} is called {one.name!r} where it is installed: give it that name")
        given.append(one)
    if settings:
        tables[given[0].name] = settings
    return given, table


def _settings(table: Mapping[str, Mapping[str, Any]], *, strict: bool) -> Settings:
    merged: dict[str, Any] = {**_texts(table), "plugins": {"strict": strict, **_texts(table.get("plugins", {}))}}
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise StartError(explain(error, Settings)) from None


def _texts(value: Any) -> Any:
    """Return settings as a file would hold them, where paths are texts."""
    if isinstance(value, Mapping):
        return {key: _texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(inner) for inner in value]
    return str(value) if isinstance(value, PurePath) else value


def _package(given: Given) -> str:
    return given.found.manifest.module.partition(".")[0]
