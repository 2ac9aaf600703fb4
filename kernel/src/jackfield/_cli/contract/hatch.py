"""The build hook for hatchling: it writes the contract of a distribution's plugins into its wheel.

Only hatchling imports this module, in the build of a project that names it:

    [build-system]
    requires = ["hatchling", "jackfield>=0.1,<0.2"]

    [tool.hatch.build.targets.wheel.hooks.jackfield]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, cast

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilder, WheelBuilderConfig
from hatchling.plugin import hookimpl

from jackfield._cli.contract.metadata import FILE

EDITABLE: Final = "editable"
"""hatchling's name for a wheel that points to the sources; what these say changes, so it carries no contract."""


class ContractHook(BuildHookInterface[WheelBuilderConfig]):
    """Loads the plugins as the wheel will have them, and adds their contract to its metadata.

    In the hook's table `settings` holds what the plugins need for being loaded, as `[plugins]` of a server's
    configuration does: a table for each plugin.
    """

    PLUGIN_NAME = "jackfield"

    def dependencies(self) -> list[str]:
        """Return what has to be there for the plugins to be loaded."""
        return list(self.metadata.core.dependencies)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compute the contract; an editable wheel gets none.

        Raises:
            SystemExit: A plugin cannot be loaded, or the project has none; hatchling ends with the message.
        """
        if version == EDITABLE or self.target_name != "wheel":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="jackfield-build-", ignore_cleanup_errors=True)
        stage = Path(self._folder.name)
        file = stage / FILE
        try:
            self._lay_out(stage / "wheel", build_data)
            file.write_text(_contract(stage / "wheel", stage, self.config.get("settings", {})), encoding="utf-8")
        except BaseException:
            self._folder.cleanup()
            raise
        build_data["extra_metadata"][str(file)] = FILE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was needed for the build."""
        del build_data, artifact_path
        if version != EDITABLE and self.target_name == "wheel":
            self._folder.cleanup()

    def _lay_out(self, folder: Path, build_data: dict[str, Any]) -> None:
        """Write what the wheel will hold into a folder, as an installer would."""
        builder = cast(WheelBuilder, self.build_config.builder)
        with self.build_config.set_build_data(build_data):
            for file in builder.recurse_included_files():
                target = folder / file.distribution_path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.path, target)
        info = folder / f"{builder.project_id}.dist-info"
        info.mkdir(parents=True)
        described = self.build_config.core_metadata_constructor(self.metadata)
        (info / "METADATA").write_text(described, encoding="utf-8")
        (info / "entry_points.txt").write_text(builder.construct_entry_points_file(), encoding="utf-8")


def _contract(folder: Path, scratch: Path, settings: dict[str, Any]) -> str:
    """Return the text of the contract of the plugins in a folder.

    Args:
        folder: What the wheel will hold.
        scratch: Where files may be written.
        settings: The tables of the plugins.

    Raises:
        SystemExit: There is no plugin, or one cannot be loaded.
    """
    from jackfield import _manifest
    from jackfield._cli import inspection, toml
    from jackfield._cli.contract import reading
    from jackfield._cli.contract.document import Document
    from jackfield._configuration import load
    from jackfield._errors import StartError

    found = _manifest.discover([str(folder)])
    if not found:
        sys.exit("the build hook of jackfield: this project has no entry point in the group jackfield.plugins")
    config = scratch / "jackfield.toml"
    config.write_text("\n".join("\n".join(block) for block in toml.tables({"plugins": settings})), encoding="utf-8")
    try:
        seen = inspection.inspect(load(config, environ={}), config, found=found, aside=folder)
    except StartError as error:
        sys.exit(f"the build hook of jackfield: {'; '.join(error.faults)}")
    faults = [*seen.faults, *(_fault(one.name, one.reason, one.hint) for one in seen.plugins if one.state != "loaded")]
    if faults:
        sys.exit("\n".join(f"the build hook of jackfield: {fault}" for fault in faults))
    return Document(plugins=tuple(reading.described(one.manifest, seen.functions) for one in found)).to_json()


def _fault(name: str, reason: str | None, hint: str | None) -> str:
    said = f"the plugin {name} cannot be loaded, so nobody knows its contract: {reason}"
    return f"{said} ({hint})" if hint else said


@hookimpl
def hatch_register_build_hook() -> type[ContractHook]:
    """Tell hatchling of the hook."""
    return ContractHook
