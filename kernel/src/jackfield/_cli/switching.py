"""Edit the lists `plugins.enabled` and `plugins.disabled` of a configuration file, and leave the rest as it is."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackfield import _manifest
from jackfield._cli.files import config_file, replace_config
from jackfield._cli.terminal import fail, nearest
from jackfield._configuration import load
from jackfield._errors import StartError
from jackfield._manifest import Manifest
from jackfield._settings import PluginSettings

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_VARIABLES = ("JACKFIELD_PLUGINS__ENABLED", "JACKFIELD_PLUGINS__DISABLED")


@dataclass
class Outcome:
    """What was done.

    Attributes:
        file: The configuration file.
        enabled: The list as it is now.
        disabled: The list as it is now.
        changed: Whether the file was written.
        sentences: One for each plugin.
        overridden: Variables that win over the file.
    """

    file: Path
    enabled: list[str]
    disabled: list[str]
    changed: bool = False
    sentences: list[str] = field(default_factory=list)
    overridden: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "file": str(self.file),
            "changed": self.changed,
            "enabled": self.enabled,
            "disabled": self.disabled,
        }


def switch(names: Iterable[str], config: Path | None, *, on: bool) -> Outcome:
    """Put plugins in service or take them out of it; end the command if that cannot be.

    Args:
        names: Plugins' names, or `distribution:name`.
        config: The configuration file; the one that a server would read, or a new one, if left out.
        on: Whether they are to be in service.
    """
    file = config_file(config)
    text, settings = _read(file)
    outcome = Outcome(file, list(settings.enabled), list(settings.disabled))
    names = list(dict.fromkeys(names))
    installed = [found.manifest for found in _manifest.discover()]
    faults = [fault for name in names if (fault := _fault(name, installed, outcome, on=on))]
    if faults:
        fail(faults)
    for name in names:
        before = (list(outcome.enabled), list(outcome.disabled))
        if on:
            _enable(name, installed, outcome, listed=_policy(settings) == "listed")
        else:
            _disable(name, installed, outcome)
        same = before == (outcome.enabled, outcome.disabled)
        outcome.changed |= not same
        what = "enabled" if on else "disabled"
        outcome.sentences.append(f"{name} is {what} already in {file}" if same else f"{name} is {what} in {file}")
    if outcome.changed:
        replace_config(file, _edited(file, text, outcome))
    outcome.overridden = [variable for variable in _VARIABLES if variable in os.environ]
    return outcome


def _read(file: Path) -> tuple[str, PluginSettings]:
    try:
        if not file.exists():
            return "", PluginSettings()
        return file.read_bytes().decode("utf-8"), load(file, environ={}).plugins
    except StartError as error:
        fail(error.faults)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}")


def _policy(settings: PluginSettings) -> str:
    return os.environ.get("JACKFIELD_PLUGINS__POLICY", settings.policy)


def _called(name: str, manifests: Iterable[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if name in (manifest.name, manifest.qualified)]


def _fault(name: str, installed: Sequence[Manifest], outcome: Outcome, *, on: bool) -> str | None:
    meant = _called(name, installed)
    if not meant and name not in outcome.disabled + ([] if on else outcome.enabled):
        return f"no plugin {name!r} is installed{nearest(name, [manifest.name for manifest in installed])}"
    if on and len(meant) > 1:
        return f"several plugins are called {name!r}: say which, {' or '.join(one.qualified for one in meant)}"
    return None


def _enable(name: str, installed: Sequence[Manifest], outcome: Outcome, *, listed: bool) -> None:
    meant = _called(name, installed)
    spellings = {name, *(spelling for one in meant for spelling in (one.name, one.qualified))}
    # The bare name may have kept others out too; they stay out.
    shared = {one.name for one in meant} & set(outcome.disabled)
    others = [one.qualified for one in installed if one.name in shared and one not in meant]
    outcome.disabled = [entry for entry in outcome.disabled if entry not in spellings]
    outcome.disabled += [entry for entry in others if entry not in outcome.disabled]
    if listed and meant and not spellings & set(outcome.enabled):
        outcome.enabled.append(name)


def _disable(name: str, installed: Sequence[Manifest], outcome: Outcome) -> None:
    meant = _called(name, installed)
    spellings = {name, *(one.qualified for one in meant)}
    names = {one.name for one in meant}
    if not any(one.name in names and one not in meant for one in installed):
        spellings |= names
    outcome.enabled = [entry for entry in outcome.enabled if entry not in spellings]
    if meant and not all(one.name in outcome.disabled or one.qualified in outcome.disabled for one in meant):
        outcome.disabled.append(name)


def _edited(file: Path, text: str, outcome: Outcome) -> str:
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
    except ImportError:
        fail('editing the configuration needs tomlkit: pip install "jackfield[standard]"')
    before = tomllib.loads(text)
    try:
        document = tomlkit.parse(text)
        for key, wanted in (("enabled", outcome.enabled), ("disabled", outcome.disabled)):
            _set(document, key, wanted)
        edited = tomlkit.dumps(document)
        after = tomllib.loads(edited)
    except (TOMLKitError, tomllib.TOMLDecodeError, KeyError, TypeError):
        after = {}
    plugins = dict(before.get("plugins", {}))
    for key, wanted in (("enabled", outcome.enabled), ("disabled", outcome.disabled)):
        if wanted or key in plugins:
            plugins[key] = wanted
    if after != {**before, "plugins": plugins}:
        # Better no change than one that touches something else.
        fail(f"{file} is laid out in a way that cannot be edited safely: edit the lists in [plugins] by hand")
    return edited


def _set(document: TOMLDocument, key: str, wanted: list[str]) -> None:
    """Take entries out of a list and append others, so that comments between them stay."""
    import tomlkit

    if "plugins" not in document:
        document.add("plugins", tomlkit.table())
    table: Any = document["plugins"]
    if key not in table:
        if wanted:
            table[key] = wanted
        return
    array = table[key]
    for entry in [entry for entry in array if entry not in wanted]:
        array.remove(entry)
    for entry in wanted:
        if entry not in array:
            array.append(entry)
