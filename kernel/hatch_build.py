"""Puts the template of `jackfield new` into the wheel; it stands beside the kernel, in contrib/."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TEMPLATE: Final = "cookiecutter-jackfield-plugin"


class TemplateHook(BuildHookInterface[BuilderConfig]):
    """Adds the template to what is built; an editable wheel needs no copy of it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add it, from the repository or, where a wheel is built from an sdist, from there."""
        if version == "editable":
            return
        outside, inside = Path(self.root).parent / "contrib" / _TEMPLATE, Path(self.root) / _TEMPLATE
        source = outside if outside.is_dir() else inside
        build_data["force_include"][str(source)] = _TEMPLATE if self.target_name == "sdist" else "jackfield/_template"
