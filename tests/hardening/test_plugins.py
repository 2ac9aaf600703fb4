"""Rows 29 to 34 and 53: plugins that are broken, or not wanted. The whole matrix is in `tests/faults/`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, connected
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import START_LIMIT, Server, launch, serving

SLEEPY = """
    import time
    from jackfield import hookimpl

    @hookimpl
    async def jackfield_startup():
        time.sleep(60)
"""

MISSPELT = """
    from jackfield import hookimpl

    @hookimpl
    def jackfield_service():
        return []
"""

WRONG_CONTRACT = """
    from jackfield import Call, Service, hookimpl

    service = Service("api.contract")

    @service.function
    async def f(call: Call, data: type) -> "Nothing":
        pass

    @hookimpl
    def jackfield_services():
        return [service]
"""

WITH_A_SIDE_EFFECT = """
    from pathlib import Path

    Path("imported").touch()
"""

LISTED = '[plugins]\npolicy = "listed"\nenabled = ["jackfield-neighbour:neighbour", "system"]\n'


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose plugins are all broken but one."""
    folder = tmp_path_factory.mktemp("plugins")
    write_neighbour(folder / "p")
    write_plugin(folder / "p", "imports", "import sys\nsys.exit('on purpose')", namespaces=["api.imports"])
    write_plugin(folder / "p", "sleepy", SLEEPY)
    write_plugin(folder / "p", "misspelt", MISSPELT)
    write_plugin(folder / "p", "contract", WRONG_CONTRACT, namespaces=["api.contract"])
    write_plugin(folder / "p", "newer", "raise OSError", namespaces=["api.newer"], requires=["jackfield>=99"])
    with serving(folder / "s", path=[folder / "p"], config="[server]\nstart_timeout = 0.5\n") as server:
        yield server


@pytest.fixture(name="client")
async def _client(server: Server) -> AsyncIterator[Client]:
    async with connected(server.url, "websocket") as client:
        yield client


async def _row(client: Client, name: str) -> tuple[Any, ...]:
    assert await client.call("api.neighbour.hello") == {"data": "still here"}
    rows = {row["name"]: row for row in (await client.call("api.system.plugins"))["data"]}
    return tuple(rows[name][key] for key in ("state", "kind", "reason"))


async def test_29_a_broken_import_harms_nobody_else(client: Client) -> None:
    """A plugin that calls `sys.exit()` when it is imported is out of service with that reason; the others answer."""
    state, kind, reason = await _row(client, "imports")
    assert (state, kind) == ("quarantined", "SystemExit")
    assert reason.startswith("SystemExit: on purpose (")


async def test_30_a_start_that_hangs_is_given_up(client: Client) -> None:
    """A start that holds the whole event loop is interrupted after `server.start_timeout`."""
    assert await _row(client, "sleepy") == ("quarantined", "TimeIsUp", "it took too long")


async def test_31_a_misspelt_hook_is_noticed(client: Client) -> None:
    """A hook that does not exist is refused when the plugin is loaded, with the nearest one."""
    reason = "there is no hook 'jackfield_service'; did you mean 'jackfield_services'?"
    assert await _row(client, "misspelt") == ("quarantined", "PluginValidationError", reason)


async def test_31_a_wrong_contract_is_noticed(client: Client) -> None:
    """A function whose signature promises nothing is refused when the plugin is loaded, and so is its plugin."""
    state, kind, reason = await _row(client, "contract")
    assert (state, kind) == ("quarantined", "NameError")
    assert reason.endswith("): an annotation cannot be resolved: name 'Nothing' is not defined")


def test_32_two_plugins_with_one_name_and_namespace(tmp_path: Path) -> None:
    """Neither wins: the start fails with exit status 3, and both distributions are named."""
    write_neighbour(tmp_path / "p")
    write_plugin(tmp_path / "p", "neighbour", "", namespaces=["api.neighbour"], distribution="evil", module="evil")
    process, log = launch(tmp_path / "s", path=[tmp_path / "p"])
    process.communicate(timeout=START_LIMIT)
    assert process.returncode == 3
    assert log.read_text().splitlines() == [
        f"✗ two plugins claim the {what}: evil:neighbour and jackfield-neighbour:neighbour; "
        'put one of them into plugins.disabled, such as disabled = ["jackfield-neighbour:neighbour"]'
        for what in ("name 'neighbour'", "namespace 'api.neighbour'")
    ]


async def test_33_an_incompatible_plugin_is_not_imported(client: Client) -> None:
    """The kernel versions that a plugin allows are read from its metadata, before anything of it runs."""
    assert await _row(client, "newer") == ("refused", "IncompatibleKernel", "it needs jackfield >=99, this is 0.1.0")


async def test_34_a_call_that_crashes_is_answered(client: Client, server: Server) -> None:
    """The caller gets `internal` and an id, the log gets the traceback; the connection and the plugin live."""
    answer = await client.call("api.services.test.crash")
    error_id = answer["error"]["error_id"]
    message = f"Something went wrong in the server (error {error_id})."
    assert answer == {"error": {"code": "internal", "message": message, "error_id": error_id}}
    told = (
        f"api.services.test.crash failed, error_id {error_id}: RuntimeError: the demonstration crashed, as it was asked"
    )
    assert told in server.log
    assert "Traceback (most recent call last)" in server.log
    assert await client.call("api.services.test.add", {"a": 1, "b": 2}) == {"data": {"sum": 3}}


@pytest.mark.parametrize(
    ("config", "state", "kind", "reason"),
    [
        pytest.param(LISTED, "refused", "NotListed", "it is not on the list", id="unlisted"),
        pytest.param(f'{LISTED}disabled = ["stranger"]\n', "disabled", None, None, id="disabled too"),
        pytest.param('[plugins]\ndisabled = ["jackfield-stranger:stranger"]\n', "disabled", None, None, id="disabled"),
    ],
)
async def test_53_nothing_is_imported_unless_it_is_wanted(
    tmp_path: Path, config: str, state: str, kind: str | None, reason: str | None
) -> None:
    """A plugin that is installed but not listed, or disabled, is shown as such, and not a line of it is run."""
    write_neighbour(tmp_path / "p")
    write_plugin(tmp_path / "p", "stranger", WITH_A_SIDE_EFFECT, namespaces=["api.stranger"])
    with serving(tmp_path / "s", path=[tmp_path / "p"], config=config) as server:
        async with connected(server.url, "websocket") as client:
            assert await _row(client, "stranger") == (state, kind, reason)
            message = f"api.stranger.hello: the plugin stranger is {state}."
            answer = await client.call("api.stranger.hello")
            assert answer == {"error": {"code": "unavailable", "message": message}}
    assert not (tmp_path / "s/imported").exists()


async def test_53_what_is_wanted_is_imported(tmp_path: Path) -> None:
    """The side effect that the tests above look for does happen where the plugin is listed."""
    write_plugin(tmp_path / "p", "stranger", WITH_A_SIDE_EFFECT)
    config = '[plugins]\npolicy = "listed"\nenabled = ["jackfield-stranger:stranger"]\n'
    with serving(tmp_path / "s", path=[tmp_path / "p"], config=config) as server:
        assert server.plugins["stranger"]["state"] == "started"
    assert (tmp_path / "s/imported").exists()
