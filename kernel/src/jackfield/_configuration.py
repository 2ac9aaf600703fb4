"""Reading the configuration: `jackfield.toml`, under `JACKFIELD_…` variables, under command-line flags.

An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError

from jackfield._errors import StartError
from jackfield._settings import PREFIX, PluginSettings, Settings

if TYPE_CHECKING:
    from pydantic_settings import EnvSettingsSource

DEFAULT_FILE: Final = "jackfield.toml"
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"
SECRETS_VARIABLE: Final = f"{PREFIX}SECRETS_DIR"
TOKEN_VARIABLE: Final = f"{PREFIX}TOKEN"
"""Who a command is, for servers that ask; no setting."""
_OWN_VARIABLES: Final = frozenset({CONFIG_VARIABLE, SECRETS_VARIABLE, TOKEN_VARIABLE, f"{PREFIX}WORKERS"})
_SHAPES: Final = {"tuple_type": "list", "list_type": "list", "dict_type": "table", "model_type": "table"}
"""What TOML calls what pydantic wants, by the type of its fault."""


def load(
    file: Path | None = None,
    flags: Mapping[str, Mapping[str, object]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the configuration.

    Args:
        file: The TOML file; without one the variable JACKFIELD_CONFIG, then `jackfield.toml` where the process runs.
        flags: Values from the command line, by table; None values are left out.
        environ: The environment variables; those of the process if left out.

    Raises:
        StartError: A file that cannot be read, an unknown key, a value that does not fit; all of them at once.
    """
    environ = os.environ if environ is None else environ
    found = _find(file, environ)
    merged: dict[str, Any] = _read(found) if found else {}
    faults = [
        sentence
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in _OWN_VARIABLES and (sentence := _unknown_variable(name))
    ]
    given = {table: {k: v for k, v in values.items() if v is not None} for table, values in (flags or {}).items()}
    for layer in (secrets(environ), variables(environ), given):
        _merge(merged, layer)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        faults += [fault + _source(fault, environ, found) for fault in explain(error, Settings)]
        raise StartError(faults) from None
    if faults:
        raise StartError(faults)
    return settings.read_from(found)


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield one sentence for each fault of a configuration, with the full key and, if it is unknown, the nearest.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        prefix: The table that the model is, such as `plugins.demo`.
    """
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        path = [str(part) for part in fault["loc"]]
        key = ".".join([*([prefix] if prefix else []), *path])
        if fault["type"] == "extra_forbidden" or (model is Settings and _stray(path)):
            yield unknown_key(key, list(_fields(model, path[:-1])))
        else:
            wanted = _SHAPES.get(fault["type"])
            yield f"{key}: {f'Input should be a {wanted}' if wanted else fault['msg'].removeprefix('Value error, ')}"


def unknown_key(key: str, known: list[str]) -> str:
    """Return the sentence for an unknown key, naming the nearest of those that are known beside it."""
    table, _, last = key.rpartition(".")
    nearest = difflib.get_close_matches(last, known, n=1)
    if nearest:
        return f"{key}: there is no such key; did you mean {f'{table}.' if table else ''}{nearest[0]}?"
    return f"{key}: there is no such key; there are {', '.join(known) or 'none'}"


def _stray(path: list[str]) -> bool:
    """Tell whether the key is a plain value in `[plugins]` that is neither a setting nor a plugin's table."""
    return len(path) == 2 and path[0] == "plugins" and path[1] not in PluginSettings.model_fields


def _fields(model: type[BaseModel], path: list[str]) -> Iterator[str]:
    """Yield the keys that are known below a path, which may lead through lists, unions and tables of models."""
    found, held = [model], False
    for part in path:
        if infos := [one.model_fields[part] for one in found if part in one.model_fields]:
            found = [inner for info in infos for inner in models_in(info.annotation)]
            held = any(get_args(info.annotation) for info in infos)
        elif not held:  # else it is the number of an item, the key of an entry or the name of a choice
            return
    yield from dict.fromkeys(name for one in found for name in one.model_fields)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, in lists, unions and tables too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _source(fault: str, environ: Mapping[str, str], file: Path | None) -> str:
    """Return where the value with a fault came from, in parentheses; a variable wins over the file."""
    key = fault.partition(":")[0].split(".")
    for length in range(len(key), 0, -1):
        variable = PREFIX + "__".join(key[:length]).upper()
        if variable in environ:
            return f" ({variable})"
    return f" ({file})" if file else ""


def _find(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is None and (named := environ.get(CONFIG_VARIABLE)):
        file = Path(named)
    if file is not None:
        return file
    return default if (default := Path(DEFAULT_FILE)).is_file() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError([f"{file} cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartError([f"{file} is not valid TOML: {error}"]) from None


def variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the variables say, by table."""
    merged: dict[str, Any] = {}
    faults = []
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name in _OWN_VARIABLES or _unknown_variable(name) is not None:
            continue
        source = _reader()
        source.env_vars = {name.lower(): value}
        try:
            _merge(merged, source())
        except ValueError:  # pydantic-settings reads a list or a table as JSON
            faults.append(f"""{name}: a list is written as JSON, such as '["one", "two"]'""")
    if faults:
        raise StartError(faults)
    return merged


def secrets(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the files in the folder of secrets say, by table."""
    folder = environ.get(SECRETS_VARIABLE)
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise StartError([f"{SECRETS_VARIABLE}: {folder} is no folder"])
    from pydantic_settings import NestedSecretsSettingsSource  # noqa: PLC0415 - as below

    return NestedSecretsSettingsSource(_reader(), secrets_dir=folder, secrets_prefix=PREFIX.lower())()


def _reader() -> EnvSettingsSource:
    # Here, since most have neither variables nor secrets, and it takes a tenth of the time of a start.
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict  # noqa: PLC0415

    class Sourced(BaseSettings, Settings):
        model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", defer_build=True)

    return EnvSettingsSource(Sourced)


def _unknown_variable(name: str) -> str | None:
    """Return the sentence for a variable that names no setting, or None."""
    path = name.removeprefix(PREFIX).lower().split("__")
    if path[0] == "plugins" and len(path) > 2:
        return None  # the plugin's own model will say
    known = list(_fields(Settings, path[:-1]))
    if path[-1] in known:
        return None
    choices = [
        f"{PREFIX}{table}__{field}".upper() for table in Settings.model_fields for field in _fields(Settings, [table])
    ]
    nearest = difflib.get_close_matches(name, choices, n=1)
    return f"{name}: there is no such setting" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            into[key] = below if isinstance(below := into.get(key), dict) else {}
            _merge(into[key], value)
            continue
        into[key] = value
        if isinstance(value, str) and value.startswith("["):  # a plugin's list, which no model has read yet
            with suppress(ValueError):
                into[key] = json.loads(value)
