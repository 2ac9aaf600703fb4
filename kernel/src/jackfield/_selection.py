"""Which plugins may be loaded, as their manifests and the configuration say; nothing of them is imported for it."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from jackfield import _integrity
from jackfield._configuration import unknown_key
from jackfield._errors import PluginError
from jackfield._manifest import Found, Manifest
from jackfield._plugins import NOT_LISTED, Plugin, State
from jackfield._settings import PluginSettings


def select(found: Sequence[Found], settings: PluginSettings, kernel_version: str) -> tuple[list[Plugin], list[str]]:
    """Decide which plugins may be loaded, from their manifests alone.

    Returns:
        All plugins, and the faults with which no server may start: the configuration names a plugin that is not
        installed, or two plugins that may be loaded have one name or one namespace.
    """
    plugins = []
    for one in found:
        plugin = Plugin(one.manifest)
        plugins.append(plugin)
        if named(one.manifest, settings.disabled):
            plugin.state = State.DISABLED
        elif settings.policy == "listed" and not named(one.manifest, settings.enabled):
            plugin.refuse(
                PluginError("it is not on the list", kind=NOT_LISTED, hint=f"jackfield plugins enable {plugin.name}")
            )
        elif one.fault is not None:
            plugin.refuse(PluginError(one.fault, kind="ManifestError"))
        elif incompatible := _incompatible(one.manifest, kernel_version):
            plugin.refuse(PluginError(incompatible, kind="IncompatibleKernel"))
        elif settings.verify and (tampered := _integrity.fault_of(one.manifest.distribution, one.manifest.module)):
            hint = f"pip install --force-reinstall --no-deps {one.manifest.distribution}"
            plugin.refuse(PluginError(tampered, kind="Tampered", hint=hint))
    faults = [*_missing(plugins, settings), *_duplicates([p for p in plugins if p.state is State.DISCOVERED])]
    return plugins, faults


def named(manifest: Manifest, names: Iterable[str]) -> bool:
    """Tell whether one of the names is the plugin's; a name may have the distribution before it."""
    return any(name in (manifest.name, manifest.qualified) for name in names)


def _incompatible(manifest: Manifest, kernel_version: str) -> str | None:
    try:
        if SpecifierSet(manifest.requires_kernel).contains(kernel_version, prereleases=True):
            return None
    except InvalidSpecifier:
        return f"its requirement on jackfield cannot be read: {manifest.requires_kernel!r}"
    return f"it needs jackfield {manifest.requires_kernel}, this is {kernel_version}"


def _missing(plugins: Sequence[Plugin], settings: PluginSettings) -> list[str]:
    installed = sorted({plugin.name for plugin in plugins})
    faults = []
    for key, name in [(k, name) for k in ("enabled", "required") for name in getattr(settings, k)]:
        if not any(named(plugin.manifest, [name]) for plugin in plugins):
            nearest = difflib.get_close_matches(name, installed, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            faults.append(f"plugins.{key}: no plugin {name!r} is installed{hint}")
    faults += [unknown_key(f"plugins.{table}", installed) for table in settings.tables if table not in installed]
    return faults


def _duplicates(plugins: Sequence[Plugin]) -> list[str]:
    by_name: dict[str, list[Plugin]] = defaultdict(list)
    by_namespace: dict[str, list[Plugin]] = defaultdict(list)
    for plugin in plugins:
        by_name[plugin.name].append(plugin)
        for namespace in plugin.manifest.namespaces:
            by_namespace[namespace].append(plugin)
    return [
        f"two plugins claim the {what} {claimed!r}: {' and '.join(p.manifest.qualified for p in claimants)}; "
        f'put one of them into plugins.disabled, such as disabled = ["{claimants[-1].manifest.qualified}"]'
        for what, claims in (("name", by_name), ("namespace", by_namespace))
        for claimed, claimants in claims.items()
        if len(claimants) > 1
    ]
