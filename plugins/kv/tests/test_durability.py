"""What was acknowledged is kept, whatever becomes of the server."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from jackfield import CallError
from jackfield.client import connect
from tests.support.server import serving
from tests.support.waiting import until

CONFIG = '[plugins]\npolicy = "listed"\nenabled = ["kv"]\n'


async def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    """Many clients write when the server is killed; each finds what it was told is kept, or what it had sent next."""
    acknowledged = dict.fromkeys(range(20), 0)

    async def write(client, number):
        with suppress(CallError):
            while True:
                value = acknowledged[number] + 1
                await client.call("api.kv.set", {"key": f"{number}", "value": value})
                acknowledged[number] = value

    with serving(tmp_path, config=CONFIG) as server:
        async with connect(server.url, reconnect=False) as client:
            writers = [asyncio.create_task(write(client, number)) for number in acknowledged]
            await until(lambda: min(acknowledged.values()) >= 5)
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            await asyncio.gather(*writers)
    assert (tmp_path / "kv.sqlite3").exists()
    with serving(tmp_path, config=CONFIG) as server:
        async with connect(server.url) as client:
            found = {int(item["key"]): item["value"] async for item in client.stream("api.kv.list")}
            assert found.keys() == acknowledged.keys()
            assert all(0 <= found[number] - value <= 1 for number, value in acknowledged.items())
            newest = (await client.call("api.kv.set", {"key": "last", "value": 1}))["version"]
            assert newest == sum(found.values()) + 1  # no version was given twice, and none was lost
        assert server.stop() == 0
