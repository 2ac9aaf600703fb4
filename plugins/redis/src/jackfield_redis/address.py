"""Where Redis is: addresses of a server, also behind TLS or a Unix socket, and of Sentinels that know which it is."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlencode, urlsplit

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

_VALKEY: Final = {
    "valkey": "redis",
    "valkeys": "rediss",
    "valkey+sentinel": "redis+sentinel",
    "valkeys+sentinel": "rediss+sentinel",
}
"""Schemes under which Valkey is the same as Redis."""
_SENTINEL: Final = {"redis+sentinel": False, "rediss+sentinel": True}
"""Schemes of Sentinels, and whether they and the server are behind TLS."""
_SENTINEL_PORT: Final = 26379
_OF_SENTINELS: Final = {"sentinel_username": "username", "sentinel_password": "password"}
"""Options of an address that are for the Sentinels alone, and what redis-py calls them."""


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


def open_redis(url: str, timeout: float, connections: int | None = None) -> Redis:
    """Return a client that tries every command once, on connections that it opens when they are needed.

    Args:
        url: Where Redis is; see `check_url`.
        timeout: Seconds that Redis has for an answer, and for a connection.
        connections: How many there are at the most; who needs one more waits for `timeout`.

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
    bounds = {} if connections is None else {"max_connections": connections, "timeout": timeout}
    if isinstance(found, str):
        pool = ConnectionPool if connections is None else BlockingConnectionPool
        return Redis.from_pool(pool.from_url(found, **options, **bounds))
    of_sentinels = {**options, **found.options, **found.of_sentinels}
    sentinel = Sentinel(found.hosts, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
    of_server = {**options, **found.options, **found.of_server, **bounds}
    kind = SentinelConnectionPool if connections is None else _BoundedPool
    client: Redis = sentinel.master_for(found.service, redis_class=_Named, connection_pool_class=kind, **of_server)
    return client


class _BoundedPool(SentinelConnectionPool, BlockingConnectionPool):
    """A pool of connections to the server that Sentinels name, where who needs one more waits."""


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
        who, _, hosts = parts.netloc.rpartition("@")
        username, _, password = who.partition(":")
        self.hosts = [_host(host) for host in hosts.split(",")]
        said = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        self.of_sentinels = {own: said.pop(name)[0] for name, own in _OF_SENTINELS.items() if name in said}
        tls = _SENTINEL[parts.scheme]
        self.options: dict[str, Any] = {"ssl": tls, **_options(urlencode(said, doseq=True), tls=tls)}
        self.of_server = {
            "db": int(database),
            "username": unquote(username) or None,
            "password": unquote(password) or None,
        }


def _options(query: str, *, tls: bool) -> dict[str, Any]:
    """Return what an address says behind its question mark, as redis-py has it."""
    url = f"{'rediss' if tls else 'redis'}:///?{query}"
    _check(url)
    found = dict(parse_url(url))
    found.pop("connection_class", None)
    return found


def _check(url: str) -> None:
    """Raise `ValueError` where redis-py could make no connection of an address."""
    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except TypeError:
        raise ValueError("it has an option that there is not") from None


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
    _check(url)
    return url
