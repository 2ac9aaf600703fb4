"""What a plugin says of itself before anything of it is imported.

All of it is read from the metadata of its distribution: the entry points of `jackfield.plugins` and
`jackfield.namespaces`, the version, and the kernel versions that it requires.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Annotated, Any, Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jackfield._service import NAMESPACE
from jackfield._settings import RESERVED_NAMES

PLUGINS_GROUP: Final = "jackfield.plugins"
NAMESPACES_GROUP: Final = "jackfield.namespaces"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)

log: Final = logging.getLogger("jackfield.plugins")


class Manifest(BaseModel):
    """A plugin's manifest.

    Attributes:
        name: The entry point's name.
        target: What the entry point names: `module` or `module:attribute`.
        distribution: The name of its distribution.
        version: The version of its distribution.
        summary: The one-line description of its distribution.
        requires_kernel: The versions of `jackfield` that it works with, such as `>=0.1,<0.2`; empty for any.
        requires: The other distributions that it depends on, in canonical form.
        namespaces: The namespaces that it declares.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    target: str
    distribution: str
    version: Annotated[str, Field(min_length=1)]
    summary: str = ""
    requires_kernel: str = ""
    requires: frozenset[NormalizedName] = frozenset()
    namespaces: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"a plugin's name has lower-case letters, digits and _ only, not {name!r}")
        if name in RESERVED_NAMES:
            raise ValueError(f"{name!r} is a key of the configuration, so no plugin can have that name")
        return name

    @field_validator("namespaces")
    @classmethod
    def _namespaces(cls, namespaces: tuple[str, ...]) -> tuple[str, ...]:
        for namespace in namespaces:
            if not NAMESPACE.fullmatch(namespace):
                raise ValueError(f"a namespace is a dotted path in letters, digits and _, not {namespace!r}")
        return namespaces

    @property
    def qualified(self) -> str:
        """`distribution:name`, which no other plugin can take."""
        return f"{self.distribution}:{self.name}"

    @property
    def module(self) -> str:
        """The module that the entry point names."""
        return self.target.partition(":")[0].strip()


@dataclass(frozen=True, slots=True)
class Found:
    """One entry point and what was made of it: a manifest, with the fault that makes it unusable, if there is one."""

    manifest: Manifest
    fault: str | None = None


def discover(search_path: list[str] | None = None) -> list[Found]:
    """Read the manifests of all plugins that are installed, sorted by name; nothing of them is imported.

    Args:
        search_path: Folders to look in; `sys.path` if left out.
    """
    found: list[Found] = []
    for distribution, entry_points in _distributions(search_path):
        found.extend(found_in(distribution, entry_points))
    return sorted(found, key=lambda one: (one.manifest.name, one.manifest.distribution))


def found_in(distribution: Distribution, entry_points: Sequence[EntryPoint]) -> list[Found]:
    """Read the manifests of one distribution's plugins."""
    return [_read(distribution, one, entry_points) for one in entry_points if one.group == PLUGINS_GROUP]


def _distributions(search_path: list[str] | None) -> Iterator[tuple[Distribution, Sequence[EntryPoint]]]:
    seen: set[str] = set()
    for distribution in _installed(search_path):
        try:
            entry_points = list(distribution.entry_points)
            if all(entry_point.group != PLUGINS_GROUP for entry_point in entry_points):
                continue  # before its metadata is read, which takes a multiple of the time
            name = canonicalize_name(str(distribution.metadata.json.get("name", "")))
        except (TypeError, ValueError) as error:
            folder = distribution.locate_file("")
            log.warning("a distribution in %s is passed over: its metadata cannot be read: %s", folder, error)
            continue
        # A distribution can be found twice, by two folders of the path; as with an import, the first one counts.
        if name and name not in seen and _is_first(distribution, name, search_path):
            seen.add(name)
            yield distribution, entry_points


def _is_first(distribution: Distribution, name: str, search_path: list[str] | None) -> bool:
    """Tell whether no folder before its own holds a distribution of that name, which may have no plugin."""
    first = next(iter(_installed(search_path, name)), distribution)
    return first.locate_file("") == distribution.locate_file("")


def _installed(search_path: list[str] | None, name: str | None = None) -> Iterable[Distribution]:
    return distributions(name=name) if search_path is None else distributions(name=name, path=search_path)


def _read(distribution: Distribution, entry_point: EntryPoint, siblings: Iterable[EntryPoint]) -> Found:
    metadata = distribution.metadata.json
    problems, specifiers, requires = [], [], set()
    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
        except ValueError:  # no requirement, or a marker that compares what cannot be compared
            problems.append(f"its metadata has a requirement that cannot be read: {line!r}")
            continue
        if canonicalize_name(requirement.name) == "jackfield":
            specifiers.append(requirement.specifier)
        else:
            requires.add(canonicalize_name(requirement.name))
    fields: dict[str, Any] = {
        "name": entry_point.name,
        "target": entry_point.value,
        "distribution": metadata["name"],
        "version": metadata.get("version", ""),
        "summary": " ".join(str(metadata.get("summary", "")).split()),
        "requires_kernel": ",".join(str(specifier) for specifier in specifiers if specifier),
        "requires": frozenset(requires),
        "namespaces": tuple(
            sorted(e.name for e in siblings if e.group == NAMESPACES_GROUP and e.value == entry_point.value)
        ),
    }
    try:
        manifest = Manifest.model_validate(fields)
    except ValidationError as error:
        invalid = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors(include_url=False))
        problems.insert(0, f"its manifest is invalid: {invalid}")
        manifest = Manifest.model_construct(**fields)
    return Found(manifest, "; ".join(problems) or None)
