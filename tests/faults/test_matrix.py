"""The fault matrix: every way to break a plugin before it serves, all of them installed beside one that works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.support.client import Client, connected
from tests.support.installed import INSTALLED, disabled
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, environment, serving

WORKING = """
from jackfield import Call, CallError, Service, hookimpl

service = Service("api.{name}")

@service.function
async def hello(call: Call) -> str:
    return "hello"

@hookimpl
def jackfield_services():
    return [service]
"""
"""What a plugin is without its fault."""

PATIENT = """
    import asyncio
    from jackfield import hookimpl

    @hookimpl
    async def jackfield_startup():
        for _ in range(30):
            await asyncio.sleep(0.01)
"""
"""A plugin that starts in time, if others that hold the loop are not laid at its door."""

SLOW = "raise server.start_timeout, or mend the plugin"
STALE = "what is installed is read, not pyproject.toml: after a change of it, pip install --editable . again"
UNRESOLVED = "import the name outside of `if TYPE_CHECKING:`; annotations are read when the server runs"


@dataclass(frozen=True)
class Fault:
    """One row: a broken plugin, and what everybody is to be told of it.

    Args:
        name: The plugin's name; it declares the namespace `api.<name>`.
        source: What is put below a working plugin's source; of the whole module if `whole`.
        kind: The fault's short name.
        reason: The whole reason, or its beginning where it ends with `…`. `{folder}` is where the plugins are; `{here}`
            and `{there}` are the places with the comments `# here` and `# there`.
        state: What becomes of the plugin.
        hint: What the operator is told to do.
        settings: Its table in the configuration.
        options: More arguments of `write_plugin`.
    """

    name: str
    source: str
    kind: str
    reason: str
    state: str = "quarantined"
    hint: str | None = None
    settings: str | None = None
    whole: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The source of its module."""
        below = dedent(self.source)
        return below if self.whole else WORKING.format(name=self.name) + below

    def write(self, folder: Path) -> None:
        """Install it."""
        write_plugin(folder, self.name, self.text, **{"namespaces": [f"api.{self.name}"], **self.options})

    def told(self, folder: Path) -> str:
        """The reason as it is shown."""
        file = folder / f"plugin_{self.name.replace('-', '_')}.py"
        places = {
            mark: f"{file}:{number}"
            for number, line in enumerate(self.text.splitlines(), 1)
            for mark in ("here", "there")
            if line.endswith(f"# {mark}")
        }
        return self.reason.format(folder=folder, **places)


IMPORTS = [
    Fault(
        "missing_import",
        "import there_is_no_such_module.sub  # here",
        "ModuleNotFoundError",
        "ModuleNotFoundError: No module named 'there_is_no_such_module' ({here})",
        hint="pip install there_is_no_such_module",
    ),
    Fault(
        "wrong_import",
        "from plugin_neighbour import nothing  # here",
        "ImportError",
        "ImportError: cannot import name 'nothing' from 'plugin_neighbour' ({folder}/plugin_neighbour.py) ({here})",
    ),
    Fault("bad_syntax", "def broken(:  # here", "SyntaxError", "SyntaxError: invalid syntax ({here})", whole=True),
    Fault("exits", "import sys\nsys.exit(7)  # here", "SystemExit", "SystemExit: 7 ({here})", whole=True),
    Fault(
        "interrupts",
        "raise KeyboardInterrupt  # here",
        "KeyboardInterrupt",
        "KeyboardInterrupt ({here})",
        whole=True,
    ),
    Fault(
        "no_exception",
        "class Odd(BaseException): pass\nraise Odd('odd')  # here",
        "Odd",
        "plugin_no_exception.Odd: odd ({here})",
        whole=True,
    ),
    Fault(
        "many_lines",
        "raise ValueError('one\\n  two\\nthree')  # here",
        "ValueError",
        "ValueError: one two three ({here})",
        whole=True,
    ),
    Fault(
        "without_words",
        """
        class Silent(Exception):
            def __str__(self):
                raise RuntimeError

        raise Silent  # here
        """,
        "Silent",
        "plugin_without_words.Silent: <exception str() failed> ({here})",
        whole=True,
    ),
    Fault("endless_import", "while True: pass", "TimeIsUp", "it took too long", hint=SLOW, whole=True),
    Fault("sleepy_import", "import time\ntime.sleep(60)", "TimeIsUp", "it took too long", hint=SLOW, whole=True),
    Fault(
        "no_module",
        "",
        "ModuleNotFoundError",
        "ModuleNotFoundError: No module named 'plugin_elsewhere'",
        hint="pip install plugin_elsewhere",
        options={"target": "plugin_elsewhere"},
    ),
    Fault(
        "no_attribute",
        "",
        "AttributeError",
        "AttributeError: module 'plugin_no_attribute' has no attribute 'plugin'",
        options={"target": "plugin_no_attribute:plugin"},
    ),
    Fault(
        "names_none",
        "plugin = None",
        "PluginError",
        "its entry point names plugin_names_none:plugin, which is None",
        options={"target": "plugin_names_none:plugin"},
    ),
    Fault(
        "twin",
        "",
        "PluginError",
        "its entry point names what the plugin neighbour is already: plugin_neighbour",
        options={"target": "plugin_neighbour", "namespaces": [], "module": "unused"},
    ),
]

MANIFESTS = [
    Fault(
        "with-hyphen",
        "",
        "ManifestError",
        "its manifest is invalid: name: Value error, a plugin's name has lower-case letters, digits and _ only, "
        "not 'with-hyphen'",
        state="refused",
        options={"namespaces": ["api.with_hyphen"]},
    ),
    Fault(
        "policy",
        "",
        "ManifestError",
        "its manifest is invalid: name: Value error, 'policy' is a key of the configuration, "
        "so no plugin can have that name",
        state="refused",
    ),
    Fault(
        "bad_namespace",
        "",
        "ManifestError",
        "its manifest is invalid: namespaces: Value error, a namespace is a dotted path in letters, digits and _, "
        "not 'api.9lives'",
        state="refused",
        options={"namespaces": ["api.9lives"]},
    ),
    Fault(
        "bad_requirement",
        "",
        "ManifestError",
        "its metadata has a requirement that cannot be read: 'jackfield is nice'",
        state="refused",
        options={"requires": ["jackfield is nice"]},
    ),
    Fault(
        "too_new",
        "",
        "IncompatibleKernel",
        "it needs jackfield <0.2,>=0.1.1, this is 0.1.0",
        state="refused",
        options={"requires": ["jackfield>=0.1.1,<0.2"]},
    ),
]

CONTENTS = [
    Fault(
        "undeclared",
        "",
        "NamespaceError",
        "it serves 'api.undeclared', which its metadata does not declare",
        hint=STALE,
        options={"namespaces": []},
    ),
    Fault(
        "unserved",
        "",
        "NamespaceError",
        "it declares 'api.another', which it does not serve",
        hint=STALE,
        options={"namespaces": ["api.unserved", "api.another"]},
    ),
    Fault(
        "unmarked",
        """
        from jackfield import Service

        def jackfield_services():
            return [Service("api.unmarked")]
        """,
        "NamespaceError",
        "it declares 'api.unmarked', which it does not serve",
        hint="mark jackfield_services with @hookimpl",
        whole=True,
    ),
    Fault(
        "served_twice",
        """
        @hookimpl
        def jackfield_services():
            return [service, Service("api.served_twice")]
        """,
        "NamespaceError",
        "it has two services for 'api.served_twice'",
    ),
    Fault(
        "misspelt_hook",
        """
        @hookimpl
        def jackfield_servces():
            return []

        @hookimpl
        async def on_start():
            pass
        """,
        "PluginValidationError",
        "there is no hook 'jackfield_servces'; did you mean 'jackfield_services'?; there is no hook 'on_start'",
    ),
    Fault(
        "unknown_argument",
        """
        @hookimpl
        async def jackfield_connect(client, session):
            pass
        """,
        "PluginValidationError",
        "jackfield_connect takes client, principal, and has no 'session'",
    ),
    Fault(
        "plain_hook",
        """
        @hookimpl
        def jackfield_startup():
            pass
        """,
        "PluginError",
        "jackfield_startup must be a coroutine function (async def)",
    ),
    Fault(
        "coroutine_hook",
        """
        @hookimpl
        async def jackfield_admit(call):
            pass
        """,
        "PluginError",
        "jackfield_admit must be a plain function (def)",
    ),
    Fault(
        "wrapping_hook",
        """
        @hookimpl(wrapper=True)
        def jackfield_settings():
            return (yield)
        """,
        "PluginError",
        "jackfield_settings is a wrapper, which jackfield does not support: use jackfield_call",
    ),
    Fault(
        "raising_hook",
        """
        @hookimpl
        def jackfield_services():
            raise LookupError("nowhere")  # here
        """,
        "LookupError",
        "LookupError: nowhere ({here})",
    ),
    Fault(
        "endless_hook",
        """
        @hookimpl
        def jackfield_services():
            while True: pass
        """,
        "TimeIsUp",
        "it took too long",
        hint=SLOW,
    ),
    Fault(
        "nonsense_services",
        """
        @hookimpl
        def jackfield_services():
            return {"api.nonsense_services": hello}
        """,
        "PluginError",
        "jackfield_services must return a list of Service objects, "
        "not {{'api.nonsense_services': <function hello at 0x…",
    ),
    Fault(
        "no_services",
        """
        @hookimpl
        def jackfield_services():
            pass
        """,
        "PluginError",
        "jackfield_services must return a list of Service objects, not None",
    ),
]

SETTINGS = [
    Fault(
        "bad_settings",
        """
        from pydantic import BaseModel

        class Model(BaseModel, extra="forbid"):
            greeting: str
            size: int = 1

        @hookimpl
        def jackfield_settings():
            return Model
        """,
        "SettingsError",
        "plugins.bad_settings.greeting: Field required; "
        "plugins.bad_settings.size: Input should be a valid integer, unable to parse string as an integer; "
        "plugins.bad_settings.greting: there is no such key; did you mean plugins.bad_settings.greeting?",
        settings='greting = "Hello"\nsize = "large"',
    ),
    Fault(
        "takes_no_settings",
        "",
        "SettingsError",
        "plugins.takes_no_settings: the plugin takes no settings, but has color, size",
        settings='color = "red"\nsize = 3',
    ),
    Fault(
        "nonsense_settings",
        """
        @hookimpl
        def jackfield_settings():
            return {"greeting": "Hello"}
        """,
        "PluginError",
        "jackfield_settings must return a pydantic model's class, not {{'greeting': 'Hello'}}",
    ),
    Fault(
        "raising_settings",
        """
        @hookimpl
        def jackfield_settings():
            raise OSError("no disk")  # here
        """,
        "OSError",
        "OSError: no disk ({here})",
    ),
]

CONTRACTS = [
    Fault(
        "unresolvable",
        """
        @service.function  # here
        async def broken(call: Call, data: "Nowhere") -> str: ...
        """,
        "NameError",
        "broken ({here}): an annotation cannot be resolved: name 'Nowhere' is not defined",
        hint=UNRESOLVED,
    ),
    Fault(
        "unannotated",
        """
        @service.function  # here
        async def broken(call: Call, data) -> str: ...
        """,
        "ContractError",
        "broken ({here}) has no annotation for parameter 'data'; write the type, or typing.Any for anything at all",
    ),
    Fault(
        "unannotated_result",
        """
        @service.function  # here
        async def broken(call: Call): ...
        """,
        "ContractError",
        "broken ({here}) has no annotation for its result; write the type, or typing.Any for anything at all",
    ),
    Fault(
        "many_parameters",
        """
        @service.function  # here
        async def broken(call: Call, a: int, b: int) -> None: ...
        """,
        "ContractError",
        "broken ({here}) takes (call), (call, data) or (call, items), and nothing else",
    ),
    Fault(
        "stream_of_nothing",
        """
        from collections.abc import AsyncIterator

        @service.function  # here
        async def broken(call: Call) -> AsyncIterator[int]:
            return [1]
        """,
        "ContractError",
        "broken ({here}) promises a stream, but yields nothing: it has to be an async def that yields its items",
    ),
    Fault(
        "detached_stream",
        """
        from collections.abc import AsyncIterator

        @service.function(detached=True)
        async def broken(call: Call) -> AsyncIterator[int]:
            yield 1
        """,
        "ContractError",
        "api.detached_stream.broken is a stream, which ends with its connection: it cannot be detached",
    ),
    Fault(
        "undescribable",
        """
        class Opaque: pass

        @service.function  # here
        async def broken(call: Call, data: Opaque) -> None: ...
        """,
        "PydanticSchemaGenerationError",
        "broken ({here}): the type of its argument cannot be checked or described: Unable to generate "
        "pydantic-core schema for <class 'plugin_undescribable.Opaque'>.…",
    ),
    Fault(
        "raising_type",
        """
        class Type:
            @classmethod
            def __get_pydantic_core_schema__(cls, source, handler):
                raise ArithmeticError("no schema")  # here

        @service.function
        async def broken(call: Call, data: Type) -> None: ...
        """,
        "ArithmeticError",
        "ArithmeticError: no schema ({here})",
    ),
    Fault(
        "two_faults",
        """
        @service.function  # here
        async def first(call: Call, data) -> None: ...

        @service.function  # there
        async def second(call: Call, data: "Nowhere") -> None: ...
        """,
        "ContractError",
        "first ({here}) has no annotation for parameter 'data'; write the type, or typing.Any for anything at all; "
        "second ({there}): an annotation cannot be resolved: name 'Nowhere' is not defined",
        hint=UNRESOLVED,
    ),
]

START = """
import asyncio, sys, time

@hookimpl
async def jackfield_startup():
"""

STARTS = [
    Fault("start_raises", f"{START}    raise OSError('no disk')  # here", "OSError", "OSError: no disk ({here})"),
    Fault(
        "start_exits",
        f"{START}    sys.exit(5)",
        "SystemExit",
        "it called for the end of the process: SystemExit(5)",
    ),
    Fault(
        "start_interrupts",
        f"{START}    raise KeyboardInterrupt",
        "KeyboardInterrupt",
        "it called for the end of the process: KeyboardInterrupt()",
    ),
    Fault(
        "start_cancels",
        f"{START}    raise asyncio.CancelledError",
        "CancelledError",
        "it raised CancelledError(), which is no Exception",
    ),
    Fault(
        "start_closes",
        f"{START}    raise GeneratorExit",
        "GeneratorExit",
        "it raised GeneratorExit(), which is no Exception",
    ),
    Fault(
        "start_times_out",
        f"{START}    await asyncio.wait_for(asyncio.sleep(60), 0.01)  # its own limit",
        "TimeoutError",
        "TimeoutError (…",
    ),
    Fault("start_hangs", f"{START}    await asyncio.sleep(60)", "TimeIsUp", "it took too long", hint=SLOW),
    Fault("start_blocks", f"{START}    time.sleep(60)", "TimeIsUp", "it took too long", hint=SLOW),
    Fault(
        "start_stays",
        START
        + """
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        """,
        "TimeIsUp",
        "it took too long",
        hint=SLOW,
    ),
    Fault(
        "observe_raises",
        """
        @hookimpl
        def jackfield_observe():
            raise OSError("no disk")  # here
        """,
        "OSError",
        "OSError: no disk ({here})",
    ),
    Fault(
        "observe_nothing",
        """
        @hookimpl
        def jackfield_observe():
            pass
        """,
        "PluginError",
        "jackfield_observe must return a jackfield.Observer, not None",
    ),
]

DEPENDENCIES = [
    Fault(
        "needs_broken",
        "",
        "DependencyError",
        "it needs the plugin missing_import, which is quarantined",
        options={"requires": ["jackfield", "Jackfield_Missing.Import"]},
    ),
    Fault(
        "needs_unstarted",
        "",
        "DependencyError",
        "it needs the plugin start_raises, which is quarantined",
        options={"requires": ["jackfield", "jackfield-start_raises"]},
    ),
    Fault(
        "circle_one",
        "",
        "DependencyCycle",
        "it depends on itself: jackfield-circle-one → jackfield-circle-two → jackfield-circle-three → "
        "jackfield-circle-one",
        options={"requires": ["jackfield-circle-two"]},
    ),
    Fault(
        "circle_two",
        "",
        "DependencyCycle",
        "it depends on itself: jackfield-circle-one → jackfield-circle-two → jackfield-circle-three → "
        "jackfield-circle-one",
        options={"requires": ["jackfield-circle-three"]},
    ),
    Fault(
        "circle_three",
        "",
        "DependencyCycle",
        "it depends on itself: jackfield-circle-one → jackfield-circle-two → jackfield-circle-three → "
        "jackfield-circle-one",
        options={"requires": ["jackfield-circle-one"]},
    ),
    Fault(
        "needs_circle",
        "",
        "DependencyError",
        "it needs the plugin circle_one, which is quarantined",
        options={"requires": ["jackfield-circle-one"]},
    ),
]

FAULTS = [*IMPORTS, *MANIFESTS, *CONTENTS, *SETTINGS, *CONTRACTS, *STARTS, *DEPENDENCIES]


@dataclass
class House:
    """A server with every plugin of the matrix, and what it says of them."""

    server: Server
    folder: Path

    async def rows(self, client: Client) -> dict[str, dict[str, Any]]:
        """What `api.system.plugins` says, by name."""
        return {row["name"]: row for row in (await client.call("api.system.plugins"))["data"]}


@pytest.fixture(scope="module", name="house")
def _house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("matrix")
    plugins = write_neighbour(folder / "plugins")
    write_plugin(plugins, "patient", PATIENT)
    config = "[server]\nstart_timeout = 1\nstop_timeout = 0.5\n" + disabled("system")
    for fault in FAULTS:
        fault.write(plugins)
        if fault.settings is not None:
            config += f"[plugins.{fault.name}]\n{fault.settings}\n"
    with serving(folder / "server", path=[plugins], config=config) as server:
        yield House(server, plugins)


@pytest.fixture(scope="module", name="listed")
def _listed(house: House) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "jackfield", "plugins", "list", "--url", house.server.url, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env=environment(), cwd=house.folder
    )
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


@pytest.fixture(name="client")
async def _client(house: House) -> AsyncIterator[Client]:
    async with connected(house.server.url, "websocket") as client:
        yield client


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_stays_with_its_plugin(
    fault: Fault, house: House, listed: dict[str, dict[str, Any]], client: Client
) -> None:
    """`api.system.plugins`, `jackfield plugins list` and the log tell what is wrong with it; its neighbour answers."""
    told = fault.told(house.folder)
    row = (await house.rows(client))[fault.name]
    assert (row["state"], row["kind"], _known(row["reason"], told), row["hint"]) == (
        fault.state,
        fault.kind,
        told,
        fault.hint,
    )
    assert {key: listed[fault.name][key] for key in ("state", "kind", "reason")} == {
        key: row[key] for key in ("state", "kind", "reason")
    }
    assert f"plugin {fault.name} is {fault.state}: {row['reason']}\n" in house.server.log
    if f"api.{fault.name}" in fault.options.get("namespaces", [f"api.{fault.name}"]):
        event = f"api.{fault.name}.hello"
        message = f"{event}: the plugin {fault.name} is {fault.state}."
        assert await client.call(event) == {"error": {"code": "unavailable", "message": message}}
    assert await client.call("api.neighbour.hello") == {"data": "still here"}


async def test_what_is_not_broken_is_in_service(house: House, client: Client) -> None:
    """Beside all of them the plugins that work have started, and nothing else has."""
    states = {name: row["state"] for name, row in (await house.rows(client)).items()}
    broken = {fault.name: fault.state for fault in FAULTS}
    working = {"neighbour": "started", "patient": "started", "system": "started"}
    assert states == {**dict.fromkeys(INSTALLED, "disabled"), **broken, **working}


def test_the_matrix_is_as_large_as_it_should_be() -> None:
    """No row hides another."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 12


def _known(shown: str, told: str) -> str:
    """Return what is shown, or as much of it as is foreseen."""
    return f"{shown[: len(told) - 1]}…" if told.endswith("…") else shown
