"""The contract of plugins as one document: what is written into a wheel, and what `schema` and `diff` speak of.

It says of each function what `FunctionInfo` does. It stands in the metadata of a distribution, where it is read without
importing anything of the plugin.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal
from zipfile import BadZipFile, ZipFile

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from jackfield._cli.contract import metadata, wellformed
from jackfield._cli.terminal import to_json
from jackfield._contract import Kind
from jackfield._errors import JackfieldError
from jackfield._host import FunctionInfo

VERSION: Final = 1
_LARGEST: Final = 32 * 1024 * 1024
"""Bytes of a document; what is larger is none that a plugin's build has written."""


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    wellformed.check(schema)
    return schema


Schema = Annotated[dict[str, Any], AfterValidator(_checked)]
"""A JSON Schema (2020-12)."""


class DocumentError(JackfieldError):
    """There is no contract where one was looked for, or none that can be read."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FunctionContract(_Part):
    """What one function promises; the fields are those of `FunctionInfo`."""

    kind: Kind
    doc: str = ""
    input: Schema
    output: Schema
    optional: bool = False
    errors: tuple[str, ...] = ()
    requires: tuple[str, ...] | None = None
    ordered: bool = False
    detached: bool = False
    timeout: float | None = None
    deprecated: str | None = None
    emits: dict[str, Schema] = Field(default_factory=dict)


class PluginContract(_Part):
    """What one plugin promises.

    Attributes:
        name: Its name.
        distribution: The package that it comes from; empty where a server was asked, which does not tell.
        version: The version of that package.
        kernel: The versions of `jackfield` that it works with; empty for any, and where a server was asked.
        namespaces: The namespaces that it declares.
        functions: What it serves, by event.
    """

    name: str
    distribution: str = ""
    version: str
    kernel: str = ""
    namespaces: tuple[str, ...]
    functions: dict[str, FunctionContract]


class Document(_Part):
    """A contract document: its version, and the plugins that it is of."""

    contract: Literal[1] = VERSION
    plugins: tuple[PluginContract, ...]

    def to_json(self) -> str:
        """Return the text of the file; the same contract has the same text."""
        return f"{to_json(self.model_dump(mode='json'), indent=2)}\n"

    @property
    def functions(self) -> dict[str, FunctionContract]:
        """The functions of all plugins, by event."""
        return {event: one for plugin in self.plugins for event, one in plugin.functions.items()}

    @property
    def namespaces(self) -> set[str]:
        """The namespaces of all plugins."""
        return {namespace for plugin in self.plugins for namespace in plugin.namespaces}


def functions_of(plugin: str, functions: Iterable[FunctionInfo]) -> dict[str, FunctionContract]:
    """Return what is promised by those of the functions that are the plugin's, sorted by event."""
    return {
        one.event: FunctionContract.model_validate(_fields(one))
        for one in sorted(functions, key=lambda one: one.event)
        if one.plugin == plugin
    }


def _fields(function: FunctionInfo) -> Mapping[str, object]:
    known = FunctionContract.model_fields
    return {name: value for name, value in asdict(function).items() if name in known}


def parse(text: str | bytes, what: str) -> Document:
    """Return the document that a text holds.

    Args:
        text: JSON.
        what: Where it is from, for errors.

    Raises:
        DocumentError: It is no contract, or one of a newer jackfield.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{what} is no JSON: {error}") from None
    version = raw.get("contract") if isinstance(raw, dict) else None
    if type(version) is not int:
        raise DocumentError(f"{what} is no contract: it has no member 'contract' that says which version it is")
    if version != VERSION:
        raise DocumentError(
            f"{what} is a contract of version {version}, and this jackfield reads version {VERSION}"
            + (": it was written by a newer one" if version > VERSION else "")
        )
    try:
        return Document.model_validate(raw)
    except (ValidationError, RecursionError) as error:
        raise DocumentError(f"{what} is no contract of version {VERSION}: {told(error)}") from None


def told(error: ValidationError | RecursionError) -> str:
    """Return what is wrong with a contract, on one line."""
    if isinstance(error, RecursionError):
        return "a schema is nested too deeply"
    faults = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)


def carried(distribution: str, plugin: str) -> PluginContract | None:
    """Return the contract of a plugin that its distribution, which is installed, carries; None if it carries none.

    Raises:
        DocumentError: It cannot be read.
    """
    text = metadata.text_of(distribution)
    plugins = () if text is None else parse(text, f"the contract that {distribution} carries").plugins
    return next((one for one in plugins if one.name == plugin), None)


def from_wheel(path: str) -> Document:
    """Return the contract that a wheel carries.

    Raises:
        DocumentError: There is no such file, it is no wheel, or it carries none.
    """
    try:
        with ZipFile(path) as wheel:
            names = [name for name in wheel.namelist() if _is_contract(name)]
            if not names:
                raise DocumentError(
                    f"{path} carries no contract: its build did not have the build hook of jackfield (docs/contract.md)"
                )
            if wheel.getinfo(names[0]).file_size > _LARGEST:
                raise DocumentError(f"{path}: its contract is larger than {_LARGEST} bytes")
            text = wheel.read(names[0])
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror or error}") from None
    except (BadZipFile, NotImplementedError, EOFError) as error:
        raise DocumentError(f"{path} is no wheel: {error}") from None
    return parse(text, f"the contract in {path}")


def from_file(path: str) -> Document:
    """Return the contract in a JSON file.

    Raises:
        DocumentError: There is no such file, or it holds none.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(text) > _LARGEST:
        raise DocumentError(f"{path} is larger than {_LARGEST} bytes")
    return parse(text, path)


def merged(documents: Sequence[Document]) -> Document:
    """Return one document with the plugins of several, each once.

    Raises:
        DocumentError: One plugin has two different contracts.
    """
    plugins: dict[str, PluginContract] = {}
    for one in (plugin for document in documents for plugin in document.plugins):
        if plugins.setdefault(one.name, one) != one:
            raise DocumentError(f"two contracts of the plugin {one.name} were given, and they differ")
    return Document(plugins=tuple(plugins[name] for name in sorted(plugins)))


def _is_contract(name: str) -> bool:
    folder, _, rest = name.partition("/")
    return folder.endswith(".dist-info") and rest == f"{metadata.FOLDER}/{metadata.FILE}"
