"""Commands that installed packages bring: the entry points of `jackfield.commands`, imported only when one is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final, TypeAlias

import click

from jackfield._cli.terminal import fail, line

GROUP: Final = "jackfield.commands"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Contribution:
    """A command of an installed package, as its metadata tells of it.

    Attributes:
        name: What stands after `jackfield`.
        distribution: The package.
        summary: The package's one-line description.
        entry_point: What is imported when the command is run.
    """

    name: str
    distribution: str
    summary: str
    entry_point: EntryPoint

    @property
    def qualified(self) -> str:
        """`distribution:name`, which no other package can take."""
        return f"{self.distribution}:{self.name}"

    def load(self) -> click.Command:
        """Import the command, or end with the reason: a package may do anything when it is imported."""
        try:
            command = self.entry_point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a package may raise anything, SystemExit included
            from jackfield._plugins import describe

            inner = error.__traceback__ and error.__traceback__.tb_next  # without this line, which is not to blame
            fault = describe(error.with_traceback(inner))
            hint = f"   → {fault.hint}" if fault.hint else ""
            fail(f"the command {self.name!r} of {self.distribution} cannot be loaded: {line(fault.reason)}{hint}")
        if not isinstance(command, click.Command):
            fail(
                f"the command {self.name!r} of {self.distribution} is no click.Command: "
                f"{self.entry_point.value} is of type {type(command).__name__}"
            )
        return command


Contributions: TypeAlias = "dict[str, list[Contribution]]"
"""By the command's name; more than one where packages contend for it."""


def discover() -> Contributions:
    """Return the commands of installed packages, by name, sorted; nothing is imported."""
    found: Contributions = {}
    for distribution, name, entry_points in _distributions():
        for entry_point in entry_points:
            if entry_point.group == GROUP and _NAME.fullmatch(entry_point.name):
                summary = line(str(distribution.metadata.json.get("summary", "")))
                found.setdefault(entry_point.name, []).append(
                    Contribution(entry_point.name, name, summary, entry_point)
                )
    return {name: sorted(found[name], key=lambda one: one.distribution) for name in sorted(found)}


def choose(name: str, taken: Sequence[str]) -> Contribution | None:
    """Return the command of that name, or of that `distribution:name`, if there is one; end if there are several.

    Args:
        name: What was typed.
        taken: The names that jackfield has commands of its own for.
    """
    distribution, _, bare = name.rpartition(":")
    candidates = discover().get(bare, [])
    if distribution:
        candidates = [one for one in candidates if one.distribution == distribution]
    elif name in taken:
        return None
    if len(candidates) > 1:
        several = " and ".join(one.distribution for one in candidates)
        fail(f"{several} both bring a command {name!r}: run `jackfield {candidates[0].qualified}`, or uninstall one")
    return candidates[0] if candidates else None


def rows(found: Contributions, taken: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what the help says of each command: what to type, whose it is, and what that package is for."""
    for name, contenders in found.items():
        alone = len(contenders) == 1 and name not in taken
        for one in contenders:
            yield one.name if alone else one.qualified, f"{one.distribution}: {one.summary}".rstrip(": ")


def _distributions() -> Iterator[tuple[Distribution, str, Sequence[EntryPoint]]]:
    # A distribution can be found twice, by two folders of the path; as with an import, the first one counts.
    seen: set[str] = set()
    for distribution in distributions():
        try:
            entry_points = [one for one in distribution.entry_points if one.group == GROUP]
            name = str(distribution.metadata.json.get("name", "")) if entry_points else ""
        except (TypeError, ValueError):  # what `jackfield plugins list` tells about
            continue
        key = re.sub(r"[-_.]+", "-", name).lower()
        if name and key not in seen:
            seen.add(key)
            yield distribution, name, entry_points
