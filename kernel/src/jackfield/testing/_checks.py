"""What can be said of a plugin without starting it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic import BaseModel

from jackfield._configuration import models_in
from jackfield._contract import Kind
from jackfield._facade import forgotten_marks, hook_names
from jackfield._hooks import PROJECT
from jackfield._plugins import Plugin, Served
from jackfield.testing._given import Given
from jackfield.testing._project import FILE

_SECONDS: Final = 60.0
"""What another interpreter has to start a kernel in which the plugin is switched off."""
_SWITCHED_OFF: Final = """
import sys
from jackfield._kernel import JackfieldKernel
from jackfield._manifest import Found, Manifest
from jackfield._settings import Settings
manifest = Manifest.model_validate_json(sys.argv[1])
JackfieldKernel(Settings(plugins={"disabled": [manifest.name]}), [Found(manifest)]).load()
package = sys.argv[2]
print(*[name for name in sys.modules if name == package or name.startswith(package + ".")])
"""


def manifest(given: Given) -> Iterator[str]:
    """Yield what is wrong with what the plugin says of itself before it is imported."""
    if given.object is not None:
        yield (
            f'it has no manifest: name it in {FILE}, under [project.entry-points."jackfield.plugins"], and its '
            'namespaces under [project.entry-points."jackfield.namespaces"]'
        )
        return
    said = given.found.manifest
    if not said.requires_kernel:
        yield (
            "it does not say which kernels it works with: give dependencies a range, such as "
            '"jackfield>=0.1,<0.2", so that another kernel refuses it rather than failing in it'
        )
    if not said.summary:
        yield f"it has no description: write one sentence as project.description in {FILE}; operators read it"


def typed(given: Given) -> Iterator[str]:
    """Yield whether its types are kept from those who import it."""
    package = given.found.manifest.module
    spec = find_spec(package) if given.object is None else None
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    if folders and not any((Path(folder) / "py.typed").is_file() for folder in folders):
        yield f"it has no py.typed: put an empty file {package.replace('.', '/')}/py.typed beside its __init__.py"


def marks(plugin: Plugin) -> Iterator[str]:
    """Yield the hooks that nobody calls."""
    forgotten = forgotten_marks(plugin.object)
    if forgotten:
        yield f"nobody calls {', '.join(forgotten)}: mark what is to be a hook with @hookimpl"
    if not isinstance(plugin.object, ModuleType):
        return
    entry = plugin.object.__name__
    for module in [name for name in sys.modules if name.startswith(f"{entry}.")]:
        for hook in hook_names():
            marked = hasattr(getattr(sys.modules[module], hook, None), f"{PROJECT}_impl")
            if marked and not hasattr(plugin.object, hook):
                yield f"nobody calls {hook} of {module}: import it into {entry}, which the entry point names"


def settings(plugin: Plugin) -> Iterator[str]:
    """Yield what an operator misses in the model of its settings."""
    model = plugin.hooks.settings_model()
    if model is None:
        return
    if model.model_config.get("extra") != "forbid":
        yield (
            f"its settings take keys that do not exist, so that a misspelt one is silently nothing: give "
            f'{model.__name__} the line model_config = ConfigDict(extra="forbid")'
        )
    for key, field in _fields(model, f"plugins.{plugin.name}"):
        if not field.description:
            yield f"{key} has no description: Field(…, description=…) says what it is for, and in which unit"


def functions(plugin: Plugin) -> Iterator[str]:
    """Yield what a caller misses in the functions."""
    for served in plugin.served:
        if not served.function.doc:
            yield f"{served.event} has no docstring: its first line is what callers find in lists of functions"
        yield from _undescribed(served)


def switched_off(given: Given) -> Iterator[str]:
    """Yield what is imported of a plugin that is switched off; another interpreter looks."""
    if given.object is not None:
        return
    package = given.found.manifest.module.partition(".")[0]
    command = [sys.executable, "-c", _SWITCHED_OFF, given.found.manifest.model_dump_json(), package]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, env=environ, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        told = getattr(error, "stderr", None) or error
        yield f"a kernel in which it is switched off does not start: {told}"
        return
    if done.stdout.strip():
        yield f"switched off, this of it is imported all the same: {', '.join(done.stdout.split())}"


def _undescribed(served: Served) -> Iterator[str]:
    contract, items = served.contract, served.contract.kind in (Kind.CLIENT, Kind.BOTH)
    if contract.takes_data and _says_nothing(contract.input_schema):
        yield _hint(served.event, "the items that it takes" if items else "the data that it takes")
    if _says_nothing(contract.output_schema):
        yield _hint(served.event, "what it gives")


def _hint(event: str, what: str) -> str:
    return (
        f"{event} does not describe {what}: annotate it with a pydantic model, or with jackfield.Value where it may "
        "really be anything"
    )


def _says_nothing(schema: Mapping[str, Any]) -> bool:
    known = {key: value for key, value in schema.items() if key not in ("title", "description", "$schema")}
    return known in ({}, {"type": "object"}, {"type": "object", "additionalProperties": True})


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a model of settings and of the models in it, by their keys."""
    for name, field in model.model_fields.items():
        yield f"{prefix}.{name}", field
        for inner in models_in(field.annotation):
            yield from _fields(inner, f"{prefix}.{name}")
