"""Uploads that break, are gone on with, and get into each other's way; and very large ones."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from jackfield import CallError
from jackfield.client import ConnectionLost
from jackfield.testing import RunningKernel
from plugins.files.tests.calling import Files, until_kept
from plugins.files.tests.conftest import Serve
from plugins.files.tests.streaming import Connection, Gone, Refused, connection, in_pieces
from tests.support.server import Server, serving
from tests.support.waiting import until

CONTENT = os.urandom(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PIECE = 10_000


def visible(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if ".jackfield" not in p.parts)


def partials(root: Path) -> list[str]:
    return sorted(p.name for p in (root / ".jackfield").iterdir() if p.name != "lock")


def items(offset: int = 0, content: bytes = CONTENT, **fields: Any) -> list[Any]:
    return [{"name": "x/big", "offset": offset, **fields}, *in_pieces(content[offset:], PIECE)]


async def kept(client: Connection) -> int:
    return int((await client.call("offset", {"name": "x/big"}))["offset"])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.jackfield(network=True)
async def test_an_upload_survives_twenty_cuts(jackfield_kernel: RunningKernel, root: Path, known: bool) -> None:
    """Cut at random places and gone on with each time, it becomes whole; in between nothing of it is visible."""
    chance = random.Random(known)
    fields: dict[str, Any] = {"size": len(CONTENT), "sha256": SHA256} if known else {}
    offset, offsets = 0, []
    for number in range(20):
        # Every second time the server has something by then; else what was sent may be lost with the connection.
        told = offset + 1 if number % 2 else 0
        async with connection(jackfield_kernel.url) as client:
            cut_after = chance.randrange(2, 8)
            with pytest.raises(Gone):
                await client.upload(items(offset, **fields), cut_after=cut_after, told=told, progress=True)
        async with connection(jackfield_kernel.url) as client:
            offset = await kept(client)
            offsets.append(offset)
            assert (await client.call("list"))["files"] == []
            with pytest.raises(Refused, match=r"^not_found"):
                await client.call("stat", {"name": "x/big"})
        assert visible(root) == []
    assert offsets == sorted(offsets)
    assert 0 < offset < len(CONTENT)
    async with connection(jackfield_kernel.url) as client:
        result = await client.upload(items(offset, **fields))
    assert result == {"name": "x/big", "size": len(CONTENT), "sha256": SHA256}
    assert (root / "x/big").read_bytes() == CONTENT
    assert partials(root) == []


async def test_a_killed_server_keeps_what_came(serve: Serve, root: Path) -> None:
    """The next one goes on with it, and shows nothing of it before it is whole."""
    server = serve()
    async with connection(server.url) as client:
        await client.upload(items(content=CONTENT[:1_000_000], size=len(CONTENT)), end=False)
        await _until_kept(server, 500_000)
        server.stop(signal.SIGKILL)
    server = serve()
    async with connection(server.url) as client:
        offset = await kept(client)
        assert 500_000 <= offset <= 1_000_000
        assert visible(root) == []
        assert (await client.upload(items(offset)))["sha256"] == SHA256


async def test_a_server_that_stops_keeps_what_came(serve: Serve, root: Path) -> None:
    """Told to stop, it ends in time and in order, with an upload under way."""
    server = serve(more="[server]\ndrain_timeout = 0.1")
    async with connection(server.url) as client:
        await client.upload(items(content=CONTENT[:100_000]), end=False)
        await _until_kept(server, 100_000)
        assert await asyncio.to_thread(server.stop) == 0
    assert [name.partition(".")[2] for name in partials(root)] == ["100000"]
    assert "Traceback" not in server.log


async def test_a_newer_upload_ends_the_older_one(jackfield_kernel: RunningKernel, files: Files, root: Path) -> None:
    """The older client may sit on a connection that is dead; it is told `aborted`, and the newer one goes on."""
    newer = Files(await jackfield_kernel.connect())
    older = files.begin(items(content=CONTENT[:800_000], size=len(CONTENT)))
    await until_kept(newer, "x/big", 800_000)
    assert (await newer.upload(items(800_000, size=len(CONTENT), sha256=SHA256)))["sha256"] == SHA256
    with pytest.raises(CallError) as refused:
        await older
    assert refused.value.as_dict() == {
        "code": "aborted",
        "message": "A newer upload of 'x/big' has begun, so this one is over.",
    }
    assert (root / "x/big").read_bytes() == CONTENT
    assert partials(root) == []


@pytest.mark.full
async def test_of_many_uploads_of_one_name_the_newest_wins(jackfield_kernel: RunningKernel, root: Path) -> None:
    """Each ends those before it; in the end there is one whole file, of one of them."""
    contents = [bytes([number]) * 300_000 for number in range(8)]

    async def upload(content: bytes) -> str:
        client = Files(await jackfield_kernel.connect())
        try:
            await client.upload(items(content=content, replace=True))
        except CallError as refused:
            return refused.code
        return "whole"

    ends = await asyncio.gather(*map(upload, contents))
    assert set(ends) <= {"whole", "aborted"}
    assert "whole" in ends
    found = (root / "x/big").read_bytes()
    assert [end for end, content in zip(ends, contents, strict=True) if content == found] == ["whole"]
    assert partials(root) == []


@pytest.mark.full
async def test_uploads_of_different_names_do_not_meet(jackfield_kernel: RunningKernel, root: Path) -> None:
    """Side by side, more than may gather much in memory, each becomes its own file."""

    async def upload(number: int) -> None:
        client = Files(await jackfield_kernel.connect())
        await client.upload([{"name": f"f{number}"}, *in_pieces(CONTENT[number:], 100_000)])

    await asyncio.gather(*map(upload, range(24)))
    assert visible(root) == sorted(f"f{number}" for number in range(24))
    assert all((root / f"f{number}").read_bytes() == CONTENT[number:] for number in range(24))


async def test_a_cancelled_upload_is_kept_and_closed(files: Files) -> None:
    """No descriptor and no lock outlives the call; what came can be gone on with."""
    process = psutil.Process()
    await files.kept("x/big")
    before = process.num_fds()
    upload = files.begin(items(content=CONTENT[:100_000]))
    await until_kept(files, "x/big", 100_000)
    await until(lambda: process.num_fds() == before + 1)
    upload.cancel()
    await until(lambda: process.num_fds() == before)
    assert await files.kept("x/big") == 100_000
    assert (await files.upload(items(100_000)))["sha256"] == SHA256


async def test_an_upload_whose_client_is_gone_is_kept(jackfield_kernel: RunningKernel, files: Files) -> None:
    """Without a good-bye, as when a cable is cut."""
    lost = await jackfield_kernel.connect()
    upload = Files(lost).begin(items(content=CONTENT[:100_000]))
    await until_kept(files, "x/big", 100_000)
    await lost.vanish()
    with pytest.raises(ConnectionLost):
        await upload
    assert (await files.upload(items(100_000)))["sha256"] == SHA256


@pytest.mark.jackfield(settings={"keep_partial": 0.5})
async def test_broken_uploads_go_after_their_time(files: Files, root: Path) -> None:
    """By themselves, while the server runs."""
    with pytest.raises(CallError, match=r"^aborted: "):
        await files.upload([{"name": "x/big", "size": 10}, b"12345"])
    await until(lambda: partials(root) == [])
    assert await files.kept("x/big") == 0


@pytest.mark.full
async def test_several_processes_serve_one_root(serve: Serve, root: Path, tmp_path: Path) -> None:
    """What is cut at one of them is gone on with at another, even while the first does not know of the cut."""
    config = f'[plugins]\npolicy = "listed"\nenabled = ["files"]\n[plugins.files]\nroot = "{root}"\n'
    with ExitStack() as stack:
        one, two = (stack.enter_context(serving(tmp_path / name, config=config)) for name in ("one", "two"))
        async with connection(one.url) as older, connection(two.url) as newer:
            await older.upload(items(content=CONTENT[:800_000]), end=False)
            await _until_kept(two, 800_000)
            assert (await newer.upload(items(700_000)))["sha256"] == SHA256
            await older.frame(data=b"late")
            with pytest.raises(Refused, match=r"^aborted: A newer upload of 'x/big' has begun"):
                await older.end()
    assert (root / "x/big").read_bytes() == CONTENT
    assert partials(root) == []


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_gibibyte_takes_no_memory(server: Server, root: Path) -> None:
    """Up and down again, cut and gone on with on the way; the server grows by less than 32 MiB."""
    size, piece = 1024**3, os.urandom(512 * 1024)
    digest = hashlib.sha256()
    for _ in range(size // len(piece)):
        digest.update(piece)

    def pieces(offset: int) -> Iterator[Any]:
        yield {"name": "x/big", "size": size, "sha256": digest.hexdigest(), "offset": offset}
        yield piece[offset % len(piece) :]
        for _ in range(offset // len(piece) + 1, size // len(piece)):
            yield piece

    async with connection(server.url) as client:
        await client.upload([{"name": "warm"}, piece])
        assert [p async for p in client.download({"name": "warm"})]
    before = most = server.rss
    async with connection(server.url) as client:
        with pytest.raises(Gone):
            await client.upload(pieces(0), cut_after=700)
    most = max(most, server.rss)
    async with connection(server.url) as client:
        offset = await kept(client)
        assert offset > 0
        assert (await client.upload(pieces(offset)))["size"] == size
        most = max(most, server.rss)
        got, count = hashlib.sha256(), 0
        async for part in client.download({"name": "x/big"}):
            got.update(part)
            count += 1
            if count % 100 == 0:
                most = max(most, server.rss)
        most = max(most, server.rss)
        assert got.digest() == digest.digest()
    assert most - before < 32 * 1024**2


async def _until_kept(server: Server, bytes_: int) -> None:
    """Wait until so many bytes of the upload are on the disk."""
    async with connection(server.url) as client:
        async with asyncio.timeout(20):
            while await kept(client) < bytes_:
                pass
