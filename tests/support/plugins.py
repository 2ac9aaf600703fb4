"""Plugins made for the occasion: a package and its metadata, as an installer would leave them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

NEIGHBOUR = """
    from jackfield import Call, Service, hookimpl

    service = Service("api.neighbour")

    @service.function
    async def hello(call: Call) -> str:
        return "still here"

    @hookimpl
    def jackfield_services():
        return [service]
"""
"""A plugin that works; its namespace is `api.neighbour`."""

SPIN = """
    import time

    def spin(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
"""
"""How a plugin begins whose functions keep the processor to themselves for seconds of its time."""

KNOWN_MAY_CALL_ALL = '[[access.rules]]\nfunctions = "*"\n'
"""Configuration for tests of other things, whose plugins ask who is connecting: who is known may call everything."""

NO_QUARANTINE = "[quarantine]\nfailures = 0\nblocked = 0\n"
"""Configuration for tests of other things, whose plugins fail on and on."""


def write_plugin(
    folder: Path,
    name: str,
    source: str,
    *,
    namespaces: Iterable[str] = (),
    distribution: str | None = None,
    module: str | None = None,
    version: str = "1.0",
    requires: Iterable[str] = ("jackfield",),
    target: str | None = None,
    commands: Mapping[str, str] | None = None,
) -> Path:
    """Write a plugin into a folder, and return the folder, which is to be put on the path.

    Args:
        folder: Several plugins may share one.
        name: The plugin's name.
        source: The text of its module; indentation is taken off.
        namespaces: What its metadata declares.
        distribution: The name of its distribution; `jackfield-<name>` if left out.
        module: The name of its module; `plugin_<name>` if left out.
        version: The version of its distribution.
        requires: The lines `Requires-Dist` of its metadata.
        target: What its entry points name; the module if left out.
        commands: Commands that it brings, with what their entry points name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module = module or f"plugin_{name}".replace("-", "_")
    distribution = distribution or f"jackfield-{name}"
    target = target or module
    (folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {distribution}",
        f"Version: {version}",
        f"Summary: The plugin {name}",
        *(f"Requires-Dist: {line}" for line in requires),
    ]
    (info / "METADATA").write_text("\n".join(metadata) + "\n", encoding="utf-8")
    entry_points = ["[jackfield.plugins]", f"{name} = {target}", "[jackfield.namespaces]"]
    entry_points += [f"{namespace} = {target}" for namespace in namespaces]
    entry_points += ["[jackfield.commands]", *(f"{command} = {named}" for command, named in (commands or {}).items())]
    (info / "entry_points.txt").write_text("\n".join(entry_points) + "\n", encoding="utf-8")
    return folder


def write_neighbour(folder: Path) -> Path:
    """Write a plugin that works: `api.neighbour.hello` answers `still here`."""
    return write_plugin(folder, "neighbour", NEIGHBOUR, namespaces=["api.neighbour"])
