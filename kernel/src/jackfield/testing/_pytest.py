"""The pytest plugin: fixtures with a kernel and a client, and the flag that gives them a real server.

pytest loads this in every run, wherever jackfield is installed, so it imports nothing else of the kit before a test
asks for it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from jackfield.testing import Client, RunningKernel, Serve

MARKER: Final = "jackfield"
_FLAG: Final = "--jackfield-server"
_AS: Final = "as_"
_ASYNC: Final = ("jackfield_kernel", "jackfield_client")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag."""
    parser.getgroup(MARKER).addoption(
        _FLAG,
        action="store_true",
        help="Let the kernels of jackfield's fixtures listen on real ports, for real clients, in the place of memory.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(plugin, *, as_, …): what jackfield_kernel serves, with the arguments of jackfield.testing.serve, "
        "and as whom jackfield_client connects; a nearer marker adds to one that is further out.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say what is missing, where nobody would run the asynchronous fixtures."""
    names: list[str] = getattr(item, "fixturenames", [])
    wanted = [name for name in _ASYNC if name in names]
    if wanted and "anyio_backend" not in names and _asyncio_mode(item.config) != "auto":
        pytest.fail(
            f"{wanted[0]} needs an event loop: install pytest-asyncio and let it have every asynchronous test "
            '(asyncio_mode = "auto" in the configuration of pytest), or mark the test with @pytest.mark.anyio',
            pytrace=False,
        )


def _asyncio_mode(config: pytest.Config) -> str | None:
    try:
        return str(config.getoption("asyncio_mode", None) or config.getini("asyncio_mode"))
    except ValueError:  # there is no pytest-asyncio
        return None


@pytest.fixture
def jackfield_settings() -> dict[str, Any]:
    """The settings of the plugin under test: override it where they depend on other fixtures, such as tmp_path."""
    return {}


@pytest.fixture
def jackfield_serve(request: pytest.FixtureRequest) -> Serve:
    """`jackfield.testing.serve` for the project of this test: on a real port if pytest was told --jackfield-server."""
    from jackfield.testing import serve  # noqa: PLC0415 - see above

    return partial(serve, project=request.path.parent, network=request.config.getoption(_FLAG))


@pytest.fixture
async def jackfield_kernel(
    request: pytest.FixtureRequest, jackfield_serve: Serve, jackfield_settings: dict[str, Any]
) -> AsyncIterator[RunningKernel]:
    """A kernel with the plugin of this project, or with what the marker `jackfield` names; for this test alone."""
    from jackfield import JackfieldError  # noqa: PLC0415 - see above
    from jackfield.testing._given import only_plugin  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        try:
            plugin, options = _marked(request.node)
            served = only_plugin(request.path.parent) if plugin is None else plugin
            if options.pop(_AS, None) is not None:
                options.setdefault("authenticated", True)
            options["settings"] = {**jackfield_settings, **options.get("settings", {})}
            kernel = await stack.enter_async_context(jackfield_serve(served, **options))
        except JackfieldError as error:
            raise _failed(f"jackfield_kernel does not start: {error}") from None
        yield kernel


@pytest.fixture
async def jackfield_client(request: pytest.FixtureRequest, jackfield_kernel: RunningKernel) -> Client:
    """A client of `jackfield_kernel`, connected."""
    from jackfield.client import ConnectError  # noqa: PLC0415 - see above

    try:
        return await jackfield_kernel.connect(as_=_marked(request.node)[1].get(_AS))
    except ConnectError as error:
        raise _failed(
            f"jackfield_client is not let in: {error} It connects as the marker says: "
            "@pytest.mark.jackfield(as_=Principal(…)); to show anything else, use jackfield_kernel.connect."
        ) from None


def _failed(message: str) -> BaseException:
    return pytest.fail.Exception(message, pytrace=False)


def _marked(node: pytest.Item) -> tuple[object, dict[str, Any]]:
    """Return the plugin that the markers name, if they do, and their options: the nearest has the last word on each."""
    from jackfield.testing import SetupError, serve  # noqa: PLC0415 - see above

    known = [_AS, *(name for name, one in inspect.signature(serve).parameters.items() if one.kind is one.KEYWORD_ONLY)]
    plugin: object = None
    options: dict[str, Any] = {}
    for marker in node.iter_markers(MARKER):
        if len(marker.args) > 1:
            raise SetupError(f"@pytest.mark.{MARKER} takes one plugin; others go into neighbours={{…}}")
        for name in marker.kwargs:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else f"it takes {', '.join(known)}"
                raise SetupError(f"@pytest.mark.{MARKER} takes no {name}; {hint}")
        if plugin is None and marker.args:
            plugin = marker.args[0]
        options = {**marker.kwargs, **options}
    return plugin, options
