"""Every function of `api.files`, called by a client."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from jackfield import CallError
from jackfield.testing import RunningKernel, Serve, assert_plugin_contract
from plugins.files.tests.calling import CONTENT, Files, in_pieces, until_kept
from plugins.files.tests.streaming import Refused, connection
from plugins.files.tests.test_names import BAD
from tests.support.client import connected
from tests.support.server import Server
from tests.support.waiting import until

SHA256 = hashlib.sha256(CONTENT).hexdigest()


def visible(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if ".jackfield" not in p.parts)


async def test_a_file_comes_and_goes(files: Files, root: Path) -> None:
    """Uploaded it is there, with its checksum; downloaded it is the same, in Buffers of 256 KiB."""
    assert await files.put("a/b.bin", size=len(CONTENT), sha256=SHA256.upper()) == {
        "name": "a/b.bin",
        "size": len(CONTENT),
        "sha256": SHA256,
    }
    assert (root / "a/b.bin").read_bytes() == CONTENT
    pieces = [piece async for piece in files.download(name="a/b.bin")]
    assert [len(piece) for piece in pieces] == [262_144, 262_144, 175_712]
    assert b"".join(pieces) == CONTENT


async def test_the_name_may_come_in_a_header(files: Files, root: Path) -> None:
    """Where the first item is a Buffer, `filename` among the headers is the name; without it that is an error."""
    result = await files.upload(in_pieces(CONTENT, 100_000), meta={"filename": "big.iso"})
    assert result == {"name": "big.iso", "size": len(CONTENT), "sha256": SHA256}
    assert (await files.upload([], meta={"filename": "empty"}))["size"] == 0
    with pytest.raises(CallError) as refused:
        await files.upload([b"bytes"])
    assert refused.value.as_dict() == {
        "code": "invalid_argument",
        "message": "The first item is to be an object with the file's `name`, or the call is to have the header"
        " `filename`.",
    }
    with pytest.raises(CallError, match=r"^invalid_argument: The name '../up' is refused"):
        await files.upload([b"bytes"], meta={"filename": "../up"})
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


async def test_a_bad_upload_is_refused_and_leaves_nothing_visible(files: Files, root: Path) -> None:
    """With the code and the sentence for it; the connection goes on."""
    (root / "there").write_bytes(b"there")
    for items, code, message in BAD_UPLOADS:
        with pytest.raises(CallError) as refused:
            await files.upload(items)
        assert (refused.value.code, refused.value.message[: len(message)]) == (code, message), items
        assert visible(root) == ["there"]
    assert (await files.put("after"))["sha256"] == SHA256


async def test_upload_tells_how_far_it_is(files: Files) -> None:
    """To who asks for it: bytes that are there, of how many, and the name."""
    start = {"name": "a", "size": len(CONTENT)}
    told: list[Any] = []

    def hear(*progress: Any) -> None:
        told.append(progress)

    await files.upload([start, *in_pieces(CONTENT, 65_536)], progress=hear)
    assert told[0] == (0, len(CONTENT), "a")
    assert told[-1] == (len(CONTENT), len(CONTENT), "a")


async def test_download_gives_the_part_that_is_asked_for(files: Files) -> None:
    """From an offset, so many bytes, never more than there are."""
    await files.put("a")
    size = len(CONTENT)
    assert await files.get(name="a", offset=100_000) == CONTENT[100_000:]
    assert await files.get(name="a", offset=5, length=10) == CONTENT[5:15]
    assert await files.get(name="a", offset=5, length=300_000) == CONTENT[5:300_005]
    assert await files.get(name="a", offset=5, length=0) == b""
    assert await files.get(name="a", offset=size - 1, length=10) == CONTENT[-1:]
    assert await files.get(name="a", offset=size) == b""
    with pytest.raises(CallError) as refused:
        await files.get(name="a", offset=size + 1)
    assert refused.value.as_dict() == {
        "code": "out_of_range",
        "message": "'a' has 700,000 bytes, and the offset is 700,001.",
    }


async def test_a_download_goes_on_only_with_the_same_file(files: Files) -> None:
    """With the version that `stat` told; one that has been replaced is refused."""
    await files.put("a")
    version = (await files.call("stat", {"name": "a"}))["version"]
    first = await files.get(name="a", length=300_000, version=version)
    assert first + await files.get(name="a", offset=300_000, version=version) == CONTENT
    await files.put("a", CONTENT[::-1], replace=True)
    now = (await files.call("stat", {"name": "a"}))["version"]
    with pytest.raises(CallError) as refused:
        await files.get(name="a", offset=300_000, version=version)
    assert refused.value.as_dict() == {
        "code": "failed_precondition",
        "message": f"'a' has changed: it has the version {now!r} now, and {version!r} was asked for; begin anew.",
    }


@pytest.mark.full
async def test_a_download_that_runs_keeps_the_file_that_it_began(jackfield_kernel: RunningKernel, files: Files) -> None:
    """Whether it is replaced or deleted meanwhile."""
    writer = Files(await jackfield_kernel.connect())
    await writer.put("a")
    pieces = files.download(credit=1, name="a")
    first = await anext(pieces)
    await writer.put("a", b"new", replace=True)
    await writer.call("delete", {"name": "a"})
    assert first + b"".join([piece async for piece in pieces]) == CONTENT


@pytest.mark.full
@pytest.mark.jackfield(settings={"chunk": 1024})
async def test_a_file_that_shrinks_while_it_is_read_ends_its_download(files: Files, root: Path) -> None:
    """Others than the server may do that; the client is told instead of being given less."""
    root.joinpath("a").write_bytes(bytes(3_000_000))
    pieces = files.download(credit=1, name="a")
    await anext(pieces)
    os.truncate(root / "a", 10)
    with pytest.raises(CallError) as refused:
        async for _ in pieces:
            pass
    assert refused.value.as_dict() == {
        "code": "failed_precondition",
        "message": "'a' has become shorter while it was read; begin anew.",
    }


async def test_stat_tells_about_a_file(files: Files, root: Path) -> None:
    """Size, time and version; the checksum if it is asked for, with progress."""
    await files.put("a")
    told = await files.call("stat", {"name": "a"})
    assert set(told) == {"name", "size", "modified", "version", "sha256"}
    assert (told["name"], told["size"], told["sha256"]) == ("a", len(CONTENT), None)
    assert datetime.fromisoformat(told["modified"]).timestamp() == pytest.approx((root / "a").stat().st_mtime)
    assert await files.call("stat", {"name": "a", "hash": True}) == {**told, "sha256": SHA256}


async def test_list_gives_names_page_by_page(files: Files) -> None:
    """In order, with what to ask for next; partial uploads are not there."""
    made = ["a", "b/c", "b/d/e", "f"]
    for name in made:
        await files.put(name, b"x")
    partial = files.begin([{"name": "partial"}, b"x"])
    await until_kept(files, "partial", 1)
    everything = await files.call("list")
    assert [file["name"] for file in everything["files"]] == made
    assert everything["next"] is None
    assert everything["files"][1] == {
        key: value for key, value in (await files.call("stat", {"name": "b/c"})).items() if key != "sha256"
    }
    page = await files.call("list", {"limit": 3})
    assert ([file["name"] for file in page["files"]], page["next"]) == (made[:3], "b/d/e")
    page = await files.call("list", {"limit": 3, "after": page["next"]})
    assert ([file["name"] for file in page["files"]], page["next"]) == (made[3:], None)
    page = await files.call("list", {"folder": "b"})
    assert [file["name"] for file in page["files"]] == ["b/c", "b/d/e"]
    assert await files.call("list", {"folder": "nothing"}) == {"files": [], "next": None}
    for bad in ({"limit": 0}, {"limit": 1001}, {"folder": "../"}, {"folder": "/"}):
        with pytest.raises(CallError, match="invalid_argument"):
            await files.call("list", bad)
    partial.cancel()


async def test_delete_and_move(files: Files, root: Path) -> None:
    """They answer with what the file was, and is; there is no file a second time, and none is replaced unasked."""
    await files.put("x/a", b"a")
    await files.put("b", b"b")
    with pytest.raises(CallError, match=r"^already_exists: There is a file 'b' already; `replace` replaces it"):
        await files.call("move", {"name": "x/a", "to": "b"})
    moved = await files.call("move", {"name": "x/a", "to": "b", "replace": True})
    assert (moved["name"], moved["size"]) == ("b", 1)
    assert visible(root) == ["b"]
    assert (root / "b").read_bytes() == b"a"
    assert await files.call("delete", {"name": "b"}) == moved
    for function, data in (("delete", {"name": "b"}), ("move", {"name": "b", "to": "c"}), ("stat", {"name": "b"})):
        with pytest.raises(CallError, match=r"^not_found: There is no file 'b'\.$"):
            await files.call(function, data)
    with pytest.raises(CallError, match=r"^not_found: There is no file 'b'\.$"):
        await files.get(name="b")
    assert visible(root) == []


async def test_bad_names_are_refused_by_every_function(files: Files, root: Path, tmp_path: Path) -> None:
    """As `invalid_argument`, with the rule, whatever the name is for."""
    (tmp_path / "secret").write_bytes(b"secret")
    await files.put("good", b"x")
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
            with pytest.raises(CallError) as refused:
                await files.call(function, data)
            assert refused.value.as_dict() == {"code": "invalid_argument", "message": sentence}
        for attempt in (files.get(name=name), files.put(name)):
            with pytest.raises(CallError) as refused:
                await attempt
            assert refused.value.as_dict() == {"code": "invalid_argument", "message": sentence}
    assert visible(root) == ["good"]


async def test_links_lead_nowhere(files: Files, root: Path, tmp_path: Path) -> None:
    """Planted in the root, they are refused by every function as `failed_precondition`, and what they show is safe."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file").symlink_to(tmp_path / "outside/secret")
    await files.put("good", b"x")
    for name in ("file", "folder", "folder/secret", "folder/new"):
        for function, data in (
            ("stat", {"name": name}),
            ("delete", {"name": name}),
            ("move", {"name": name, "to": "x"}),
            ("move", {"name": "good", "to": name, "replace": True}),
        ):
            with pytest.raises(CallError, match=r"^failed_precondition: "):
                await files.call(function, data)
        for attempt in (files.get(name=name), files.put(name), files.put(name, replace=True)):
            with pytest.raises(CallError, match=r"^failed_precondition: "):
                await attempt
    with pytest.raises(CallError, match=r"^failed_precondition: "):
        await files.call("list", {"folder": "folder"})
    assert [file["name"] for file in (await files.call("list"))["files"]] == ["good"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()} == {"secret": b"secret"}


@pytest.mark.jackfield(settings={"quota": 1_000_000, "max_size": 800_000})
async def test_the_quota_is_told_by_its_name(files: Files, root: Path) -> None:
    """What does not fit is `resource_exhausted`, before a byte is sent where the size is known, and takes no room."""
    await files.put("a")
    with pytest.raises(CallError) as refused:
        await files.upload([{"name": "b", "size": 300_001}])
    assert refused.value.as_dict() == {
        "code": "resource_exhausted",
        "message": "300,001 bytes do not fit: all files together may have 1,000,000 (setting"
        " plugins.files.quota), and 300,000 of them are left.",
    }
    with pytest.raises(CallError, match=r"^resource_exhausted: .*plugins\.files\.quota"):
        await files.put("b")
    with pytest.raises(CallError, match=r"^resource_exhausted: .*plugins\.files\.max_size"):
        await files.upload([{"name": "b", "size": 800_001}])
    with pytest.raises(CallError, match=r"^resource_exhausted: "):  # at once, not when it has something to send again
        await files.begin([{"name": "b"}, *in_pieces(CONTENT, 65_536)])
    await files.put("b", bytes(300_000))
    await files.call("delete", {"name": "a"})
    assert (await files.put("c"))["sha256"] == SHA256
    assert visible(root) == ["b", "c"]


@pytest.mark.jackfield(network=True)
async def test_an_ordinary_client_can_do_it_all(jackfield_kernel: RunningKernel) -> None:
    """With python-socketio as it comes: an upload, a download, a call."""
    async with connected(jackfield_kernel.url) as client:
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


async def test_a_cancelled_download_is_closed(files: Files) -> None:
    """The server holds no file open for a client that has said it wants no more."""
    process = psutil.Process()
    await files.put("a", bytes(3_000_000))
    before = process.num_fds()
    async with files.download(credit=1, name="a") as pieces:
        await anext(pieces)
        assert process.num_fds() == before + 1
    await until(lambda: process.num_fds() == before)


@pytest.mark.full
async def test_many_downloads_that_nobody_reads_cost_little(server: Server, root: Path) -> None:
    """A hundred of them cost what they hold of one piece each, and the read-ahead of a few; all can be read then."""
    content = os.urandom(4_000_000)
    (root / "a").write_bytes(content)
    async with connection(server.url) as client:
        assert b"".join([piece async for piece in client.download({"name": "a"})]) == content
        before = server.rss
        for _ in range(100):
            await client.open("download", data={"name": "a"}, credit=0)
        await client.call("stat", {"name": "a", "hash": True})
        assert server.rss - before < 64 * 1024**2
        with pytest.raises(Refused, match=r"^resource_exhausted: 100 streams"):
            await client.open("download", data={"name": "a"})
    async with connection(server.url) as client:
        assert b"".join([piece async for piece in client.download({"name": "a"})]) == content


async def test_a_server_that_cannot_have_its_root_says_so(jackfield_serve: Serve, tmp_path: Path) -> None:
    """The plugin is quarantined, with the reason; so is one whose settings are wrong."""
    (tmp_path / "file").write_bytes(b"")
    async with jackfield_serve("files", settings={"root": tmp_path / "file"}, strict=False) as kernel:
        assert (kernel.plugin.state, kernel.plugin.kind) == ("quarantined", "FileExistsError")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"quoat": 1}, "plugins.files.quoat: there is no such key; did you mean plugins.files.quota?"),
        ({"chunk": 1_000_000}, "plugins.files.chunk: Input should be less than or equal to 524288"),
    ],
)
async def test_a_wrong_setting_is_named(jackfield_serve: Serve, setting: dict[str, int], reason: str) -> None:
    """The plugin is quarantined, and the reason names the key."""
    async with jackfield_serve("files", settings=setting, strict=False) as kernel:
        assert (kernel.plugin.state, kernel.plugin.reason) == ("quarantined", reason)


def test_it_keeps_the_contract(root: Path) -> None:
    """What every plugin owes to the server that installs it."""
    assert_plugin_contract("files", settings={"root": root}, project=Path(__file__).parent)
