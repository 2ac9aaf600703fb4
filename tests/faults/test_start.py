"""What keeps a server from starting at all: exit status 3, every fault named at once, and the way out beside it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from tests.support.client import connected
from tests.support.installed import INSTALLED, names
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import START_LIMIT, launch, serving
from tests.support.waiting import until

SERVING = """
    from jackfield import Call, Service, hookimpl

    service = Service("{namespace}")

    @service.function
    async def who(call: Call) -> str:
        return "{who}"

    @hookimpl
    def jackfield_services():
        return [service]
"""

STUBBORN = """
    import time

    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""

STUBBORN_START = """
    import time
    from jackfield import hookimpl

    @hookimpl
    async def jackfield_startup():
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
"""

KEEPS_A_DIARY = """
    from pathlib import Path
    from jackfield import hookimpl

    @hookimpl
    async def jackfield_startup():
        Path("started").touch()

    @hookimpl
    async def jackfield_shutdown():
        Path("stopped").touch()
"""


def write_serving(folder: Path, name: str, namespace: str, who: str, *, distribution: str | None = None) -> None:
    """Write a plugin whose one function `who` says who it is."""
    module = f"plugin_{who}"
    source = SERVING.format(namespace=namespace, who=who)
    write_plugin(folder, name, source, namespaces=[namespace], distribution=distribution, module=module)


def failed(folder: Path, config: str, path: Sequence[Path] = ()) -> list[str]:
    """Start a server that must not come up, and return the faults that it names."""
    process, log = launch(folder, config=config, path=path)
    out, _ = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (3, b""), log.read_text()
    return [line.removeprefix("✗ ") for line in log.read_text().splitlines() if line.startswith("✗ ")]


async def who(folder: Path, config: str, path: Path, event: str) -> object:
    """Start a server, and return what the function answers."""
    with serving(folder, config=config, path=[path]) as server:
        async with connected(server.url, "websocket") as client:
            answer: dict[str, object] = await client.call(event)
    return answer.get("data", answer)


async def test_two_plugins_with_one_namespace(tmp_path: Path) -> None:
    """Neither is guessed at: both distributions are named; with one of them disabled the other answers."""
    write_serving(tmp_path / "p", "one", "api.same", "one")
    write_serving(tmp_path / "p", "two", "api.same", "two", distribution="Other.Two")
    assert failed(tmp_path / "s", "", [tmp_path / "p"]) == [
        "two plugins claim the namespace 'api.same': jackfield-one:one and Other.Two:two; "
        'put one of them into plugins.disabled, such as disabled = ["Other.Two:two"]'
    ]
    assert await who(tmp_path / "s", '[plugins]\ndisabled = ["two"]', tmp_path / "p", "api.same.who") == "one"


async def test_two_plugins_with_one_name(tmp_path: Path) -> None:
    """The same for an entry point's name; the distribution's name tells which one is meant."""
    write_serving(tmp_path / "p", "same", "api.one", "one", distribution="first")
    write_serving(tmp_path / "p", "same", "api.two", "two", distribution="second")
    assert failed(tmp_path / "s", "", [tmp_path / "p"]) == [
        "two plugins claim the name 'same': first:same and second:same; "
        'put one of them into plugins.disabled, such as disabled = ["second:same"]'
    ]
    config = '[plugins]\ndisabled = ["first:same"]'
    assert await who(tmp_path / "s", config, tmp_path / "p", "api.two.who") == "two"


async def test_an_impostor_takes_no_name(tmp_path: Path) -> None:
    """Where plugins are listed with their distribution, another of the same name and namespace is not even loaded."""
    write_serving(tmp_path / "p", "same", "api.same", "genuine", distribution="genuine")
    write_serving(tmp_path / "p", "same", "api.same", "impostor", distribution="impostor")
    config = '[plugins]\npolicy = "listed"\nenabled = ["genuine:same"]'
    assert await who(tmp_path / "s", config, tmp_path / "p", "api.same.who") == "genuine"


def test_all_faults_of_the_configuration_at_once(tmp_path: Path) -> None:
    """Plugins that are missing, tables of nobody and collisions are reported together, with the nearest names."""
    write_neighbour(tmp_path / "p")
    write_serving(tmp_path / "p", "one", "api.same", "one")
    write_serving(tmp_path / "p", "two", "api.same", "two")
    config = """
        [plugins]
        enabled = ["neighbor", "jackfield-neighbour:neighbour", "someone:neighbour", "xyz"]
        [plugins.neighbors]
        size = 1
        [plugins.qqq]
    """
    assert failed(tmp_path / "s", config, [tmp_path / "p"]) == [
        "plugins.enabled: no plugin 'neighbor' is installed; did you mean 'neighbour'?",
        "plugins.enabled: no plugin 'someone:neighbour' is installed; did you mean 'neighbour'?",
        "plugins.enabled: no plugin 'xyz' is installed",
        "plugins.neighbors: there is no such key; did you mean plugins.neighbour?",
        "plugins.qqq: there is no such key; there are " + ", ".join(names("neighbour", "one", "two")),
        "two plugins claim the namespace 'api.same': jackfield-one:one and jackfield-two:two; "
        'put one of them into plugins.disabled, such as disabled = ["jackfield-two:two"]',
    ]


async def test_a_disabled_plugin_is_disabled_whatever_else_is_said(tmp_path: Path) -> None:
    """`disabled` wins over `enabled`, and its table in the configuration may stay."""
    write_neighbour(tmp_path / "p")
    config = (
        '[plugins]\nenabled = ["neighbour"]\ndisabled = ["jackfield-neighbour:neighbour"]\n[plugins.neighbour]\na = 1'
    )
    with serving(tmp_path / "s", config=config, path=[tmp_path / "p"]) as server:
        assert server.plugins["neighbour"]["state"] == "disabled"
        async with connected(server.url, "websocket") as client:
            message = "api.neighbour.hello: the plugin neighbour is disabled."
            answer = await client.call("api.neighbour.hello")
            assert answer == {"error": {"code": "unavailable", "message": message}}


def test_strict_ends_the_start_for_every_fault(tmp_path: Path) -> None:
    """`strict = true`: one plugin with a fault is enough, and all of them are named."""
    write_neighbour(tmp_path / "p")
    write_plugin(tmp_path / "p", "broken", "raise OSError('no disk')", namespaces=["api.broken"])
    write_plugin(tmp_path / "p", "newer", "", requires=["jackfield>=99"])
    file = tmp_path / "p/plugin_broken.py"
    assert failed(tmp_path / "s", "[plugins]\nstrict = true", [tmp_path / "p"]) == [
        f"plugin broken is quarantined: OSError: no disk ({file}:1)",
        "plugin newer is refused: it needs jackfield >=99, this is 0.1.0",
    ]


def test_strict_stops_what_has_started(tmp_path: Path) -> None:
    """A fault that shows only at the start ends it too, and the plugins that have started are stopped in order."""
    write_plugin(tmp_path / "p", "diary", KEEPS_A_DIARY)
    source = "from jackfield import hookimpl\n@hookimpl\nasync def jackfield_startup():\n    raise OSError('no disk')\n"
    write_plugin(tmp_path / "p", "broken", source)
    assert failed(tmp_path / "s", "[plugins]\nstrict = true", [tmp_path / "p"]) == [
        f"plugin broken is quarantined: OSError: no disk ({tmp_path / 'p/plugin_broken.py'}:4)"
    ]
    assert (tmp_path / "s/started").exists()
    assert (tmp_path / "s/stopped").exists()


def test_strict_takes_no_offence_at_what_was_not_wanted(tmp_path: Path) -> None:
    """A plugin that is not on the list, or disabled, is no fault."""
    write_neighbour(tmp_path / "p")
    write_plugin(tmp_path / "p", "broken", "raise OSError")
    config = '[plugins]\nstrict = true\npolicy = "listed"\nenabled = ["neighbour"]\ndisabled = ["broken"]'
    with serving(tmp_path / "s", config=config, path=[tmp_path / "p"]) as server:
        assert {name: plugin["state"] for name, plugin in server.plugins.items()} == {
            **dict.fromkeys(INSTALLED, "refused"),
            "broken": "disabled",
            "neighbour": "started",
        }


async def test_ctrl_c_ends_an_import(tmp_path: Path) -> None:
    """Whoever waits for a plugin's import can give up: exit status 3, and no plugin is blamed."""
    source = "import time\nfrom pathlib import Path\nPath('began').touch()\ntime.sleep(60)"
    write_plugin(tmp_path / "p", "slow", source)
    process, log = launch(tmp_path / "s", path=[tmp_path / "p"])
    await until((tmp_path / "s/began").exists)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (3, b"")
    assert log.read_text() == "✗ interrupted before the server was up\n"


def test_what_cannot_be_interrupted_ends_the_start(tmp_path: Path) -> None:
    """An import or a start hook that catches everything ends the process: exit status 3, and the plugin's name."""
    config = "[server]\nstart_timeout = 0.5\nstop_timeout = 0.5"
    servers = []
    for name, source in (("import", STUBBORN), ("start", STUBBORN_START)):
        write_plugin(tmp_path / name, f"stubborn_{name}", source)
        servers.append((f"stubborn_{name}", *launch(tmp_path / f"s-{name}", config=config, path=[tmp_path / name])))
    for name, process, log in servers:
        out, _ = process.communicate(timeout=START_LIMIT)
        assert (process.returncode, out) == (3, b"")
        assert log.read_text().splitlines()[-2:] == [
            f"jackfield: plugin {name} does not come back and cannot be interrupted; the start has failed.",
            f"  Take it out of service with: jackfield plugins disable {name}",
        ]
