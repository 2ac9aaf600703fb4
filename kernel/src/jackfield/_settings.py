"""The configuration: `jackfield.toml`, under `JACKFIELD_…` variables, under command-line flags.

Every setting has a default that is safe. An unknown key is an error that names the nearest known one. The
settings of plugins are kept as they come; each plugin's own model checks them when it is loaded.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from jackfield._codec import Bounds
from jackfield._errors import StartError

PREFIX: Final = "JACKFIELD_"
DEFAULT_FILE: Final = "jackfield.toml"
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"
SECRETS_VARIABLE: Final = f"{PREFIX}SECRETS_DIR"
_OWN_VARIABLES: Final = frozenset({CONFIG_VARIABLE, SECRETS_VARIABLE})
RESERVED_NAMES: Final = frozenset({"policy", "enabled", "disabled", "strict"})
"""Keys of the table `[plugins]`, which therefore name no plugin."""

Seconds: TypeAlias = Annotated[float, Field(gt=0)]
Bytes: TypeAlias = Annotated[int, Field(gt=0)]
Count: TypeAlias = Annotated[int, Field(gt=0)]
File: TypeAlias = Annotated[Path | None, BeforeValidator(lambda value: value or None)]  # TOML has no null


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Table):
    """`[server]`: where the server listens, and to whom."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 or :: for all.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    unix: File = Field(None, description="Unix socket to listen on, in the place of host and port.")
    tls_certificate: File = Field(None, description="PEM file of the certificate and its chain; serves TLS.")
    tls_key: File = Field(None, description="PEM file of the certificate's key, where it is a file of its own.")
    path: str = Field("/socket.io", description="Path of the Socket.IO endpoint.")
    websocket: Literal["auto", "picows", "asgi"] = Field(
        "auto", description="Carrier of websockets: picows is the fast one, auto takes it where it is installed."
    )
    transports: tuple[Literal["polling", "websocket"], ...] = Field(
        ("polling", "websocket"), min_length=1, description="Carriers that clients may use."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins of the browser pages that may connect; '*' for any. Programs without a page need none."
    )
    ping_interval: Seconds = Field(25.0, description="Seconds between two pings to a client.")
    ping_timeout: Seconds = Field(20.0, description="Seconds that a client has to answer a ping.")
    start_timeout: Seconds = Field(10.0, description="Seconds for a plugin's import, and again for its start.")
    stop_timeout: Seconds = Field(5.0, description="Seconds for a plugin to stop.")
    drain_timeout: Annotated[float, Field(ge=0)] = Field(
        20.0, description="Seconds that running calls have to end when the server is told to stop."
    )

    @model_validator(mode="after")
    def _key_has_certificate(self) -> ServerSettings:
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key needs tls_certificate")
        return self

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", value):
            raise ValueError("a path begins with / and has letters, digits and . _ ~ - only")
        return value.rstrip("/")


class Limits(_Table):
    """`[limits]`: what one client may ask for."""

    message_size: Bytes = Field(1_000_000, description="Bytes of one message from a client.")
    fragments: Count = Field(1024, description="Frames of one message.")
    header_size: Bytes = Field(64 * 1024, description="Bytes of the head of an HTTP request.")
    headers: Count = Field(100, description="Headers of an HTTP request.")
    request_timeout: Seconds = Field(
        10.0,
        description="Seconds for the head of an HTTP request, and for its body before it must bring 1 kB a second.",
    )
    backlog: Bytes = Field(1024 * 1024, description="Bytes that may wait for a client which does not read.")
    backlog_timeout: Seconds = Field(20.0, description="Seconds that a client may be behind with reading.")
    unpacked_size: Bytes = Field(4 * 1024 * 1024, description="Bytes that `data` or an envelope may unpack to.")
    unpack_ratio: Count = Field(100, description="Unpacked bytes per packed byte, past the first 64 KiB unpacked.")
    depth: int = Field(64, gt=0, le=128, description="Arrays and objects inside one another.")
    batch: Count = Field(50, description="Envelopes in a batch.")
    calls: Count = Field(64, description="Calls in flight of one connection.")
    call_timeout: Seconds = Field(30.0, description="Seconds that a call has when nobody says otherwise.")
    max_timeout: Seconds = Field(3600.0, description="Seconds that a call has at the most, whoever says otherwise.")
    invoke_depth: Count = Field(16, description="Calls inside one another, by call.invoke.")
    requests: Count = Field(100, description="Requests to one client (call.client.request) that wait for its answer.")
    threads: Count = Field(8, description="Worker threads of one plugin, for its plain functions.")
    auth_size: Bytes = Field(16 * 1024, description="Bytes of the CONNECT packet, before anybody knows who it is.")
    auth_timeout: Seconds = Field(5.0, description="Seconds that authentication may take.")
    pending: Count = Field(1000, description="Clients that have not said CONNECT yet.")
    buffers_timeout: Seconds = Field(10.0, description="Seconds that the Buffers of a message have to follow it.")
    connect_timeout: Seconds = Field(10.0, description="Seconds that a client has to say CONNECT.")

    @property
    def bounds(self) -> Bounds:
        """The limits that the codec applies while it unpacks."""
        return Bounds(self.unpacked_size, self.unpack_ratio, self.depth)


class PluginSettings(BaseModel):
    """`[plugins]`: which plugins are in service; `[plugins.<name>]` is a plugin's own table."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, dict[str, JsonValue]]

    policy: Literal["all", "listed"] = Field("all", description="Whether plugins must be listed in `enabled`.")
    enabled: tuple[str, ...] = Field((), description="Plugins in service: names, or distribution:name.")
    disabled: tuple[str, ...] = Field((), description="Plugins not in service; wins over `enabled`.")
    strict: bool = Field(False, description="Whether a plugin with a fault keeps the server from starting.")

    @property
    def tables(self) -> dict[str, dict[str, JsonValue]]:
        """The plugins' own tables, by name."""
        return self.__pydantic_extra__ or {}


class LogSettings(_Table):
    """`[log]`: what the server writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")


class Settings(BaseSettings):
    """The whole configuration, frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    server: ServerSettings = Field(default_factory=ServerSettings)
    limits: Limits = Field(default_factory=Limits)
    plugins: PluginSettings = Field(default_factory=PluginSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The configuration file that was read, if there was one."""
        return self._file

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags and file come merged from `load`, variables between them."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


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
    for layer in (_secrets(environ), _variables(environ), _without_none(flags or {})):
        _merge(merged, layer)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        faults += [fault + _source(fault, environ, found) for fault in explain(error, Settings)]
        raise StartError(faults) from None
    if faults:
        raise StartError(faults)
    settings._file = found
    return settings


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
            yield f"{key}: {fault['msg']}"


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
    for part in path:
        info = model.model_fields.get(part)
        if info is None or not (isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)):
            return
        model = info.annotation
    yield from model.model_fields


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


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIX) and _unknown_variable(name) is None and name not in _OWN_VARIABLES
    }
    merged: dict[str, Any] = {}
    faults = []
    for name, value in known.items():
        source = EnvSettingsSource(Settings)
        source.env_vars = {name.lower(): value}
        try:
            _merge(merged, source())
        except ValueError:  # pydantic-settings reads a list or a table as JSON
            faults.append(f"""{name}: a list is written as JSON, such as '["one", "two"]'""")
    if faults:
        raise StartError(faults)
    return merged


def _secrets(environ: Mapping[str, str]) -> dict[str, Any]:
    folder = environ.get(SECRETS_VARIABLE)
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise StartError([f"{SECRETS_VARIABLE}: {folder} is no folder"])
    source = NestedSecretsSettingsSource(EnvSettingsSource(Settings), secrets_dir=folder, secrets_prefix=PREFIX.lower())
    return source()


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


def _without_none(flags: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    return {table: {k: v for k, v in values.items() if v is not None} for table, values in flags.items()}


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
