"""The template of a plugin's project: what is made of it is complete, clean, tested, and served by a real server."""

from __future__ import annotations

import compileall
import json
import os
import runpy
import shutil
import subprocess
import sys
import tomllib
from itertools import product, starmap
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from click.testing import CliRunner

from jackfield._cli import group
from jackfield._manifest import Manifest
from jackfield._service import NAMESPACE
from jackfield._settings import RESERVED_NAMES
from tests.cli.shell import Hide, Invoke, Shell
from tests.contract.projects import unpack
from tests.contrib.baking import LICENCES, ROOT, TEMPLATE, Choice, bake, files, run
from tests.support.plugins import write_plugin
from tests.support.server import environment, serving

COMMON = (Choice(), Choice("none", streams=True, settings=True, background=True))
CHOICES = [  # a licence changes no code
    pytest.param(choice, id=str(choice), marks=() if choice in COMMON else pytest.mark.full)
    for choice in {
        **dict.fromkeys(COMMON),
        **dict.fromkeys(map(Choice, LICENCES)),
        **dict.fromkeys(starmap(Choice, product(LICENCES[:1], (False, True), (False, True), (False, True)))),
    }
]
CONTRACT = "jackfield_tide_pool-0.1.0.dist-info/extra_metadata/jackfield-contract.json"
RULES = runpy.run_path(str(TEMPLATE / "hooks/pre_gen_project.py"))
NAME_RULE = "it begins with a lower-case letter, and has lower-case letters, digits and single _ between them"
LINE_RULE = 'is one line without ", \\, { and }, and without spaces around it'

REFUSED = [
    ({"name": "Tide-Pool"}, f"'Tide-Pool' cannot be the name: {NAME_RULE}; type tide_pool"),
    ({"name": "2tides"}, f"'2tides' cannot be the name: {NAME_RULE}; type tides"),
    ({"name": "tide__pool_"}, f"'tide__pool_' cannot be the name: {NAME_RULE}; type tide_pool"),
    ({"name": "../tide"}, f"'../tide' cannot be the name: {NAME_RULE}; type tide"),
    ({"name": "潮"}, f"'潮' cannot be the name: {NAME_RULE}; type my_plugin"),
    ({"name": ""}, f"'' cannot be the name: {NAME_RULE}; type my_plugin"),
    (
        {"name": "jackfield-tide"},
        "'jackfield-tide' cannot be the name: it becomes jackfield-NAME by itself; type tide",
    ),
    ({"name": "jackfield_kv"}, "'jackfield_kv' cannot be the name: it becomes jackfield-NAME by itself; type kv2"),
    ({"name": "t" * 31}, f"'{'t' * 31}' cannot be the name: it may have 30 characters; type {'t' * 30}"),
    ({"name": "strict"}, "'strict' cannot be the name: it is a key of the configuration; type strict_plugin"),
    (
        {"name": "demo"},
        "the name 'demo' is taken by jackfield's own plugin jackfield-demo; type another one, such as demo2",
    ),
    (
        {"name": "tide", "namespace": "api.tide-pool.1st"},
        "'api.tide-pool.1st' cannot be the namespace: it is a dotted path in letters, digits and _, whose parts begin"
        " with no digit; type api.tide_pool._1st",
    ),
    (
        {"name": "tide", "namespace": "api.services.test"},
        "the namespace 'api.services.test' is taken by jackfield's own plugin jackfield-demo; type another one, such as"
        " api.services.test2",
    ),
    (
        {"name": "tide", "namespace": f"api.{'t' * 50}"},
        f"'api.{'t' * 50}' cannot be the namespace: it may have 50 characters; type api.{'t' * 46}",
    ),
    ({"name": "tide", "description": " "}, "the description is empty; type something, such as A plugin for jackfield"),
    ({"name": "tide", "description": 'A "tide"\n'}, f"the description {LINE_RULE}; type A tide"),
    ({"name": "tide", "author": "{{ 1 + 1 }}"}, f"the author {LINE_RULE}; type 1 + 1"),
    ({"name": "tide", "author": "t" * 91}, "the author may have 90 characters, not 91; type a shorter one"),
]
"""Answers, and what is said of them."""


@pytest.fixture(scope="module", name="choice", params=CHOICES)
def _choice(request: pytest.FixtureRequest) -> Choice:
    choice: Choice = request.param
    return choice


@pytest.fixture(scope="module", name="project")
def _project(choice: Choice, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that is made of one combination of answers."""
    return bake(
        tmp_path_factory.mktemp("project"),
        name="tide_pool",
        licence=choice.licence,
        streams=choice.streams,
        settings=choice.settings,
        background=choice.background,
    )


@pytest.fixture(scope="module", name="wheel")
def _wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its wheel, built without the network."""
    out = tmp_path_factory.mktemp("wheel")
    run(project, "hatchling", "build", "-t", "wheel", "-d", out)
    [wheel] = out.glob("*.whl")
    return wheel


def test_nothing_is_missing_and_nothing_too_much(choice: Choice, project: Path) -> None:
    """What was not asked for is left out, and nothing of the template shows."""
    assert project.name == "jackfield-tide-pool"
    assert files(project) == choice.paths("jackfield_tide_pool")
    for path in project.rglob("*"):
        text = path.read_text(encoding="utf-8").replace("${{", "") if path.is_file() else ""
        assert "{{" not in text
        assert "{%" not in text
        assert "cookiecutter" not in text
        assert "\n\n\n\n" not in text
        assert not text.startswith("\n")
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert described.get("license", "none") == choice.licence
    assert ("Private :: Do Not Upload" in described["classifiers"]) is (choice.licence == "none")


def test_the_linters_find_nothing(project: Path) -> None:
    """Neither in the style nor in the types."""
    run(project, "ruff", "check", "--no-cache", ".")
    run(project, "ruff", "format", "--no-cache", "--check", ".")
    run(project, "mypy", "--cache-dir", ROOT / ".mypy_cache/baked")


def test_its_own_tests_pass(project: Path, wheel: Path, tmp_path: Path) -> None:
    """As soon as it is installed."""
    said = run(project, "pytest", "-q", "-p", "no:cacheprovider", path=unpack(wheel, tmp_path))
    assert " passed in " in said
    assert "skipped" not in said


def test_the_wheel_carries_the_contract(choice: Choice, wheel: Path) -> None:
    """With every function."""
    [plugin] = json.loads(ZipFile(wheel).read(CONTRACT))["plugins"]
    streams = {"api.tide_pool.watch": "server", "api.tide_pool.load": "client"} if choice.streams else {}
    kinds = {event: function["kind"] for event, function in plugin["functions"].items()}
    assert kinds == {"api.tide_pool.add": "unary", "api.tide_pool.get": "unary", **streams}


def test_what_an_installer_compiles_of_the_template_is_left_out(tmp_path: Path) -> None:
    """pip compiles what it installs, and the tests of the template are Python."""
    template = tmp_path / "template"
    shutil.copytree(TEMPLATE, template, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(template, quiet=2)
    assert list(template.glob("*/tests/__pycache__/*.pyc"))
    project = bake(tmp_path, template, name="tide")
    assert files(project) == Choice().paths("jackfield_tide")
    assert list(project.rglob("__pycache__")) == []


def test_long_names_are_no_long_lines(tmp_path: Path) -> None:
    """The longest name and namespace that are taken."""
    project = bake(
        tmp_path,
        name="t" * RULES["LONGEST_NAME"],
        namespace="n" * RULES["LONGEST_NAMESPACE"],
        description="d" * RULES["LONGEST_LINE"],
        author="a" * RULES["LONGEST_LINE"],
        streams=True,
        settings=True,
        background=True,
    )
    run(project, "ruff", "check", "--no-cache", ".")
    run(project, "ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.parametrize(("answers", "message"), REFUSED)
def test_what_cannot_be_used_is_refused(answers: dict[str, str], message: str, invoke: Invoke, tmp_path: Path) -> None:
    """With what to type instead, and nothing is written."""
    name, *options = answers.values()
    flags = [word for key, value in zip(list(answers)[1:], options, strict=True) for word in (f"--{key}", value)]
    result = invoke("new", *flags, "--no-input", "--", name)
    assert result.status == 2
    assert result.err == f"✗ {message}\n"
    assert files(tmp_path) == set()


def test_all_that_cannot_be_used_is_said_at_once(invoke: Invoke, tmp_path: Path) -> None:
    """In the order of the questions."""
    result = invoke("new", "Tide", "--author", "", "--namespace", "1")
    assert [line.split(";")[-1] for line in result.err.splitlines()] == [
        " type tide",
        " type _1",
        " type something, such as your name",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answers", "message"), [REFUSED[0], REFUSED[3], REFUSED[-3]])
def test_cookiecutter_itself_refuses_it_too(answers: dict[str, str], message: str, tmp_path: Path) -> None:
    """The template can be used without jackfield."""
    config, out = tmp_path / "config", tmp_path / "out"
    config.write_text(f"replay_dir: {tmp_path / 'replays'}\n", encoding="utf-8")
    out.mkdir()
    command = [sys.executable, "-m", "cookiecutter", TEMPLATE, "--no-input", "-o", out, "--config-file", config]
    done = subprocess.run(
        [*map(str, command), *(f"{key}={value}" for key, value in answers.items())],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"✗ {message}\n" in done.stderr
    assert list(out.iterdir()) == []


def test_what_is_installed_is_taken(invoke: Invoke, tmp_path: Path) -> None:
    """A plugin's name, its namespaces, and the name of any distribution."""
    site = write_plugin(tmp_path / "site", "tide", "", namespaces=["api.sea"], distribution="The_Sea", module="sea")
    write_plugin(site, "ebb", "", distribution="jackfield-moon.phase", module="moon")
    for name, namespace, message in (
        ("tide", "api.a", "the name 'tide' is taken by The_Sea, which is installed; type another one, such as tide2"),
        (
            "moon_phase",
            "api.a",
            "the name 'moon_phase' is taken by jackfield-moon.phase, which is installed; type another one, such as"
            " moon_phase2",
        ),
        (
            "flow",
            "api.sea",
            "the namespace 'api.sea' is taken by The_Sea, which is installed; type another one, such as api.sea2",
        ),
    ):
        result = invoke("new", name, "--namespace", namespace, "--no-input", path=[site])
        assert (result.status, result.err) == (2, f"✗ {message}\n")


def test_the_rules_are_those_of_the_kernel() -> None:
    """The template stands by itself, so it has them once more."""
    found: dict[str, list[str]] = {}
    for file in ROOT.glob("plugins/*/pyproject.toml"):
        groups: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["entry-points"]
        [name] = groups["jackfield.plugins"]
        found[name] = list(groups.get("jackfield.namespaces", {}))
    assert found == RULES["OURS"]
    assert RULES["RESERVED"] == RESERVED_NAMES
    assert RULES["_NAMESPACE"].pattern == NAMESPACE.pattern
    for name in ("a", "a1", "tide_pool", "t" * 30):
        assert RULES["fault"]("name", name, RULES["Taken"]()) is None
        Manifest(name=name, target="a", distribution="a", version="1")


def test_it_says_how_to_go_on(shell: Shell, tmp_path: Path) -> None:
    """A name is enough, and the next four commands are told."""
    result = shell("new", "tide_pool", "--no-input", "--output-dir", "here")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[1:] == [
        "  cd jackfield-tide-pool",
        "  python -m pip install --editable . --group dev",
        "  pytest",
        "  jackfield serve --dev",
    ]
    project = tmp_path / "here/jackfield-tide-pool"
    assert files(tmp_path / "here") == {f"{project.name}/{path}" for path in Choice().paths("jackfield_tide_pool")}
    again = shell("new", "tide_pool", "--no-input", "--output-dir", "here")
    assert (again.status, again.out) == (1, "")
    assert again.err == (
        "✗ here/jackfield-tide-pool is there already; remove it, or choose another name or --output-dir\n"
    )


def test_what_is_left_out_is_asked_for(tmp_path: Path) -> None:
    """Again and again, until the answer can be used; nothing that was given is asked."""
    typed = ["kv", "tide", "", "Tides, and more", "Ann O'Neil", "BSD-3-Clause", "y", "n"]
    runner = CliRunner()
    arguments = ["new", "--background", "--output-dir", str(tmp_path)]
    done = runner.invoke(group, arguments, input="\n".join(typed) + "\n", prog_name="jackfield")
    assert done.exit_code == 0, done.output
    assert "Error: the name 'kv' is taken by jackfield's own plugin jackfield-kv" in done.output
    assert "background" not in done.output
    project = tmp_path / "jackfield-tide"
    assert files(project) == Choice("BSD-3-Clause", streams=True, background=True).paths("jackfield_tide")
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert described["description"] == "Tides, and more"
    assert described["authors"] == [{"name": "Ann O'Neil"}]
    assert list(described["entry-points"]["jackfield.namespaces"]) == ["api.tide"]


def test_a_name_is_needed_where_nothing_is_asked(invoke: Invoke) -> None:
    """It has no default."""
    result = invoke("new", "--no-input")
    assert result.status == 2
    assert result.err.endswith("Error: NAME is missing; --no-input asks for nothing.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the name: give NAME"),
        (("tide", "--namespace", "api.tide", "--description", "Tides"), "the author: give --author, or --no-input"),
        (
            ("tide", "--namespace", "a", "--description", "b", "--author", "c"),
            "the licence: give --licence, or --no-input",
        ),
        (
            ("tide", "--namespace", "a", "--description", "b", "--author", "c", "--licence", "none", "--streams"),
            "the settings: give --settings, or --no-input",
        ),
    ],
)
def test_where_nobody_answers_it_says_what_to_give(
    invoke: Invoke, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """As in a script, whose standard input is no terminal; nothing is written."""
    result = invoke("new", *arguments)
    assert (result.status, result.err) == (2, f"✗ there is no terminal to ask for {said}\n")
    assert list(tmp_path.iterdir()) == []


def test_without_cookiecutter_it_says_what_to_install(shell: Shell, unloadable: Hide, tmp_path: Path) -> None:
    """Before it asks anything."""
    result = shell("new", "tide", path=[unloadable("cookiecutter")])
    assert (result.status, result.out) == (1, "")
    assert result.err == '✗ `jackfield new` needs cookiecutter: pip install "jackfield[new]"\n'
    assert not (tmp_path / "jackfield-tide").exists()


def test_a_folder_that_cannot_be_written(invoke: Invoke, tmp_path: Path) -> None:
    """The reason is told."""
    (tmp_path / "file").touch()
    result = invoke("new", "tide", "--no-input", "--output-dir", "file/folder")
    assert result.status == 1
    assert result.err.startswith("✗ file/folder/jackfield-tide cannot be written: ")


def test_the_kernel_brings_the_template(tmp_path: Path) -> None:
    """Its wheel has all of it, built from the repository or from an sdist; an editable one needs none."""
    run(ROOT / "kernel", "hatchling", "build", "-d", tmp_path)
    [sdist] = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path / "sdist", filter="data")
    [unpacked] = (tmp_path / "sdist").iterdir()
    run(unpacked, "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again")
    expected = {f"jackfield/_template/{path}" for path in files(TEMPLATE) if "__pycache__" not in path}
    for wheel in (*tmp_path.glob("*.whl"), *tmp_path.glob("again/*.whl")):
        assert {name for name in ZipFile(wheel).namelist() if "_template/" in name} == expected
    script = "from hatchling.build import build_editable; build_editable('.')"
    subprocess.run([sys.executable, "-c", script], cwd=unpacked, env=environment(), check=True)
    [editable] = unpacked.glob("*.whl")
    assert [name for name in ZipFile(editable).namelist() if "_template" in name] == []


@pytest.mark.full
@pytest.mark.timeout(600)
def test_from_an_empty_folder_to_an_answer(tmp_path: Path) -> None:
    """With wheels alone, in a fresh environment: new, test, lint, build, install, serve, call, disable."""
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    venv, wheels = tmp_path / "environment", tmp_path / "wheels"
    environ = {k: v for k, v in environment().items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environ["PATH"] = os.pathsep.join([str(venv / "bin"), environ["PATH"]])

    def do(*command: str | Path, folder: Path = tmp_path, check: bool = True) -> str:
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    for package in ("kernel", "plugins/system"):
        do(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, folder=ROOT / package)
    [kernel], [system] = wheels.glob("jackfield-0*.whl"), wheels.glob("jackfield_system-0*.whl")
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", venv / "bin/python"]
    constraints: list[str | Path] = ["--constraints", ROOT / "requirements.lock"]
    tools = ["editables", "hatchling", "mypy", "pytest", "pytest-asyncio", "ruff"]
    do(uv, "venv", "--quiet", "--python", sys.executable, venv)
    do(*install, *constraints, f"{kernel}[standard,new]", system, *tools)

    do("jackfield", "new", "tide_pool", "--streams", "--settings", "--background", "--no-input")
    project = tmp_path / "jackfield-tide-pool"
    do(*install, "--no-deps", "--no-build-isolation", "--editable", project)
    do("pytest", "-q", folder=project)
    do("pytest", "-q", "--jackfield-server", folder=project)
    for linter in ("ruff check .", "ruff format --check .", "mypy"):
        do(*linter.split(), folder=project)
    do("python", "-m", "hatchling", "build", "-t", "wheel", folder=project)
    do(*install, "--no-deps", "--reinstall", *project.glob("dist/*.whl"))
    assert "tide_pool" in do("jackfield", "plugins", "list")
    with serving(tmp_path / "server", python=venv / "bin/python") as server:
        assert sorted(server.plugins) == ["system", "tide_pool"]
        call = ["jackfield", "call", "api.tide_pool.add", '{"thing": "crab", "count": 2}', "--url", server.url]
        assert do(*call) == '{"thing": "crab", "total": 2}\n'
        assert server.stop() == 0
    do("jackfield", "plugins", "disable", "tide_pool", folder=tmp_path / "server")
    config = (tmp_path / "server/jackfield.toml").read_text(encoding="utf-8")
    with serving(tmp_path / "server", config=config, python=venv / "bin/python") as server:
        call[-1] = server.url
        assert "unavailable" in do(*call, check=False)
        assert server.stop() == 0
