"""Where Redis may be: behind TLS, in a Unix socket, known to Sentinels; and addresses that are none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from jackfield.testing import serve
from jackfield_redis import check_url, open_redis
from jackfield_redis.settings import RedisSettings
from plugins.redis.tests.nodes import Node, nodes, received, two, well
from tests.interop.places import make_certificate
from tests.support.client import Client
from tests.support.redis import RedisServer, Sentinel, free_port, need_redis, redis_server
from tests.support.waiting import eventually


async def are_one(one: Node, another: Node, first: Client, second: Client) -> None:
    """The servers have Redis, and tell each other."""
    await well(one, another)
    for node in (one, another):
        await node.tell("there")
        assert [await first.next("news"), await second.next("news")] == ["there", "there"]


async def test_behind_tls(tmp_path: Path) -> None:
    """With the authority that the address names; without it, Redis is away, and the reason says so."""
    need_redis()
    certificate, key = make_certificate(tmp_path)
    with redis_server(tmp_path, "hunter2", tls=(certificate, key)) as server:
        for scheme in ("rediss", "valkeys"):
            url = f"{server.url.replace('rediss', scheme)}?ssl_ca_certs={certificate}"
            async with two(url) as pair:
                await are_one(*pair)
        async with nodes(server.url, server.url.replace("rediss", "redis")) as (one, another):
            assert "CERTIFICATE_VERIFY_FAILED" in str(one.trouble)
            assert another.trouble is not None
            assert "health/redis failed" in (await one.ready())[1]


async def test_in_a_unix_socket(tmp_path: Path) -> None:
    """As everywhere else."""
    need_redis()
    path = tmp_path / "s"
    with redis_server(tmp_path, "hunter2", "--unixsocket", str(path)):
        async with two(f"unix://:hunter2@{path}") as pair:
            await are_one(*pair)


@contextmanager
def watched(folder: Path, tls: tuple[Path, Path] | None = None) -> Iterator[tuple[RedisServer, RedisServer, Sentinel]]:
    """Run a server, one that follows it, and a Sentinel that puts the second one into the place of the first."""
    need_redis()
    with ExitStack() as stack:
        folders = [folder / name for name in ("first", "second", "sentinel")]
        for one in folders:
            one.mkdir()
        options = ["--masterauth", "hunter2", *(["--tls-replication", "yes"] if tls else [])]
        if tls:
            options += ["--tls-ca-cert-file", str(tls[0])]
        first = stack.enter_context(redis_server(folders[0], "hunter2", *options, tls=tls))
        options += ["--replicaof", "127.0.0.1", str(first.port)]
        second = stack.enter_context(redis_server(folders[1], "hunter2", *options, tls=tls))
        yield first, second, stack.enter_context(Sentinel(folders[2], first, "hunter3"))


@pytest.mark.parametrize("scheme", ["redis+sentinel", "valkeys+sentinel"])
async def test_47_sentinels_name_another_server(tmp_path: Path, scheme: str) -> None:
    """When the one that was used is gone, the servers go over to the one that has taken its place."""
    tls = make_certificate(tmp_path) if scheme.startswith("valkeys") else None
    with watched(tmp_path, tls) as (master, _, sentinel):
        hosts = f"127.0.0.1:1,127.0.0.1:{sentinel.port}"  # nobody is at the first
        url = f"{scheme}://:hunter2@{hosts}/0/ours?sentinel_password=hunter3"
        if tls is not None:
            url += f"&ssl_ca_certs={tls[0]}"
        async with two(url) as pair:
            await are_one(*pair)
            await eventually(sentinel.knows_two)
            master.kill()
            one, another, first, second = pair

            async def both_tell() -> bool:
                for node in (one, another):
                    try:
                        await node.tell("trying")
                    except Exception:  # noqa: BLE001 - as long as there is none
                        return False
                return True

            await eventually(both_tell)
            await one.tell("end")
            for client in (first, second):
                await received(client, "end")
            await are_one(*pair)


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:6379", "http://localhost", "redis://localhost:port", "redis://[::1", "redis://:hunter2/3@h:1"),
        *("redis+sentinel://h:1", "redis+sentinel://h:1/0", "redis+sentinel://h:1/x/ours", "redis+sentinel:///0/ours"),
        *("redis+sentinel://h:port/0/ours", "redis://h?colour=red", "redis+sentinel://h/0/ours?colour=red"),
        *("redis+sentinel://h/0/ours?colour", "redis://h?ssl_ca_certs=/x", "rediss://h?socket_timeout=x"),
    ],
)
def test_what_is_no_address(url: str) -> None:
    """It is a mistake, whose text has nothing of the password."""
    with pytest.raises(ValueError, match="it is no address of Redis, such as redis://:password@host:6379/0") as caught:
        check_url(SecretStr(url))
    assert "hunter" not in str(caught.value)
    if not url:  # as from a variable that is not set
        assert RedisSettings.model_validate({"url": url}).url is None


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("redis://h", "h", 6379),
        ("valkey://u:p@[::1]:7/3", "::1", 7),
        ("rediss://h:6380", "h", 6380),
    ],
)
def test_what_is_one(url: str, host: str, port: int) -> None:
    """With what is left out as Redis has it."""
    found = open_redis(check_url(SecretStr(url)).get_secret_value(), 1.0).connection_pool.connection_kwargs
    assert (found["host"], found.get("port", 6379)) == (host, port)


async def test_connections_may_be_bounded(tmp_path: Path) -> None:
    """Who needs one more waits, also where Sentinels say where they go to."""
    with watched(tmp_path) as (master, _, sentinel):
        sentinels = f"redis+sentinel://:hunter2@127.0.0.1:{sentinel.port}/0/ours?sentinel_password=hunter3"
        for url in (master.url, sentinels):
            client = open_redis(url, 20.0, 2)
            async with client:
                ids = await asyncio.gather(*(client.execute_command("CLIENT", "ID") for _ in range(20)))
                assert len(set(ids)) <= 2


RIGHTS = re.search(r"^ACL SETUSER (.*)$", (Path(__file__).parents[3] / "docs/redis.md").read_text(), re.MULTILINE)


async def test_with_the_rights_of_the_documentation(tmp_path: Path) -> None:
    """A user who may do just what stands there can be a server, and nothing else."""
    need_redis()
    assert RIGHTS is not None
    with redis_server(tmp_path, "hunter2") as server:
        async with Redis.from_url(server.url) as operator:
            await operator.execute_command("ACL", "SETUSER", *RIGHTS[1].split())
        url = server.url.replace(":hunter2", "jackfield:password")
        async with two(url) as pair:
            await are_one(*pair)
        async with nodes(url, prefix="others") as (one,):
            assert "no permissions" in str(one.trouble)


async def test_nodes_of_a_cluster(tmp_path: Path) -> None:
    """Any two of them: what is published at one, the others have."""
    need_redis()
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as stack:
        buses = [free_port() for _ in folders]
        servers = [
            stack.enter_context(redis_server(folder, "hunter2", "--cluster-enabled", "yes", "--cluster-port", str(bus)))
            for folder, bus in zip(folders, buses, strict=True)
        ]
        async with Redis.from_url(servers[0].url) as operator:
            await operator.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await operator.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[1].port, buses[1])

            async def is_one() -> bool:
                async with Redis.from_url(servers[1].url) as other:
                    return b"cluster_state:ok" in await other.execute_command("CLUSTER", "INFO")

            await eventually(is_one)
        async with two(servers[0].url, servers[1].url) as pair:
            await are_one(*pair)


async def test_workers_without_an_address_are_told_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has installed it wants them to be one; a single process is."""
    text = "events and rooms reach one of the 2 workers alone: plugins.redis.url is not set"
    async with serve("redis"):
        assert "plugins.redis.url" not in caplog.text
    monkeypatch.setenv("JACKFIELD_WORKERS", "2")
    async with serve("redis"):
        assert text in caplog.text
