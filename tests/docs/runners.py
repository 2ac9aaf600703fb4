"""What is done with a block, by its language; a language that is not here fails."""

from __future__ import annotations

import asyncio
import inspect
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from typing import Final

from jackfield import _hooks
from jackfield._configuration import load
from jackfield._errors import StartError
from jackfield._settings import Settings
from tests.docs.blocks import ANEW, Block
from tests.docs.matching import text_matches
from tests.docs.stage import Stage, missing_for_node
from tests.docs.tables import plugin_settings
from tests.docs.traces import play

_PLUGINS: Final = plugin_settings()


class Left(Exception):
    """A block that cannot be run on this machine, and why."""


def run(block: Block, stage: Stage) -> None:
    """Run a block.

    Raises:
        AssertionError: It does not do what the documentation says.
        Left: It cannot be run here.
    """
    if block.word == ANEW:
        stage.begin(block.text.split())
        return
    if block.word == "not run" and not block.prefix:
        assert block.text, f"{block.where}: say why it is not run"
        return
    runner = RUNNERS.get((block.language, block.word)) or RUNNERS.get((block.language, ""))
    assert runner, f"{block.where}: nobody runs a block of the language {block.language!r}"
    try:
        runner(block, stage)
    except AssertionError as error:
        raise AssertionError(f"{block.where}: {error}") from error


def _file(block: Block, stage: Stage) -> None:
    path = stage.write(block.text, block.source)
    if path.name in ("jackfield.toml", "pyproject.toml"):
        _toml(block, stage)
    elif path.suffix == ".py":
        compile(block.source, block.where, "exec")


def _plugin(block: Block, stage: Stage) -> None:
    name, *namespaces = block.text.split()
    stage.install(name, namespaces, block.source)


def _python(block: Block, stage: Stage) -> None:
    script = stage.folder / "example.py"
    if "127.0.0.1" in block.source:
        assert stage.url
    script.write_text(stage.real(block.source), encoding="utf-8")
    shown = _beside(block, r"\bprint\(.*\)", "#")
    _compare(shown, stage.run(["bash", "-c", f"python {script.name}"]))


def _javascript(block: Block, stage: Stage) -> None:
    if missing := missing_for_node():
        raise Left(missing)
    assert stage.url
    stage.link_node_modules()
    script = stage.folder / "example.mjs"
    script.write_text(f"{stage.real(block.source)}\nprocess.exit(0);\n", encoding="utf-8")
    shown = _beside(block, r"\bconsole\.log\(.*\);", "//")
    _compare(shown, stage.run(["node", script.name]))


def _signature(block: Block, stage: Stage) -> None:
    del stage
    name = block.source.partition("(")[0].split()[-1]
    assert block.source.strip() == signature(name), f"the signature is {signature(name)}"


def _stub(block: Block, stage: Stage) -> None:
    del stage
    compile(block.source, block.where, "exec")


def _console(block: Block, stage: Stage) -> None:
    assert block.source.startswith("$ "), "a console begins with a command"
    for part in re.split(r"^\$ ", block.source, flags=re.MULTILINE)[1:]:
        command, shown = _command(part)
        if block.prefix and command.startswith(block.prefix):
            assert block.text, "say why it is not run"
            continue
        if re.match(r"(?:node|npm|npx)\b", command):
            if missing := missing_for_node():
                raise Left(missing)
            stage.link_node_modules()
        if command.startswith("curl ") and shutil.which("curl") is None:
            raise Left("there is no curl")
        if found := re.fullmatch(r"cd ([\w-]+)", command):
            stage.enter(found[1])
            came = ""
        elif re.fullmatch(r"jackfield serve\b[^;|&]*", command):
            came, _ = stage.serve(command)
        else:
            if re.match(r"(?:jackfield (?:call|top)|python|node|curl)\b", command):
                assert stage.url
            came = stage.run(command)
        _compare(shown, came, command)


def _log(block: Block, stage: Stage) -> None:
    _compare(block.source, stage.new_output())


def _toml(block: Block, stage: Stage) -> None:
    table = tomllib.loads(block.source)
    if table.keys() <= Settings.model_fields.keys():
        path = stage.folder / "example.toml"
        path.write_text(block.source, encoding="utf-8")
        try:
            settings = load(path, environ={})
        except StartError as error:
            raise AssertionError(error) from error
        for name, model in _PLUGINS.items():
            if name in settings.plugins.tables:
                model.model_validate(settings.plugins.tables[name])
    else:
        known = {"build-system", "project", "tool"}
        assert {"project"} <= table.keys() <= known, f"neither jackfield.toml nor pyproject.toml: {list(table)}"
        groups = table["project"]["entry-points"]
        targets = set(groups["jackfield.plugins"].values())
        assert set(groups.get("jackfield.namespaces", {}).values()) <= targets, "a namespace of no plugin"


def _trace(block: Block, stage: Stage) -> None:
    asyncio.run(play(block.source, stage.url, stage.happen))


RUNNERS: Final[dict[tuple[str, str], Callable[[Block, Stage], None]]] = {
    **{(language, "file"): _file for language in ("python", "toml", "js")},
    ("python", "plugin"): _plugin,
    ("python", "signature"): _signature,
    ("python", ""): _python,
    ("pyi", ""): _stub,
    ("js", ""): _javascript,
    ("console", ""): _console,
    ("text", "log"): _log,
    ("toml", ""): _toml,
    ("wire", ""): _trace,
}
"""By the language and the directive before the block; without one of its own a directive changes nothing."""


def signature(hook: str) -> str:
    """Return a hook's signature as the documentation writes it."""
    function = getattr(_hooks, hook)
    source = str(inspect.signature(function)).replace("'", "")
    return f"{'async ' if inspect.iscoroutinefunction(function) else ''}def {hook}{source}"


def _command(part: str) -> tuple[str, str]:
    command, _, shown = part.partition("\n")
    while command.endswith("\\"):
        more, _, shown = shown.partition("\n")
        command = f"{command}\n{more}"
    # A comment is for the reader, and bash would take it as one too, but not every pattern above.
    words = shlex.split(command, comments=True, posix=False)
    return command if not any(word.startswith("#") for word in command.split()) else " ".join(words), shown


def _beside(block: Block, call: str, mark: str) -> str:
    shown = []
    for line in block.source.splitlines():
        if found := re.search(call, line):
            comment = line[found.end() :].strip()
            assert comment.startswith(mark), f"what it prints is to stand beside it: {line.strip()}"
            shown.append(comment.removeprefix(mark).strip())
    return "\n".join(shown)


def _compare(shown: str, came: str, what: str = "") -> None:
    assert text_matches(shown, came), (
        f"{what}\nthe documentation shows\n{_indented(shown)}\nbut it is\n{_indented(came)}"
    )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip("\n").split("\n"))
