"""What can be configured. Every setting has a default that is safe.

The settings of plugins are kept as they come; each plugin's own model checks them when it is loaded.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    field_validator,
    model_validator,
)

from jackfield._codec import Bounds
from jackfield._service import read_scopes

PREFIX: Final = "JACKFIELD_"
RESERVED_NAMES: Final = frozenset({"policy", "enabled", "disabled", "required", "strict", "verify"})
"""Keys of the table `[plugins]`, which therefore name no plugin."""
UNIX: Final = "unix"
"""What stands for the clients of a Unix socket, which have no address."""
_HOST_AND_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]*)):(\d{1,5})", re.ASCII)

Seconds: TypeAlias = Annotated[float, Field(gt=0)]
Bytes: TypeAlias = Annotated[int, Field(gt=0)]
Count: TypeAlias = Annotated[int, Field(gt=0)]
Off: TypeAlias = Annotated[int, Field(ge=0)]
OffSeconds: TypeAlias = Annotated[float, Field(ge=0)]
File: TypeAlias = Annotated[Path | None, BeforeValidator(lambda value: value or None)]  # TOML has no null


def _listed(value: object) -> object:
    """Take one where a list is meant."""
    return [value] if isinstance(value, str) else value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Table):
    """`[server]`: where the server listens, and to whom."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 or :: for all.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    unix: File = Field(None, description="Unix socket to listen on, in the place of host and port.")
    admin: str = Field(
        "",
        description="Address and port of the operator's own listener, such as 127.0.0.1:9000, [::1]:9000, or :9000 for "
        "all addresses; none if empty.",
    )
    tls_certificate: File = Field(None, description="PEM file of the certificate and its chain; serves TLS.")
    tls_key: File = Field(None, description="PEM file of the certificate's key, where it is a file of its own.")
    path: str = Field("/socket.io", description="Path of the Socket.IO endpoint.")
    websocket: Literal["auto", "picows", "asgi"] = Field(
        "auto", description="Carrier of websockets: picows is the fast one, auto takes it where it is installed."
    )
    hosts: tuple[str, ...] = Field(
        (), description="Names under which clients ask the server, as in their Host header; any if empty."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses and networks of proxies that are believed where clients are; unix for a Unix socket.",
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
    drain_timeout: OffSeconds = Field(
        20.0, description="Seconds that running calls have to end when the server is told to stop."
    )

    @model_validator(mode="after")
    def _key_has_certificate(self) -> ServerSettings:
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key needs tls_certificate")
        return self

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/\s*]+", origin):
                raise ValueError(
                    f"an origin is written as https://example.com, without a path, or is *; not {origin!r}"
                )
        return value

    @field_validator("hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", host):
                raise ValueError(f"a host is a name or an address, with a port or without; not {host!r}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            if proxy != UNIX:
                ip_network(proxy)
        return value

    @field_validator("admin")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        found = _HOST_AND_PORT.fullmatch(value)
        if value and (found is None or int(found[3]) > 65535):
            raise ValueError("an address and a port are needed, such as 127.0.0.1:9000, [::1]:9000 or :9000")
        return value

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Address, empty for all, and port of the admin listener, if there is to be one."""
        found = _HOST_AND_PORT.fullmatch(self.admin)
        return None if found is None else (found[1] or found[2], int(found[3]))

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
    message_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Messages of one connection in a second, five times as many at once; 0 for no limit."
    )
    byte_rate: Annotated[int, Field(ge=0)] = Field(
        0, description="Bytes of one connection's messages in a second, five times as many at once; 0 for no limit."
    )
    batch: Count = Field(50, description="Envelopes in a batch.")
    calls: Count = Field(64, description="Calls in flight of one connection.")
    cancels: Count = Field(100, description="Calls and streams that one connection may cancel in a second.")
    streams: Count = Field(100, description="Open streams of one connection.")
    stream_buffer: Bytes = Field(
        16 * 1024 * 1024, description="Bytes of items that a client may send ahead, over all streams of its connection."
    )
    stream_idle: Seconds = Field(60.0, description="Seconds that a stream may wait for its client.")
    call_timeout: Seconds = Field(30.0, description="Seconds that a call has when nobody says otherwise.")
    max_timeout: Seconds = Field(3600.0, description="Seconds that a call has at the most, whoever says otherwise.")
    invoke_depth: Count = Field(16, description="Calls inside one another, by call.invoke.")
    requests: Count = Field(100, description="Requests to one client (call.client.request) that wait for its answer.")
    threads: Count = Field(8, description="Worker threads of one plugin, for its plain functions.")
    auth_size: Bytes = Field(16 * 1024, description="Bytes of the CONNECT packet, before anybody knows who it is.")
    auth_timeout: Seconds = Field(5.0, description="Seconds that authentication may take.")
    connections: Off = Field(0, description="Connections of all clients; 0 for no limit.")
    connections_per_address: Off = Field(
        0, description="Connections from one address, of IPv6 from one /64 network; 0 for no limit."
    )
    connections_per_principal: Off = Field(0, description="Connections of one principal; 0 for no limit.")
    connects: OffSeconds = Field(0.0, description="New connections of all clients in a second; 0 for no limit.")
    loop_lag: OffSeconds = Field(0.25, description="Seconds by which the event loop may be late for a while; 0: any.")
    memory: Off = Field(0, description="Bytes of memory of the process, of which it may use 80 %; 0: any.")
    pending: Count = Field(1000, description="Clients that have not said CONNECT yet.")
    buffers_timeout: Seconds = Field(10.0, description="Seconds that the Buffers of a message have to follow it.")
    connect_timeout: Seconds = Field(10.0, description="Seconds that a client has to say CONNECT.")

    @model_validator(mode="after")
    def _holds_an_item(self) -> Limits:
        if self.stream_buffer < self.message_size:
            raise ValueError("stream_buffer must be at least message_size, which is what one item may have")
        return self

    @property
    def bounds(self) -> Bounds:
        """The limits that the codec applies while it unpacks."""
        return Bounds(self.unpacked_size, self.unpack_ratio, self.depth)


class AccessRule(_Table):
    """`[[access.rules]]`: who may call some functions, whatever their authors say."""

    functions: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="Patterns of functions, such as api.files.*; a * stands for dots too."
    )
    requires: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(read_scopes)] = Field(
        (), description="Scopes that a caller needs, all of them; none: everybody who is known."
    )
    deny: bool = Field(False, description="Whether nobody may call them.")
    visible: bool = Field(
        False, description="Whether callers who may not are told permission_denied, in the place of not_found."
    )


class AccessSettings(_Table):
    """`[access]`: who may call what, once a plugin says who is calling; of several rules the first that matches."""

    rules: tuple[AccessRule, ...] = Field((), description="The rules.")


class QuarantineSettings(_Table):
    """`[quarantine]`: when a plugin is taken out of service while the server runs, and when it is tried again."""

    failures: Annotated[int, Field(ge=0)] = Field(
        10, description="Calls that fail by the plugin's fault, or run out of time, within the window; 0: never."
    )
    ratio: float = Field(0.5, gt=0, le=1, description="The least part of the plugin's calls that these are.")
    blocked: OffSeconds = Field(
        1.0, description="Seconds within the window for which the plugin has held the event loop; 0: never."
    )
    window: Seconds = Field(30.0, description="Seconds of the window.")
    retry: Seconds = Field(5.0, description="Seconds until the first trial call; doubled after each trial that fails.")
    max_retry: Seconds = Field(300.0, description="Seconds between two trials at the most.")
    trials: Count = Field(3, description="Calls that have to go well, one after the other, to let it back in.")


class BulkheadRule(_Table):
    """`[[bulkhead.rules]]`: how many calls of some functions run at once; of several the first that matches."""

    functions: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="Patterns of functions, such as api.reports.*; each function counts for itself."
    )
    calls: Count = Field(description="Calls of one function, streams among them, that run at once.")
    queue: Annotated[int, Field(ge=0)] = Field(0, description="Calls that may wait for one of these to end.")


class BulkheadSettings(_Table):
    """`[bulkhead]`: how many calls run at once, so that one plugin does not take what all need."""

    plugin_calls: Count = Field(1000, description="Calls of one plugin, without streams, that run at once.")
    plugin_queue: Annotated[int, Field(ge=0)] = Field(
        1000, description="Calls of one plugin that may wait for one of these to end."
    )
    rules: tuple[BulkheadRule, ...] = Field((), description="Limits of single functions.")


class PluginSettings(BaseModel):
    """`[plugins]`: which plugins are in service; `[plugins.<name>]` is a plugin's own table."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, dict[str, JsonValue]]

    policy: Literal["all", "listed"] = Field("all", description="Whether plugins must be listed in `enabled`.")
    enabled: tuple[str, ...] = Field((), description="Plugins in service: names, or distribution:name.")
    disabled: tuple[str, ...] = Field((), description="Plugins not in service; wins over `enabled`.")
    required: tuple[str, ...] = Field(
        (), description="Plugins that must be in service for the server to start and to be ready; as in `enabled`."
    )
    strict: bool = Field(False, description="Whether a plugin with a fault keeps the server from starting.")
    verify: bool = Field(
        False, description="Whether the files of a plugin must be those that were installed, by its RECORD."
    )

    @property
    def tables(self) -> dict[str, dict[str, JsonValue]]:
        """The plugins' own tables, by name."""
        return self.__pydantic_extra__ or {}


class WatchdogSettings(_Table):
    """`[watchdog]`: what happens when the event loop is held."""

    threshold: OffSeconds = Field(0.1, description="Seconds that the loop may be late before one looks why; 0: never.")
    interrupt: OffSeconds = Field(5.0, description="Seconds after which a plugin's code is interrupted; 0: never.")
    exit_after: OffSeconds = Field(0.0, description="Seconds after which the process ends with status 70; 0: never.")


class LogSettings(_Table):
    """`[log]`: what the server writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")
    format: Literal["console", "json", "auto"] = Field(
        "console", description="For people, or a line of JSON each; auto: for people on a terminal, else JSON."
    )


class Settings(_Table):
    """The whole configuration, frozen."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    limits: Limits = Field(default_factory=Limits)
    plugins: PluginSettings = Field(default_factory=PluginSettings)
    access: AccessSettings = Field(default_factory=AccessSettings)
    quarantine: QuarantineSettings = Field(default_factory=QuarantineSettings)
    bulkhead: BulkheadSettings = Field(default_factory=BulkheadSettings)
    watchdog: WatchdogSettings = Field(default_factory=WatchdogSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The configuration file that was read, if there was one."""
        return self._file

    def read_from(self, file: Path | None) -> Settings:
        """Take note of the file, and return the settings."""
        self._file = file
        return self
