"""`jackfield new`: make the project of a plugin, from the template that comes with the kernel."""

from __future__ import annotations

import json
import logging
import runpy
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from jackfield._cli.terminal import fail

_USAGE: Final = 2
_REPOSITORY: Final = Path(__file__).parents[4] / "contrib/cookiecutter-jackfield-plugin"
_INSTALLED: Final = Path(__file__).parents[1] / "_template"
_NEEDS: Final = '`jackfield new` needs cookiecutter: pip install "jackfield[new]"'

Fault = Callable[[str, Any], str | None]
"""Tells what is wrong with the answer to a question, and what to type instead."""


@click.command("new")
@click.argument("name", required=False)
@click.option("--namespace", help="Namespace of its functions; `api.NAME` if left out.")
@click.option("--description", help="What it is, in one line.")
@click.option("--author", help="Who holds the rights.")
@click.option(
    "--licence",
    type=click.Choice(["MIT", "Apache-2.0", "BSD-3-Clause", "none"]),
    help="Its licence; MIT if left out.",
)
@click.option("--streams/--no-streams", default=None, help="Whether it has functions that send and take streams.")
@click.option("--settings/--no-settings", default=None, help="Whether it has settings that operators may change.")
@click.option("--background/--no-background", default=None, help="Whether it does work in the background.")
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder to make the project in; this one if left out.",
)
@click.option("--no-input", is_flag=True, help="Ask nothing, and take what is left out as it is by default.")
def command(output_dir: Path, *, no_input: bool, **given: Any) -> None:
    """Make the project of a plugin: a package with tests, CI and a README, ready to be installed.

    NAME is the plugin's name, such as weather. What is left out is asked for. Nothing is written where an answer
    cannot be used, or the project is there already. Nothing is fetched.
    """
    template = _REPOSITORY if _REPOSITORY.is_dir() else _INSTALLED
    if no_input and given["name"] is None:
        raise click.UsageError("NAME is missing; --no-input asks for nothing.")
    try:
        bake = import_module("cookiecutter.main").cookiecutter
    except ImportError:
        fail(_NEEDS)
    rules = runpy.run_path(str(template / "hooks/pre_gen_project.py"))
    taken = rules["Taken"]()
    answers = _answers(template, given, lambda question, answer: rules["fault"](question, answer, taken), no_input)
    project = output_dir / f"jackfield-{answers['name'].replace('_', '-')}"
    if project.exists():
        fail(f"{project} is there already; remove it, or choose another name or --output-dir")
    sys.stdout.flush()
    # What cookiecutter says of its own is for those who write templates.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(prefix="jackfield-new-") as replays:
        try:
            bake(
                str(template),
                no_input=True,
                extra_context=answers,
                output_dir=str(output_dir),
                default_config={"replay_dir": replays},
            )
        except OSError as error:
            fail(f"{project} cannot be written: {error.strerror or error}")


def _answers(template: Path, given: dict[str, Any], fault: Fault, no_input: bool) -> dict[str, Any]:
    """Return the answer to every question, or end the command with all that is wrong with those that were given."""
    questions = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    prompts = questions["__prompts__"]
    answers = {question: given[question] for question in prompts if given[question] is not None}
    if faults := [found for question, answer in answers.items() if (found := fault(question, answer))]:
        fail(faults, _USAGE)
    for question, default in questions.items():
        if question.startswith("_") or question in answers:
            continue
        if not no_input:
            answers[question] = _asked(question, prompts[question], _rendered(default, answers), fault)
            continue
        answers[question] = default[0] if isinstance(default, list) else _rendered(default, answers)
        if found := fault(question, answers[question]):
            fail(found, _USAGE)
    return answers


def _asked(question: str, prompt: str, default: Any, fault: Fault) -> Any:
    """Return the answer to a question, or end the command where nobody is there to give one."""
    try:
        return _ask(question, prompt, default, fault)
    except click.Abort as aborted:
        if sys.stdin.isatty() or not isinstance(aborted.__context__, EOFError):
            raise
    click.echo()
    give = "give NAME" if question == "name" else f"give --{question}, or --no-input"
    fail(f"there is no terminal to ask for the {question}: {give}", _USAGE)


def _ask(question: str, prompt: str, default: Any, fault: Fault) -> Any:
    """Ask until the answer can be used."""
    if isinstance(default, bool):
        return click.confirm(prompt, default=default)
    if isinstance(default, list):
        return click.prompt(prompt, default=default[0], type=click.Choice(default))

    def check(answer: str) -> str:
        if found := fault(question, answer):
            raise click.UsageError(found)
        return answer

    return click.prompt(prompt, default=default, value_proc=check)


def _rendered(default: Any, answers: dict[str, Any]) -> Any:
    if not isinstance(default, str):
        return default
    return import_module("jinja2").Template(default).render(cookiecutter=answers)
