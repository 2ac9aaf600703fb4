"""A follower whose connection is cut again and again, at any point."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

from jackfield import Kernel, Position, hookimpl
from jackfield.client import ConnectionLost
from jackfield.testing import RunningKernel
from plugins.channels.tests.following import Follower, kept
from tests.support.judge import Missed, Seen, judge
from tests.support.waiting import until


class Insider:
    """Has the kernel, as any plugin can, and publishes with it."""

    kernel: Kernel

    @hookimpl
    async def jackfield_startup(self, kernel: Kernel) -> None:
        self.kernel = kernel


async def arrived(follower: Follower, position: Position) -> None:
    """Return when a follower has everything."""
    await until(lambda: follower.position == position)


async def cut_at_random(
    kernels: Sequence[RunningKernel], insiders: Sequence[Insider], rounds: int, channel: str
) -> list[str]:
    """Cut a follower off again and again, while somebody publishes; return what was promised and not kept.

    Args:
        kernels: To which the follower comes back, to any of them.
        insiders: Theirs, who publish.
        rounds: How often.
        channel: Where.
    """
    random.seed(rounds)
    follower = Follower(channel)
    sent: list[int] = []
    acknowledged: list[Seen] = []
    stop = False

    async def write() -> None:
        while not stop:
            sent.append(len(sent))
            acknowledged.append(Seen(await random.choice(insiders).kernel.publish(channel, sent[-1]), sent[-1]))
            for _ in range(random.choice([0, 0, 3, 30])):
                await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    for number in range(rounds):
        client = await random.choice(kernels).connect(on=follower.begin())
        session = follower.sessions[-1]
        subscribing = asyncio.create_task(follower.subscribe(client))
        if random.random() < 0.2:  # before the reply, or in the middle of it
            for _ in range(random.randrange(10)):
                await asyncio.sleep(0)
        else:
            await subscribing
            wanted = random.choice([0, 1, 5, 20])
            await until(lambda session=session, wanted=wanted: len(session.heard) >= wanted)  # type: ignore[misc]
        if number < rounds - 1:
            await client.vanish()
        with suppress(ConnectionLost):
            await subscribing
    stop = True
    await writing
    found = await kept(client, channel)
    await arrived(follower, Position(found.top, found.epoch))
    told = judge(sent, acknowledged, [follower.sessions], found, complete=True)
    assert any(one.recovered for one in follower.sessions)
    assert not any(isinstance(one, Missed) for session in follower.sessions for one in session.heard)
    return told
