"""Where a contract is read from: an installed plugin, a wheel, a JSON file, a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from jackfield import _manifest, _selection
from jackfield._cli import inspection, remote, survey
from jackfield._cli.contract import document
from jackfield._cli.contract.document import Document, DocumentError, PluginContract
from jackfield._cli.options import SCHEMES, Url, read_settings
from jackfield._cli.remote import Target
from jackfield._cli.survey import Survey
from jackfield._cli.terminal import nearest, note
from jackfield._errors import CallError
from jackfield._host import FunctionInfo, PluginInfo
from jackfield._manifest import Manifest
from jackfield._plugins import Plugin, State
from jackfield.client._errors import NobodyThere


def is_server(source: str) -> bool:
    """Tell whether a source is the address of a server."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme in SCHEMES


def read(source: str, target: Target, *, load: bool = False) -> Document:
    """Read a contract from wherever a source says that it is.

    Args:
        source: The address of a server, the path of a wheel or of a JSON file, or the name of an installed plugin.
        target: Who is calling, for a server, and the configuration.
        load: Whether to load an installed plugin even where its distribution carries its contract.

    Raises:
        DocumentError: There is none, or it cannot be read.
    """
    if is_server(source):
        return _from_server(source, target)
    path = Path(source)
    if path.suffix == ".whl":
        return document.from_wheel(source)
    if path.suffix == ".json" or path.name != source or path.is_file():
        return document.from_file(source)
    return installed([source], target.config, load=load)


def installed(names: Sequence[str] | None, config: Path | None, *, load: bool = False) -> Document:
    """Return the contract of installed plugins: the one that their distributions carry, else what they say when loaded.

    Args:
        names: Which; all that the configuration lets into service if left out.
        config: The configuration file.
        load: Whether to load them all.

    Raises:
        DocumentError: One is not there, or cannot be loaded.
    """
    settings = read_settings(config)
    found = _manifest.discover()
    plugins, _ = _selection.select(found, settings.plugins, version("jackfield"))
    chosen = _chosen(plugins, names)
    known: dict[str, PluginContract] = {}
    if not load:
        for plugin in chosen:
            carried = document.carried(plugin.manifest.distribution, plugin.name)
            if carried is not None:
                known[plugin.manifest.qualified] = carried
    missing = [plugin for plugin in chosen if plugin.manifest.qualified not in known]
    if missing:
        wanted = {plugin.manifest.qualified for plugin in missing}
        seen = inspection.inspect(settings, settings.file, wanted=lambda one: one.manifest.qualified in wanted)
        note(f"loaded here, each plugin in a process of its own: {', '.join(one.name for one in missing)}")
        known |= _loaded([plugin.manifest for plugin in missing], seen.plugins, seen.functions)
    return Document(plugins=tuple(known[plugin.manifest.qualified] for plugin in chosen))


def described(manifest: Manifest, functions: Iterable[FunctionInfo]) -> PluginContract:
    """Return the contract of a plugin that was loaded.

    Args:
        manifest: Its manifest.
        functions: What it serves; those of other plugins are passed over.
    """
    return PluginContract(
        name=manifest.name,
        distribution=manifest.distribution,
        version=manifest.version,
        kernel=manifest.requires_kernel,
        namespaces=manifest.namespaces,
        functions=document.functions_of(manifest.name, functions),
    )


def _chosen(plugins: Sequence[Plugin], names: Sequence[str] | None) -> list[Plugin]:
    if names is None:
        return [plugin for plugin in plugins if plugin.state is State.DISCOVERED]
    chosen = []
    for name in names:
        several = [one for one in plugins if name in (one.name, one.manifest.qualified)]
        if not several:
            hint = nearest(name, [plugin.name for plugin in plugins])
            raise DocumentError(f"{name!r} is no plugin that is installed, no file and no address of a server{hint}")
        if len(several) > 1:
            raise DocumentError(f"{name!r} is the name of several plugins: {', '.join(_qualified(several))}")
        chosen += several
    return chosen


def _qualified(plugins: Iterable[Plugin]) -> list[str]:
    return [plugin.manifest.qualified for plugin in plugins]


def _loaded(
    manifests: Sequence[Manifest], plugins: Sequence[PluginInfo], functions: Sequence[FunctionInfo]
) -> dict[str, PluginContract]:
    infos = {f"{info.distribution}:{info.name}": info for info in plugins}
    faults = []
    for manifest in manifests:
        info = infos[manifest.qualified]
        if info.state != State.LOADED:
            faults.append(f"plugin {info.name} is {info.state}{f': {info.reason}' if info.reason else ''}")
    if faults:
        raise DocumentError("\n".join(faults))
    return {manifest.qualified: described(manifest, functions) for manifest in manifests}


def _from_server(url: str, target: Target) -> Document:
    address = Url().convert(url, None, None)
    try:
        at = remote.place(Target(target.config, address, target.token), read_settings(target.config).server)
        learnt = asyncio.run(survey.ask(at, survey.EVERYTHING))
    except NobodyThere as error:
        raise DocumentError(error.reason) from None
    except CallError as error:
        raise DocumentError(remote.explained(error, at)) from None
    try:
        return _told(learnt)
    except (ValidationError, RecursionError) as error:
        raise DocumentError(f"what the server at {at.url} tells is no contract: {document.told(error)}") from None


def _told(learnt: Survey) -> Document:
    in_service = [info for info in learnt.plugins if info.state == State.STARTED]
    return Document(
        plugins=tuple(
            PluginContract(
                name=info.name,
                version=info.version,
                namespaces=info.namespaces,
                functions=document.functions_of(info.name, learnt.functions),
            )
            for info in in_service
        )
    )
