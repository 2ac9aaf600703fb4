"""Refuse answers that make no plugin, and say what to type instead.

cookiecutter fills in the answers and runs this file before it writes anything; `jackfield new` asks `fault` about each
answer as it is given. It needs neither of the two, so that the template works without jackfield, too.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import distributions
from typing import Any

OURS = {
    "channels": ["api.channels"],
    "demo": ["api.services.test"],
    "files": ["api.files"],
    "idempotency": [],
    "jobs": ["api.jobs"],
    "jwt": ["api.auth"],
    "kv": ["api.kv"],
    "metrics": ["api.metrics"],
    "ratelimit": [],
    "redis": [],
    "system": ["api.system"],
}
"""The plugins of jackfield's own repository, with their namespaces."""
RESERVED = {"policy", "enabled", "disabled", "required", "strict", "verify"}
"""Keys of the table `[plugins]` of the configuration."""
LONGEST_NAME, LONGEST_NAMESPACE, LONGEST_LINE = 30, 50, 90
"""Characters; beyond them the lines of the project would be too long."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", re.ASCII)
_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_UNPRINTABLE = re.compile(r'["\\{}\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


class Taken:
    """The names that are gone: those of jackfield's own plugins, and of what is installed here."""

    def __init__(self) -> None:
        self.plugins = {name: f"jackfield's own plugin jackfield-{name}" for name in OURS}
        self.namespaces = {one: self.plugins[name] for name, namespaces in OURS.items() for one in namespaces}
        self.distributions = {f"jackfield-{name}": owner for name, owner in self.plugins.items()}
        for found in distributions():
            try:
                called = str(found.metadata.json["name"])
                entry_points = list(found.entry_points)
            except (KeyError, TypeError, ValueError):
                continue  # whoever made it will hear of it elsewhere
            owner = f"{called}, which is installed"
            self.distributions.setdefault(re.sub(r"[-_.]+", "-", called).lower(), owner)
            for entry_point in entry_points:
                if entry_point.group == "jackfield.plugins":
                    self.plugins.setdefault(entry_point.name, owner)
                elif entry_point.group == "jackfield.namespaces":
                    self.namespaces.setdefault(entry_point.name, owner)


def fault(question: str, answer: Any, taken: Taken) -> str | None:
    """Return what is wrong with an answer and what to type instead, or None.

    Args:
        question: A key of cookiecutter.json.
        answer: What was answered.
        taken: The names that are gone.
    """
    if question == "name":
        return _name(answer, taken)
    if question == "namespace":
        return _namespace(answer, taken)
    if question in ("description", "author"):
        return _line(question, answer)
    return None


def faults(answers: dict[str, Any], taken: Taken) -> list[str]:
    """Return what is wrong with answers, all of it."""
    return [found for question, answer in answers.items() if (found := fault(question, answer, taken))]


def _name(name: str, taken: Taken) -> str | None:
    if not _NAME.fullmatch(name) or name.startswith("jackfield"):
        meant = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        meant = re.sub(r"^(?:jackfield_*)+|^[0-9_]+", "", meant)[:LONGEST_NAME].strip("_")
        rule = (
            "it becomes jackfield-NAME by itself"
            if re.match(r"(?i)jackfield", name)
            else "it begins with a lower-case letter, and has lower-case letters, digits and single _ between them"
        )
        return f"{name!r} cannot be the name: {rule}; type {_free(meant or 'my_plugin', taken)}"
    if len(name) > LONGEST_NAME:
        meant = name[:LONGEST_NAME].strip("_")
        return f"{name!r} cannot be the name: it may have {LONGEST_NAME} characters; type {_free(meant, taken)}"
    if name in RESERVED:
        return f"{name!r} cannot be the name: it is a key of the configuration; type {_free(f'{name}_plugin', taken)}"
    owner = taken.plugins.get(name) or taken.distributions.get(f"jackfield-{name.replace('_', '-')}")
    return f"the name {name!r} is taken by {owner}; type another one, such as {_free(name, taken)}" if owner else None


def _free(name: str, taken: Taken) -> str:
    """Return the name, or else one like it, that nobody has."""
    candidates = (name, *(f"{name[: LONGEST_NAME - 4]}{number}" for number in range(2, 1000)))
    for one in candidates:
        if one not in taken.plugins and f"jackfield-{one.replace('_', '-')}" not in taken.distributions:
            return one
    raise AssertionError("a thousand plugins with one name")


def _namespace(namespace: str, taken: Taken) -> str | None:
    if not _NAMESPACE.fullmatch(namespace):
        parts = (re.sub(r"\W+", "_", part, flags=re.ASCII).strip("_") for part in namespace.split("."))
        meant = ".".join(f"_{part}" if part[0].isdigit() else part for part in parts if part) or "api.my_plugin"
        rule = "it is a dotted path in letters, digits and _, whose parts begin with no digit"
        return f"{namespace!r} cannot be the namespace: {rule}; type {meant[:LONGEST_NAMESPACE].strip('.')}"
    if len(namespace) > LONGEST_NAMESPACE:
        meant = namespace[:LONGEST_NAMESPACE].rstrip(".")
        return f"{namespace!r} cannot be the namespace: it may have {LONGEST_NAMESPACE} characters; type {meant}"
    if owner := taken.namespaces.get(namespace):
        free = next(one for number in range(2, 1000) if (one := f"{namespace}{number}") not in taken.namespaces)
        return f"the namespace {namespace!r} is taken by {owner}; type another one, such as {free}"
    return None


def _line(question: str, text: str) -> str | None:
    meant = " ".join(_UNPRINTABLE.sub(" ", text).split())
    if not meant:
        example = "A plugin for jackfield" if question == "description" else "your name"
        return f"the {question} is empty; type something, such as {example}"
    if len(meant) > LONGEST_LINE:
        return f"the {question} may have {LONGEST_LINE} characters, not {len(meant)}; type a shorter one"
    if meant != text:
        rule = 'is one line without ", \\, { and }, and without spaces around it'
        return f"the {question} {rule}; type {meant}"
    return None


if __name__ == "__main__":
    found = faults(json.loads(r"""{{ cookiecutter | tojson }}"""), Taken())
    if found:
        sys.exit("\n".join(f"✗ {one}" for one in found))
