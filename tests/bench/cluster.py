"""Two servers on one Redis: what is published at the one has to get to the subscribers of the other."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.channels import Book, Follower, Teller, Topic
from tests.bench.frames import bare
from tests.bench.generator import BenchError, Load, answer_all, connect_all
from tests.bench.loads import Figures, close, measured, offer_at, quantiles
from tests.bench.servers import Running, Target, running

TELLERS: Final = 8
SLOTS: Final = 16
"""Publications of one connection that may be on their way, where each sends the next."""
PACED_SLOTS: Final = 32
"""And where they are sent at a fixed rate."""

_REDIS: Final = Target(
    "redis", "Redis", ("redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"), bare
)


@dataclass(frozen=True)
class Cluster:
    """Two servers that are up, and their Redis."""

    one: Running
    other: Running
    redis: Running

    @property
    def cpu(self) -> float:
        """Seconds of processor time that all three have used."""
        return self.one.cpu + self.other.cpu + self.redis.cpu

    def check(self) -> None:
        """Raise if one of them has ended.

        Raises:
            BenchError: It has; with the end of its log.
        """
        for each in (self.one, self.other, self.redis):
            each.check()


def can_cluster() -> bool:
    """Tell whether there is a Redis to run."""
    return shutil.which("redis-server") is not None


@contextmanager
def clustered(
    target: Target, folder: Path, cores: Sequence[int], *, config: str, path: Sequence[Path] = ()
) -> Iterator[Cluster]:
    """Run two servers and a Redis until the block ends, all of them on one core.

    Args:
        target: What both servers are.
        folder: Each runs in a folder of its own there.
        cores: What they are pinned to, if they are.
        config: The configuration of jackfield, where `{url}` stands for the address of Redis.
        path: Folders with its plugins.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(running(_REDIS, folder, cores))
        url = redis.url.replace("http", "redis", 1)
        file = folder / "cluster.toml"
        file.write_text(config.replace("{url}", url), encoding="utf-8")
        env = {"REDIS_URL": url, "JACKFIELD_CONFIG": str(file)}
        folders = [folder / name for name in ("one", "other")]
        for each in folders:
            each.mkdir(exist_ok=True)
        one, other = (
            stack.enter_context(running(target, each, cores, command=target.channels, path=path, env=env))
            for each in folders
        )
        yield Cluster(one, other, redis)


async def relay(
    cluster: Cluster, topic: Topic, text: str, followers: int, warm: float, seconds: float, rate: float | None = None
) -> Figures:
    """Publish at one server what those who are connected to the other are subscribed to.

    Args:
        cluster: Which servers.
        topic: Where publications go.
        text: Goes with each.
        followers: How many are subscribed.
        warm: Seconds before anything is measured.
        seconds: Seconds in which is measured.
        rate: Publications a second; without it each one that has got to everybody sends the next.
    """
    load = Load()
    book = Book(load, topic, text, followers)
    subscribed = await connect_all(cluster.other.url, lambda: Follower(book), followers)
    await asyncio.gather(*(each.follow() for each in subscribed))
    slots = SLOTS if rate is None else PACED_SLOTS
    tellers = await connect_all(cluster.one.url, lambda: Teller(book, slots, paced=rate is not None), TELLERS)
    if rate is None:
        for teller in tellers:
            teller.begin()
    else:
        offer_at(rate, tellers, load)
    await asyncio.sleep(warm)
    with measured(cluster) as window:
        load.latencies.clear()
        before, redis_before = book.complete, cluster.redis.cpu
        await asyncio.sleep(seconds)
        count, redis = book.complete - before, cluster.redis.cpu - redis_before
        latencies = load.latencies[:]
    await answer_all(load, tellers)
    close(load, [*tellers, *subscribed])
    cluster.check()
    if not count:
        raise BenchError(f"{cluster.one.target.title} published nothing: {load.problem or 'nothing came'}")
    shares = window.shares()
    if rate is not None:
        del shares["generator_share"]  # it spins
    return {
        **({} if rate is None else {"offered": rate}),
        "rate": count / window.seconds,
        "cpu_us": window.server / count * 1e6,
        "redis_us": redis / count * 1e6,
        **quantiles(latencies),
        "count": count,
        "errors": load.errors,
        **shares,
    }
