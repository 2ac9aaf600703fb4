"""Load one plugin and write down what came of it: the child process of `inspection`.

Whatever the plugin does to this process, such as ending it, it does to this process alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jackfield import _manifest
from jackfield._configuration import load
from jackfield._plugins import Plugin, State, load_all
from jackfield._registry import Registry


def main() -> None:
    """Read the request from standard input, load the plugin, and write the result to the file that it names."""
    request = json.load(sys.stdin)
    sys.path[:] = request["path"]
    config = request["config"]
    # Whoever builds a wheel has variables of their own, which are none of the plugin's.
    environ: Mapping[str, str] | None = None if request["variables"] else {}
    answer = _load(request["plugin"], Path(config) if config else None, environ)
    result = Path(request["result"])
    unfinished = result.with_suffix(".part")
    unfinished.write_text(json.dumps(answer, default=str), encoding="utf-8")
    unfinished.replace(result)
    # Neither a thread nor an exit handler of the plugin keeps this process alive.
    sys.stdout.flush()
    os._exit(0)


def _load(qualified: str, config: Path | None, environ: Mapping[str, str] | None) -> dict[str, Any]:
    plugin = next(Plugin(one.manifest) for one in _manifest.discover() if one.manifest.qualified == qualified)
    load_all([plugin], load(config, environ=environ))
    return {
        "plugin": asdict(plugin.info),
        "settings": _settings(plugin),
        "authenticates": plugin.hooks.authenticates,
        "functions": [asdict(entry.info) for entry in Registry([plugin]).table.values()],
    }


def _settings(plugin: Plugin) -> dict[str, Any] | None:
    """Return the JSON Schema of the plugin's settings, which says what is a secret, and the settings in force."""
    try:
        model = plugin.hooks.settings_model()
        if model is None and plugin.state is not State.LOADED:
            return None
        schema = model.model_json_schema() if model is not None else {}
        values = plugin.settings.model_dump(mode="json", by_alias=True) if plugin.settings is not None else None
    except Exception:  # noqa: BLE001 - a plugin may raise anything, and a model need not have a schema
        return None
    return {"schema": schema, "values": values}


if __name__ == "__main__":
    main()
