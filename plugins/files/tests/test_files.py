"""Every function of `api.files`, called over the wire."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from plugins.files.tests.conftest import Serve
from plugins.files.tests.streaming import Connection, Refused, connection, in_pieces
from plugins.files.tests.test_names import BAD
from tests.support.client import connected
from tests.support.server import Server
from tests.support.waiting import until

CONTENT = os.urandom(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


async def put(client: Connection, name: str, content: bytes = CONTENT, **fields: Any) -> Any:
    return await client.upload([{"name": name, **fields}, *in_pieces(content, 65_536)])


async def get(client: Connection, **fields: Any) -> bytes:
    return b"".join([piece async for piece in client.download(fields)])


def visible(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if ".jackfield" not in p.parts)


async def test_a_file_comes_and_goes(server: Server, root: Path) -> None:
    """Uploaded it is there, with its checksum; downloaded it is the same, in Buffers of 256 KiB."""
    async with connection(server.url) as client:
        assert await put(client, "a/b.bin", size=len(CONTENT), sha256=SHA256.upper()) == {
            "name": "a/b.bin",
            "size": len(CONTENT),
            "sha256": SHA256,
        }
        assert (root / "a/b.bin").read_bytes() == CONTENT
        pieces = [piece async for piece in client.download({"name": "a/b.bin"})]
        assert [len(piece) for piece in pieces] == [262_144, 262_144, 175_712]
        assert b"".join(pieces) == CONTENT


async def test_the_name_may_come_in_a_header(server: Server, root: Path) -> None:
    """Where the first item is a Buffer, `filename` among the headers is the name; without it that is an error."""
    async with connection(server.url) as client:
        result = await client.upload(in_pieces(CONTENT, 100_000), meta={"filename": "big.iso"})
        assert result == {"name": "big.iso", "size": len(CONTENT), "sha256": SHA256}
        assert (await client.upload([], meta={"filename": "empty"}))["size"] == 0
        with pytest.raises(Refused) as refused:
            await client.upload([b"bytes"])
        assert refused.value.error == {
            "code": "invalid_argument",
            "message": "The first item is to be an object with the file's `name`, or the call is to have the header"
            " `filename`.",
        }
        with pytest.raises(Refused, match=r"^invalid_argument: The name '../up' is refused"):
            await client.upload([b"bytes"], meta={"filename": "../up"})
    assert visible(root) == ["big.iso", "empty"]


BAD_UPLOADS: list[tuple[list[Any], str, str]] = [
    ([{}], "invalid_argument", "Item 1: The data does not fit"),
    ([{"name": "a", "ofset": 1}], "invalid_argument", "Item 1: The data does not fit"),
    ([{"name": "a", "sha256": "abc"}], "invalid_argument", "Item 1: The data does not fit"),
    ([{"name": "a", "size": -1}], "invalid_argument", "Item 1: The data does not fit"),
    ([{"name": "a", "offset": -1}], "invalid_argument", "Item 1: The data does not fit"),
    (["a text"], "invalid_argument", "Item 1: The data does not fit"),
    ([None], "invalid_argument", "Item 1: The data does not fit"),
    ([{"name": "a"}, "a text"], "invalid_argument", "Item 2: The data does not fit"),
    (
        [{"name": "a"}, {"name": "b"}],
        "invalid_argument",
        "Only the first item is an object; all others are Buffers.",
    ),
    ([{"name": "a", "size": 4}, b"12345"], "out_of_range", "The size of 'a' was announced as 4 bytes"),
    ([{"name": "a", "size": 4}, b"123"], "aborted", "The upload of 'a' ended after 3 of 4 bytes; go on with"),
    ([{"name": "a", "sha256": "0" * 64}, b"123"], "data_loss", "The 3 bytes of 'a' have the SHA-256"),
    ([{"name": "a", "offset": 1}, b"123"], "out_of_range", "Of 'a' 0 bytes are kept"),
    ([{"name": "there"}, b"123"], "already_exists", "There is a file 'there' already; `replace` replaces it."),
    ([{"name": "there/x"}, b"123"], "failed_precondition", "'there' is no folder, or a symbolic link"),
]


async def test_a_bad_upload_is_refused_and_leaves_nothing_visible(server: Server, root: Path) -> None:
    """With the code and the sentence for it; the connection goes on."""
    (root / "there").write_bytes(b"there")
    async with connection(server.url) as client:
        for items, code, message in BAD_UPLOADS:
            with pytest.raises(Refused) as refused:
                await client.upload(items)
            assert (refused.value.code, refused.value.message[: len(message)]) == (code, message), items
            assert visible(root) == ["there"]
        assert (await put(client, "after"))["sha256"] == SHA256


async def test_upload_tells_how_far_it_is(server: Server) -> None:
    """To who asks for it: bytes that are there, of how many, and the name."""
    async with connection(server.url) as client:
        start = {"name": "a", "size": len(CONTENT)}
        await client.upload([start, *in_pieces(CONTENT, 65_536)], progress=True)
        assert client.progress[0] == {"done": 0, "total": len(CONTENT), "message": "a"}
        assert client.progress[-1] == {"done": len(CONTENT), "total": len(CONTENT), "message": "a"}


async def test_download_gives_the_part_that_is_asked_for(server: Server) -> None:
    """From an offset, so many bytes, never more than there are."""
    async with connection(server.url) as client:
        await put(client, "a")
        size = len(CONTENT)
        assert await get(client, name="a", offset=100_000) == CONTENT[100_000:]
        assert await get(client, name="a", offset=5, length=10) == CONTENT[5:15]
        assert await get(client, name="a", offset=5, length=300_000) == CONTENT[5:300_005]
        assert await get(client, name="a", offset=5, length=0) == b""
        assert await get(client, name="a", offset=size - 1, length=10) == CONTENT[-1:]
        assert await get(client, name="a", offset=size) == b""
        with pytest.raises(Refused) as refused:
            await get(client, name="a", offset=size + 1)
        assert refused.value.error == {
            "code": "out_of_range",
            "message": "'a' has 700,000 bytes, and the offset is 700,001.",
        }


async def test_a_download_goes_on_only_with_the_same_file(server: Server) -> None:
    """With the version that `stat` told; one that has been replaced is refused."""
    async with connection(server.url) as client:
        await put(client, "a")
        version = (await client.call("stat", {"name": "a"}))["version"]
        first = await get(client, name="a", length=300_000, version=version)
        assert first + await get(client, name="a", offset=300_000, version=version) == CONTENT
        await put(client, "a", CONTENT[::-1], replace=True)
        now = (await client.call("stat", {"name": "a"}))["version"]
        with pytest.raises(Refused) as refused:
            await get(client, name="a", offset=300_000, version=version)
        assert refused.value.error == {
            "code": "failed_precondition",
            "message": f"'a' has changed: it has the version {now!r} now, and {version!r} was asked for; begin anew.",
        }


@pytest.mark.full
async def test_a_download_that_runs_keeps_the_file_that_it_began(server: Server) -> None:
    """Whether it is replaced or deleted meanwhile."""
    async with connection(server.url) as reader, connection(server.url) as writer:
        await put(writer, "a")
        pieces = reader.download({"name": "a"}, credit=1)
        first = await anext(pieces)
        await put(writer, "a", b"new", replace=True)
        await writer.call("delete", {"name": "a"})
        assert first + b"".join([piece async for piece in pieces]) == CONTENT


@pytest.mark.full
async def test_a_file_that_shrinks_while_it_is_read_ends_its_download(serve: Serve, root: Path) -> None:
    """Others than the server may do that; the client is told instead of being given less."""
    server = serve("chunk = 1024")
    root.joinpath("a").write_bytes(bytes(3_000_000))
    async with connection(server.url) as client:
        pieces = client.download({"name": "a"}, credit=1)
        await anext(pieces)
        os.truncate(root / "a", 10)
        with pytest.raises(Refused) as refused:
            async for _ in pieces:
                pass
        assert refused.value.error == {
            "code": "failed_precondition",
            "message": "'a' has become shorter while it was read; begin anew.",
        }


async def test_stat_tells_about_a_file(server: Server, root: Path) -> None:
    """Size, time and version; the checksum if it is asked for, with progress."""
    async with connection(server.url) as client:
        await put(client, "a")
        told = await client.call("stat", {"name": "a"})
        assert set(told) == {"name", "size", "modified", "version", "sha256"}
        assert (told["name"], told["size"], told["sha256"]) == ("a", len(CONTENT), None)
        assert datetime.fromisoformat(told["modified"]).timestamp() == pytest.approx((root / "a").stat().st_mtime)
        opened = await client.open("stat", data={"name": "a", "hash": True}, progress=True)
        assert opened["data"] == {**told, "sha256": SHA256}


async def test_list_gives_names_page_by_page(server: Server) -> None:
    """In order, with what to ask for next; partial uploads are not there."""
    async with connection(server.url) as client:
        made = ["a", "b/c", "b/d/e", "f"]
        for name in made:
            await put(client, name, b"x")
        await client.upload([{"name": "partial"}, b"x"], end=False)
        everything = await client.call("list")
        assert [file["name"] for file in everything["files"]] == made
        assert everything["next"] is None
        assert everything["files"][1] == {
            key: value for key, value in (await client.call("stat", {"name": "b/c"})).items() if key != "sha256"
        }
        page = await client.call("list", {"limit": 3})
        assert ([file["name"] for file in page["files"]], page["next"]) == (made[:3], "b/d/e")
        page = await client.call("list", {"limit": 3, "after": page["next"]})
        assert ([file["name"] for file in page["files"]], page["next"]) == (made[3:], None)
        page = await client.call("list", {"folder": "b"})
        assert [file["name"] for file in page["files"]] == ["b/c", "b/d/e"]
        assert await client.call("list", {"folder": "nothing"}) == {"files": [], "next": None}
        for bad in ({"limit": 0}, {"limit": 1001}, {"folder": "../"}, {"folder": "/"}):
            with pytest.raises(Refused, match="invalid_argument"):
                await client.call("list", bad)


async def test_delete_and_move(server: Server, root: Path) -> None:
    """They answer with what the file was, and is; there is no file a second time, and none is replaced unasked."""
    async with connection(server.url) as client:
        await put(client, "x/a", b"a")
        await put(client, "b", b"b")
        with pytest.raises(Refused, match=r"^already_exists: There is a file 'b' already; `replace` replaces it"):
            await client.call("move", {"name": "x/a", "to": "b"})
        moved = await client.call("move", {"name": "x/a", "to": "b", "replace": True})
        assert (moved["name"], moved["size"]) == ("b", 1)
        assert visible(root) == ["b"]
        assert (root / "b").read_bytes() == b"a"
        assert await client.call("delete", {"name": "b"}) == moved
        for function, data in (("delete", {"name": "b"}), ("move", {"name": "b", "to": "c"}), ("stat", {"name": "b"})):
            with pytest.raises(Refused, match=r"^not_found: There is no file 'b'\.$"):
                await client.call(function, data)
        with pytest.raises(Refused, match=r"^not_found: There is no file 'b'\.$"):
            await get(client, name="b")
    assert visible(root) == []


async def test_bad_names_are_refused_by_every_function(server: Server, root: Path, tmp_path: Path) -> None:
    """As `invalid_argument`, with the rule, whatever the name is for."""
    (tmp_path / "secret").write_bytes(b"secret")
    async with connection(server.url) as client:
        await put(client, "good", b"x")
        for name, problem in BAD:
            if any("\ud800" <= character <= "\udfff" for character in name):
                continue  # no JSON text holds it: the kernel refuses it before
            sentence = f"The name {name[:100]!r} is refused: {problem}."
            for function, data in (
                ("stat", {"name": name}),
                ("stat", {"name": name, "hash": True}),
                ("delete", {"name": name}),
                ("offset", {"name": name}),
                ("move", {"name": name, "to": "x"}),
                ("move", {"name": "good", "to": name}),
            ):
                with pytest.raises(Refused) as refused:
                    await client.call(function, data)
                assert refused.value.error == {"code": "invalid_argument", "message": sentence}
            for attempt in (get(client, name=name), put(client, name)):
                with pytest.raises(Refused) as refused:
                    await attempt
                assert refused.value.error == {"code": "invalid_argument", "message": sentence}
    assert visible(root) == ["good"]


async def test_links_lead_nowhere(server: Server, root: Path, tmp_path: Path) -> None:
    """Planted in the root, they are refused by every function as `failed_precondition`, and what they show is safe."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file").symlink_to(tmp_path / "outside/secret")
    async with connection(server.url) as client:
        await put(client, "good", b"x")
        for name in ("file", "folder", "folder/secret", "folder/new"):
            for function, data in (
                ("stat", {"name": name}),
                ("delete", {"name": name}),
                ("move", {"name": name, "to": "x"}),
                ("move", {"name": "good", "to": name, "replace": True}),
            ):
                with pytest.raises(Refused, match=r"^failed_precondition: "):
                    await client.call(function, data)
            for attempt in (get(client, name=name), put(client, name), put(client, name, replace=True)):
                with pytest.raises(Refused, match=r"^failed_precondition: "):
                    await attempt
        with pytest.raises(Refused, match=r"^failed_precondition: "):
            await client.call("list", {"folder": "folder"})
        assert [file["name"] for file in (await client.call("list"))["files"]] == ["good"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()} == {"secret": b"secret"}


async def test_the_quota_is_told_by_its_name(serve: Serve, root: Path) -> None:
    """What does not fit is `resource_exhausted`, before a byte is sent where the size is known, and takes no room."""
    server = serve("quota = 1_000_000\nmax_size = 800_000")
    async with connection(server.url) as client:
        await put(client, "a")
        with pytest.raises(Refused) as refused:
            await client.upload([{"name": "b", "size": 300_001}])
        assert refused.value.error == {
            "code": "resource_exhausted",
            "message": "300,001 bytes do not fit: all files together may have 1,000,000 (setting"
            " plugins.files.quota), and 300,000 of them are left.",
        }
        with pytest.raises(Refused, match=r"^resource_exhausted: .*plugins\.files\.quota"):
            await put(client, "b")
        with pytest.raises(Refused, match=r"^resource_exhausted: .*plugins\.files\.max_size"):
            await client.upload([{"name": "b", "size": 800_001}])
        await client.upload([{"name": "b"}, *in_pieces(CONTENT, 65_536)], end=False)
        with pytest.raises(Refused, match=r"^resource_exhausted: "):  # at once, not when it has something to send again
            await client.end()
        await put(client, "b", bytes(300_000))
        await client.call("delete", {"name": "a"})
        assert (await put(client, "c"))["sha256"] == SHA256
    assert visible(root) == ["b", "c"]


async def test_an_ordinary_client_can_do_it_all(server: Server) -> None:
    """With python-socketio as it comes: an upload, a download, a call."""
    async with connected(server.url) as client:
        opened = await client.sio.call("event", {"event": "api.files.upload", "id": "up"})
        assert opened["stream"] == "client"
        for item in ({"name": "a"}, b"12345", b"678"):
            await client.sio.emit("stream", {"id": "up", "data": item})
        await client.sio.emit("stream", {"id": "up", "end": True})
        while "end" not in (frame := await client.next("stream")):
            assert "credit" in frame
        assert frame["data"]["size"] == 8
        await client.call("api.files.download", {"name": "a"}, id="down")
        frames = [await client.next("stream"), await client.next("stream")]
        assert frames == [{"id": "down", "data": b"12345678"}, {"id": "down", "end": True}]
        assert (await client.call("api.files.delete", {"name": "a"}))["data"]["name"] == "a"


@pytest.mark.full
async def test_a_cancelled_download_is_closed(server: Server) -> None:
    """The server holds no file open for a client that has said it wants no more."""
    process = psutil.Process(server.process.pid)
    async with connection(server.url) as client:
        await put(client, "a", bytes(3_000_000))
        before = process.num_fds()
        pieces = client.download({"name": "a"}, credit=1)
        await anext(pieces)
        assert process.num_fds() == before + 1
        await client.frame(cancel=True)
        with pytest.raises(Refused, match=r"^canceled: "):
            await client.end()
        await until(lambda: process.num_fds() == before)


@pytest.mark.full
async def test_many_downloads_that_nobody_reads_cost_little(server: Server, root: Path) -> None:
    """A hundred of them cost what they hold of one piece each, and the read-ahead of a few; all can be read then."""
    content = os.urandom(4_000_000)
    (root / "a").write_bytes(content)
    async with connection(server.url) as client:
        assert await get(client, name="a") == content
        before = server.rss
        for _ in range(100):
            await client.open("download", data={"name": "a"}, credit=0)
        await client.call("stat", {"name": "a", "hash": True})
        assert server.rss - before < 64 * 1024**2
        with pytest.raises(Refused, match=r"^resource_exhausted: 100 streams"):
            await client.open("download", data={"name": "a"})
    async with connection(server.url) as client:
        assert await get(client, name="a") == content


async def test_a_server_that_cannot_have_its_root_says_so(serve: Serve, tmp_path: Path) -> None:
    """The plugin is quarantined, with the reason; so is one whose settings are wrong."""
    (tmp_path / "file").write_bytes(b"")
    plugin = serve('root = "file"').plugins["files"]
    assert (plugin["state"], plugin["kind"]) == ("quarantined", "FileExistsError")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("quoat = 1", "plugins.files.quoat: there is no such key; did you mean plugins.files.quota?"),
        ("chunk = 1_000_000", "plugins.files.chunk: Input should be less than or equal to 524288"),
    ],
)
async def test_a_wrong_setting_is_named(serve: Serve, setting: str, reason: str) -> None:
    """The plugin is quarantined, and the reason names the key."""
    plugin = serve(setting).plugins["files"]
    assert (plugin["state"], plugin["reason"]) == ("quarantined", reason)
