"""Where Redis is: addresses of a server, also behind TLS or a Unix socket, and of Sentinels that know which it is."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, SecretStr
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

_VALKEY: Final = {"valkey": "redis", "valkeys": "rediss", "valkey+sentinel": "redis+sentinel"}
"""Schemes under which Valkey is the same as Redis."""
_SENTINEL: Final = {"redis+sentinel": False, "rediss+sentinel": True}
"""Schemes of Sentinels, and whether the server is behind TLS."""
_SENTINEL_PORT: Final = 26379


def check_url(url: SecretStr) -> SecretStr:
    """Return an address of Redis.

    Raises:
        ValueError: It is none; the message has nothing of it.
    """
    try:
        _parse(url.get_secret_value())
    except ValueError:
        # Without its text, which may have a part of the password.
        raise ValueError(
            "it is no address of Redis, such as redis://:password@host:6379/0, rediss:// for TLS, unix:///path, or"
            " redis+sentinel://:password@host:26379,host:26379/0/name"
        ) from None
    return url


RedisUrl: TypeAlias = Annotated[SecretStr, AfterValidator(check_url)]
"""An address of Redis in settings. It may have a password, so it is a secret."""


def open_redis(url: str, timeout: float) -> Redis:
    """Return a client that tries every command once, on connections that it opens when they are needed.

    Args:
        url: Where Redis is; see `RedisUrl`.
        timeout: Seconds that Redis has for an answer, and for a connection.

    Raises:
        ValueError: It is no such address.
    """
    found = _parse(url)
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # whatever redis-py's default is: replies look different with 3
    }
    if isinstance(found, str):
        return Redis.from_url(found, **options)
    options |= {"db": found.database, "username": found.username, "password": found.password, "ssl": found.tls}
    patience = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "retry")}
    sentinel = Sentinel(found.hosts, sentinel_kwargs=patience)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(found.service, redis_class=_Named, **options)
    return client


class _Named(Redis):
    """The server that Sentinels name."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections to the Sentinels too, which redis-py would leave open."""
        await super().aclose(close_connection_pool)
        if isinstance(self.connection_pool, SentinelConnectionPool):
            for one in self.connection_pool.sentinel_manager.sentinels:
                await one.aclose()


class _Sentinels:
    """What an address of Sentinels says."""

    def __init__(self, parts: SplitResult) -> None:
        database, _, self.service = parts.path.strip("/").partition("/")
        if not self.service or not database.isdecimal():
            raise ValueError("it needs the number of the database and the name of the service")
        self.database = int(database)
        self.tls = _SENTINEL[parts.scheme]
        who, _, hosts = parts.netloc.rpartition("@")
        username, _, password = who.partition(":")
        self.username = unquote(username) or None
        self.password = unquote(password) or None
        self.hosts = [_host(host) for host in hosts.split(",")]


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a Sentinel has no host")
    return parts.hostname, parts.port or _SENTINEL_PORT


def _parse(url: str) -> str | _Sentinels:
    """Return an address that redis-py takes, or those of the Sentinels.

    Raises:
        ValueError: It is neither.
    """
    scheme, colon, rest = url.partition("://")
    url = f"{_VALKEY.get(scheme, scheme)}{colon}{rest}"
    parts = urlsplit(url)
    if parts.scheme in _SENTINEL:
        return _Sentinels(parts)
    ConnectionPool.from_url(url)
    return url
