"""The contract test: each fault is found, all at once, and says what to do."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from jackfield import Call, Service, Value, hookimpl
from jackfield.testing import SetupError, assert_plugin_contract
from tests.testing.plugins import PYPROJECT, SOURCE, Echo, importable, write_project

NO_MANIFEST = (
    'it has no manifest: name it in pyproject.toml, under [project.entry-points."jackfield.plugins"], and its '
    'namespaces under [project.entry-points."jackfield.namespaces"]'
)


def faults_of(plugin: object, **options: Any) -> list[str]:
    """Return the faults that the contract test tells, without their numbers."""
    with pytest.raises(AssertionError) as raised:
        assert_plugin_contract(plugin, **options)
    head, *faults = str(raised.value).splitlines()
    assert head.endswith(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}:")
    assert [fault.partition(". ")[0] for fault in faults] == [str(number + 1) for number in range(len(faults))]
    return [fault.partition(". ")[2] for fault in faults if fault.partition(". ")[2] != NO_MANIFEST]


Write = Callable[..., Path]


@pytest.fixture(name="write")
def _write(tmp_path: Path) -> Iterator[Write]:
    """Write a project whose text is changed in places."""
    entered: list[Any] = []

    def write(*changes: tuple[str, str]) -> Path:
        source, pyproject = SOURCE, PYPROJECT
        for old, new in changes:
            assert old in source + pyproject
            source, pyproject = source.replace(old, new), pyproject.replace(old, new)
        project = write_project(tmp_path / f"project{len(entered)}", f"fresh{len(entered)}", source, pyproject)
        entered.append(importable(project))
        entered[-1].__enter__()
        return project

    yield write
    for one in entered:
        one.__exit__(None, None, None)


def test_a_good_plugin_keeps_the_contract(write: Write) -> None:
    """And the test says nothing."""
    assert_plugin_contract("fresh0", project=write())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            [("jackfield>=0.1,<0.2", "jackfield")],
            'it does not say which kernels it works with: give dependencies a range, such as "jackfield>=0.1,<0.2", so '
            "that another kernel refuses it rather than failing in it",
        ),
        ([("jackfield>=0.1,<0.2", "jackfield>=7")], "it is refused: it needs jackfield >=7, this is 0.1.0"),
        (
            [('description = "The plugin {name}"', "")],
            "it has no description: write one sentence as project.description in pyproject.toml; operators read it",
        ),
        (
            [('"api.{name}" = "{module}"', "")],
            "it is quarantined: it serves 'api.fresh0', which its metadata does not declare (what is installed is "
            "read, not pyproject.toml: after a change of it, pip install --editable . again)",
        ),
        (
            [("@hookimpl\n    def jackfield_settings", "def jackfield_settings")],
            "nobody calls jackfield_settings: mark what is to be a hook with @hookimpl",
        ),
        (
            [("def jackfield_settings", "async def jackfield_settings")],
            "it is quarantined: jackfield_settings must be a plain function (def)",
        ),
        (
            [('"""Say hello."""', "pass")],
            "api.fresh0.hello has no docstring: its first line is what callers find in lists of functions",
        ),
        (
            [("-> str", "-> dict")],
            "api.fresh0.hello does not describe what it gives: annotate it with a pydantic model, or with "
            "jackfield.Value where it may really be anything",
        ),
        (
            [(', description="What it says."', "")],
            "plugins.fresh0.word has no description: Field(…, description=…) says what it is for, and in which unit",
        ),
        (
            [('model_config = ConfigDict(extra="forbid")', "pass")],
            "its settings take keys that do not exist, so that a misspelt one is silently nothing: give Settings "
            'the line model_config = ConfigDict(extra="forbid")',
        ),
        ([('"api.{name}" = "{module}"', '"api.{name}" = "{module}"\n    "api..x" = "{module}"')], None),
    ],
)
def test_each_fault_is_told(write: Write, changes: list[tuple[str, str]], fault: str | None) -> None:
    """Alone, where it is the only one; with what to do about it."""
    faults = faults_of("fresh0", project=write(*changes))
    assert len(faults) == 1
    assert fault is None or faults == [fault]
    if fault is None:
        assert faults[0].startswith("it is refused: its manifest is invalid: namespaces: ")


def test_types_that_stay_inside_are_told(write: Write) -> None:
    """Without py.typed nobody's checker looks at them."""
    project = write()
    (project / "src/plug_fresh0/py.typed").unlink()
    assert faults_of("fresh0", project=project) == [
        "it has no py.typed: put an empty file plug_fresh0/py.typed beside its __init__.py"
    ]


def test_all_faults_are_told_at_once(write: Write) -> None:
    """Not the first alone."""
    project = write(
        ("jackfield>=0.1,<0.2", "jackfield"), ('"""Say hello."""', "pass"), (', description="What', ', title="What')
    )
    assert [fault.partition(":")[0] for fault in faults_of("fresh0", project=project)] == [
        "it does not say which kernels it works with",
        "plugins.fresh0.word has no description",
        "api.fresh0.hello has no docstring",
    ]


def test_what_is_imported_of_a_plugin_that_is_off_is_told(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody else imports it: here whatever Python runs at its start."""
    project = write()
    (tmp_path / "sitecustomize.py").write_text("import plug_fresh0")
    monkeypatch.syspath_prepend(tmp_path)
    assert faults_of("fresh0", project=project) == ["switched off, this of it is imported all the same: plug_fresh0"]


def test_a_hook_that_is_not_imported_is_told(write: Write) -> None:
    """It stands in a module of the plugin, and the one that the entry point names has not got it."""
    project = write(('"""A plugin."""', '"""A plugin."""\n\n    from plug_{name}.plugin import Settings as _Settings'))
    (project / "src/plug_fresh0/plugin.py").write_text(
        "from jackfield import hookimpl\n\nclass Settings: ...\n\n@hookimpl\nasync def jackfield_shutdown(): ...\n"
    )
    assert faults_of("fresh0", project=project) == [
        "nobody calls jackfield_shutdown of plug_fresh0.plugin: import it into plug_fresh0, which the entry point names"
    ]


def test_a_name_that_is_a_modules_is_told(write: Write) -> None:
    """A module that no entry point names is given as itself."""
    with pytest.raises(SetupError) as raised:
        assert_plugin_contract("plug_fresh0", project=write())
    assert str(raised.value).startswith(
        "there is no plugin 'plug_fresh0'; 'plug_fresh0' is a module, which is given as itself: import plug_fresh0; "
        "did you mean "
    )


# ------------------------------------------------------------------- what is left behind


def test_a_task_that_is_left_is_told() -> None:
    """By its name."""

    class Leaves(Echo):
        @hookimpl
        async def jackfield_startup(self) -> None:
            self.task = asyncio.create_task(asyncio.sleep(1000), name="poller")

    assert faults_of(Leaves()) == [
        "it leaves a task behind, sleep (poller): cancel it in jackfield_shutdown of leaves, and wait for it"
    ]


def test_a_thread_that_is_left_is_told() -> None:
    """By its name."""
    over = threading.Event()

    class Leaves(Echo):
        @hookimpl
        async def jackfield_startup(self) -> None:
            threading.Thread(target=over.wait, name="worker", daemon=True).start()

    faults = faults_of(Leaves())
    over.set()
    assert faults == ["it leaves the thread 'worker' behind: end it in jackfield_shutdown, and join it"]


def test_a_file_that_is_left_open_is_told(tmp_path: Path) -> None:
    """By its path."""
    opened: list[Any] = []

    class Leaves(Echo):
        @hookimpl
        async def jackfield_startup(self) -> None:
            opened.append((tmp_path / "log").open("w"))

    faults = faults_of(Leaves())
    for file in opened:
        file.close()
    assert faults == [f"it leaves {tmp_path / 'log'} open: close it in jackfield_shutdown"]


def test_complaints_are_told() -> None:
    """Warnings, and errors in the log, such as those of a stop that fails."""

    class Complains(Echo):
        @hookimpl
        async def jackfield_startup(self) -> None:
            warnings.warn("this is old", DeprecationWarning, stacklevel=1)

        @hookimpl
        async def jackfield_shutdown(self) -> None:
            raise OSError("cannot")

    assert faults_of(Complains()) == [
        "it brings about a complaint, which is to be heeded: DeprecationWarning: this is old",
        "it brings about a complaint, which is to be heeded: plugin complains failed to stop",
    ]


def test_what_is_forgotten_is_told() -> None:
    """A file that nobody closes and nobody holds complains when it is collected."""

    class Forgets(Echo):
        @hookimpl
        async def jackfield_startup(self) -> None:
            open("/dev/null")  # noqa: ASYNC230, SIM115 - that is the fault

    [fault] = faults_of(Forgets())
    assert fault.startswith("it brings about a complaint, which is to be heeded: ResourceWarning: unclosed file")


def test_a_plugin_that_works_once_is_told() -> None:
    """A process may serve several kernels, one after the other: tests do."""

    class Once(Echo):
        begun = False

        @hookimpl
        async def jackfield_startup(self) -> None:
            if self.begun:
                raise RuntimeError("already begun")
            self.begun = True

    faults = faults_of(Once())
    assert faults[0].startswith("the second time in one process it is quarantined: RuntimeError: already begun")


def test_a_plugin_that_does_not_start_is_told() -> None:
    """With the kernel's reason."""

    class Broken(Echo):
        @hookimpl
        async def jackfield_startup(self) -> None:
            raise OSError("no database")

    faults = faults_of(Broken())
    assert faults[0].startswith("it is quarantined: OSError: no database")


def test_fields_of_inner_tables_are_looked_at() -> None:
    """By their whole keys; and functions that take anything are told to say so."""

    class Inner(BaseModel):
        model_config = ConfigDict(extra="forbid")
        host: str = ""

    class Model(BaseModel):
        model_config = ConfigDict(extra="forbid")
        inner: Inner | None = Field(None, description="What is inside.")

    service = Service("api.deep")

    @service.function
    async def take(call: Call, data: Any) -> Value:
        """Take anything."""
        return data  # type: ignore[no-any-return]

    class Deep:
        @hookimpl
        def jackfield_settings(self) -> type[BaseModel]:
            return Model

        @hookimpl
        def jackfield_services(self) -> list[Service]:
            return [service]

    assert [fault.partition(":")[0] for fault in faults_of(Deep())] == [
        "plugins.deep.inner.host has no description",
        "api.deep.take does not describe the data that it takes",
    ]


async def test_it_is_for_plain_tests() -> None:
    """An event loop that runs cannot start another."""
    with pytest.raises(SetupError) as raised:
        assert_plugin_contract(Echo())
    assert str(raised.value) == (
        "assert_plugin_contract starts event loops of its own: call it in a plain test, def and not async def"
    )


def test_nothing_of_the_test_itself_is_left() -> None:
    """Neither handlers nor hooks."""
    before = logging.getLogger("jackfield").handlers[:]
    faults_of(Echo(), settings={"prefix": 1})
    assert logging.getLogger("jackfield").handlers == before
