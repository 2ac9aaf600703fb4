"""One upload's file, without a server: how it becomes whole, what is kept of it, and who may have how much."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from jackfield_files import incoming as module
from jackfield_files.faults import (
    Damaged,
    Exists,
    FileFault,
    Incomplete,
    NoRoom,
    NotServed,
    OutOfRange,
    Stopped,
    Superseded,
)
from jackfield_files.incoming import Incoming, Order, kept_of
from jackfield_files.space import key_of
from jackfield_files.storage import Info, Storage

DAY = 86400.0
QUOTA = 1_000_000
CONTENT = os.urandom(100_000)

Begin = Callable[..., Incoming]


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture(name="storage")
def _storage(root: Path) -> Iterator[Storage]:
    with closing(Storage(root, quota=QUOTA, keep=DAY)) as storage:
        yield storage


@pytest.fixture(name="begin")
def _begin(storage: Storage) -> Iterator[Begin]:
    """Open an upload, of a thing called `a` if nothing else is said."""
    with ExitStack() as stack:

        def begin(name: str = "a", *, where: Storage = storage, max_size: int = QUOTA, **fields: object) -> Incoming:
            upload = stack.enter_context(closing(Incoming(where, Order(name, **fields), max_size)))  # type: ignore[arg-type]
            upload.open()
            return upload

        yield begin


def whole(begin: Begin, content: bytes, name: str = "a", **fields: object) -> tuple[Info, str]:
    upload = begin(name, **fields)
    upload.write([content])
    done = upload.finish()
    upload.close()
    return done


def broken(begin: Begin, content: bytes, name: str = "a", **fields: object) -> None:
    upload = begin(name, **fields)
    upload.write([content])
    upload.close()


def taken(storage: Storage) -> int:
    """What all files may still have, found by asking for ever more."""
    with storage.space.held():
        return QUOTA - storage.space._free("")


def visible(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if ".jackfield" not in p.parts)


def partials(root: Path) -> dict[str, int]:
    return {p.name: p.stat().st_size for p in (root / ".jackfield").iterdir() if p.name != "lock"}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_an_upload_is_a_file_once_it_is_whole(
    storage: Storage, root: Path, begin: Begin, content: bytes, known: bool
) -> None:
    """Before that nothing is visible, not even its folder; then it is there with its checksum."""
    sha256 = hashlib.sha256(content).hexdigest()
    upload = begin("x/y", **({"size": len(content), "sha256": sha256} if known else {}))
    upload.write([content[:10], b"", content[10:]])
    assert visible(root) == []
    info, found = upload.finish()
    upload.close()
    assert (info, found) == (storage.stat("x/y"), sha256)
    assert (root / "x/y").read_bytes() == content
    assert partials(root) == {}
    assert taken(storage) == len(content)


def test_a_broken_upload_is_kept_and_gone_on_with(storage: Storage, root: Path, begin: Begin) -> None:
    """At what is there, or before it; the checksum covers the part that was kept."""
    broken(begin, CONTENT[:60_000])
    assert visible(root) == []
    assert kept_of(storage, "a") == 60_000
    upload = begin(offset=60_000)
    assert upload.size == 60_000
    upload.write([CONTENT[60_000:70_000]])
    upload.close()
    assert kept_of(storage, "a") == 70_000
    _, sha256 = whole(begin, CONTENT[50_000:], offset=50_000, size=len(CONTENT))
    assert sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (root / "a").read_bytes() == CONTENT
    assert kept_of(storage, "a") == 0


def test_an_upload_that_is_stopped_before_it_goes_on_loses_nothing(storage: Storage, root: Path, begin: Begin) -> None:
    """While it reads what is kept, its client may go again: what is kept stays, up to the offset."""
    broken(begin, CONTENT)
    upload = Incoming(storage, Order("a", offset=60_000), QUOTA)
    upload.stop()
    with pytest.raises(Stopped):
        upload.open()
    upload.close()
    assert kept_of(storage, "a") == 60_000
    with closing(Storage(root, quota=QUOTA, keep=DAY)) as other:
        running = begin("a", offset=60_000, where=other)
        upload = Incoming(storage, Order("a", offset=50_000), QUOTA)
        upload.stop()
        upload.open()
        upload.close()
        running.close()
    assert kept_of(storage, "a") == 50_000


def test_an_upload_without_offset_starts_anew(storage: Storage, root: Path, begin: Begin) -> None:
    """What was kept is gone then."""
    broken(begin, CONTENT)
    begin().close()
    assert kept_of(storage, "a") == 0
    assert partials(root) == {}


def test_an_offset_past_what_is_kept_is_refused(storage: Storage, begin: Begin) -> None:
    """The message says how much is kept, and nothing of it is lost."""
    with pytest.raises(OutOfRange) as refused:
        begin(offset=1)
    assert str(refused.value) == (
        "Of 'a' 0 bytes are kept, so an upload cannot go on at 1; `offset` tells where it can."
    )
    broken(begin, CONTENT)
    with pytest.raises(OutOfRange, match="Of 'a' 100,000 bytes are kept"):
        begin(offset=100_001)
    with pytest.raises(OutOfRange) as refused:
        begin(offset=50_000, size=49_999)
    assert str(refused.value) == "The offset is 50,000, and the size of 'a' only 49,999."
    assert kept_of(storage, "a") == 100_000


def test_an_upload_that_ends_early_is_kept(storage: Storage, root: Path, begin: Begin) -> None:
    """The message says how much came, of how much, and how to go on."""
    upload = begin(size=10)
    upload.write([b"1234"])
    with pytest.raises(Incomplete) as refused:
        upload.finish()
    assert str(refused.value) == "The upload of 'a' ended after 4 of 10 bytes; go on with the offset 4."
    upload.close()
    assert (visible(root), kept_of(storage, "a")) == ([], 4)


def test_an_upload_that_is_too_long_is_not_kept(storage: Storage, root: Path, begin: Begin) -> None:
    """The announced size was wrong, or the bytes are."""
    upload = begin(size=10)
    upload.write([b"1234567890"])
    with pytest.raises(OutOfRange) as refused:
        upload.write([b"x"])
    assert str(refused.value) == (
        "The size of 'a' was announced as 10 bytes, and more have come; nothing of them is kept."
    )
    upload.close()
    assert (visible(root), partials(root), taken(storage)) == ([], {}, 0)


def test_a_damaged_upload_is_not_kept(storage: Storage, root: Path, begin: Begin) -> None:
    """Going on with it could never give the announced checksum."""
    wanted, found = hashlib.sha256(b"good").hexdigest(), hashlib.sha256(b"evil").hexdigest()
    upload = begin(sha256=wanted)
    upload.write([b"evil"])
    with pytest.raises(Damaged) as refused:
        upload.finish()
    assert str(refused.value) == (
        f"The 4 bytes of 'a' have the SHA-256 {found}, and {wanted} was announced; nothing of them is kept: upload"
        " them anew."
    )
    upload.close()
    assert (visible(root), partials(root), taken(storage)) == ([], {}, 0)


def test_a_file_is_replaced_only_where_it_may_be(storage: Storage, root: Path, begin: Begin) -> None:
    """`Exists` before a byte is sent; where it may, the old one is there until the new one is whole."""
    whole(begin, b"old")
    with pytest.raises(Exists, match=r"^There is a file 'a' already; `replace` replaces it\.$"):
        begin()
    upload = begin(replace=True)
    upload.write([b"newer"])
    assert (root / "a").read_bytes() == b"old"
    upload.finish()
    assert (root / "a").read_bytes() == b"newer"
    assert taken(storage) == 5


def test_a_file_that_has_come_meanwhile_is_left_alone(storage: Storage, root: Path, begin: Begin) -> None:
    """The upload fails at its end, and what came is kept for one that replaces."""
    upload = begin("x/a")
    upload.write([b"mine"])
    (root / "x").mkdir()
    (root / "x/a").write_bytes(b"theirs")
    with pytest.raises(Exists):
        upload.finish()
    upload.close()
    assert (root / "x/a").read_bytes() == b"theirs"
    assert kept_of(storage, "x/a") == 4
    whole(begin, b"", "x/a", offset=4, replace=True)
    assert (root / "x/a").read_bytes() == b"mine"


def test_a_file_that_comes_in_the_last_moment_is_left_alone(
    storage: Storage, root: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others than this server hold no lock: even after the last look nothing of theirs is overwritten."""
    upload = begin("x/a")
    upload.write([b"mine"])
    existing = storage.existing

    def look_and_plant(parts: Sequence[str], *, replace: bool) -> os.stat_result | None:
        found = existing(parts, replace=replace)
        (root / "x").mkdir()
        (root / "x/a").write_bytes(b"theirs")
        return found

    monkeypatch.setattr(storage, "existing", look_and_plant)
    with pytest.raises(Exists, match=r"^There is a file 'x/a' already; `replace` replaces it\.$"):
        upload.finish()
    upload.close()
    assert (root / "x/a").read_bytes() == b"theirs"


def test_a_folder_that_was_made_for_nothing_is_removed(
    storage: Storage, root: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file cannot get its name, no empty folder stays behind."""
    upload = begin("x/y/a")
    upload.write([b"mine"])
    (root / "b").write_bytes(b"b")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as broken_disk:
        broken_disk.setattr(os, "link", fail)
        broken_disk.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="broken"):
            upload.finish()
        with pytest.raises(OSError, match="broken"):
            storage.move("b", "x/y/b", replace=False)
    assert visible(root) == ["b"]


def test_links_and_folders_are_not_written_through(storage: Storage, root: Path, begin: Begin, tmp_path: Path) -> None:
    """Neither at the start nor where they are planted while the upload runs; no folder is left behind."""
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to(tmp_path / "outside/new")
    (root / "folder").mkdir()
    for name in ("link", "link/x", "dangling", "folder"):
        for replace in (True, False):
            with pytest.raises(NotServed):
                begin(name, replace=replace)
    for planted, name in (("p/q", "p/q/r"), ("s", "s")):
        for replace in (True, False):
            upload = begin(name, replace=replace)
            upload.write([b"secret"])
            (root / planted).parent.mkdir(exist_ok=True)
            (root / planted).symlink_to(tmp_path / "outside")
            with pytest.raises(NotServed):
                upload.finish()
            upload.close()
            (root / planted).unlink()
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_partial_file_that_is_a_link_is_not_followed(storage: Storage, root: Path, begin: Begin) -> None:
    """Whoever can write into the reserved folder cannot make the server write elsewhere."""
    (root / "victim").write_bytes(b"precious")
    (root / ".jackfield" / f"{key_of('a')}.8").symlink_to(root / "victim")
    with pytest.raises(OSError, match="symbolic"):
        begin()
    assert (root / "victim").read_bytes() == b"precious"


def test_a_partial_file_that_has_its_name_already_is_left_alone(storage: Storage, root: Path, begin: Begin) -> None:
    """A server that was killed between giving the name and removing the partial file: the file stays as it is."""
    whole(begin, CONTENT)
    os.link(root / "a", root / ".jackfield" / f"{key_of('a')}.{len(CONTENT)}")
    assert kept_of(storage, "a") == 0
    whole(begin, b"new", replace=True)
    os.link(root / "a", root / ".jackfield" / f"{key_of('b')}.3")
    storage.sweep()
    assert partials(root) == {}
    assert (root / "a").read_bytes() == b"new"


def test_a_file_system_without_hard_links_will_do(
    storage: Storage, root: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is renamed then."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    whole(begin, CONTENT, "x/a")
    assert (root / "x/a").read_bytes() == CONTENT
    with pytest.raises(Exists):
        begin("x/a")


# ------------------------------------------------------------------- how much there may be


def test_a_file_that_is_too_large_is_refused(storage: Storage, root: Path, begin: Begin) -> None:
    """At the start where its size is known, else as soon as it is; the message names the setting."""
    sentence = "'a' would have 101 bytes or more, and a file may have 100 (setting plugins.files.max_size)."
    with pytest.raises(NoRoom) as refused:
        begin(size=101, max_size=100)
    assert str(refused.value) == sentence
    upload = begin(max_size=100)
    upload.write([bytes(100)])
    with pytest.raises(NoRoom) as refused:
        upload.write([b"x"])
    assert str(refused.value) == sentence
    upload.close()
    assert partials(root) == {}


def test_the_quota_counts_what_is_announced(storage: Storage, begin: Begin) -> None:
    """An upload of a known size has all its bytes from the start, so that it does not fail half-way."""
    begin("a", size=600_000)
    with pytest.raises(NoRoom) as refused:
        begin("b", size=400_001)
    assert str(refused.value) == (
        "400,001 bytes do not fit: all files together may have 1,000,000 (setting plugins.files.quota), and 400,000"
        " of them are left."
    )
    begin("b", size=400_000)
    with pytest.raises(NoRoom, match="1 bytes do not fit"):
        begin("c").write([b"x"])


def test_the_quota_counts_what_comes(storage: Storage, root: Path, begin: Begin) -> None:
    """An upload of unknown size ends where the quota does, and gives all of it back."""
    upload = begin("a")
    upload.write([bytes(900_000)])
    other = begin("b")
    with pytest.raises(NoRoom):
        other.write([bytes(100_001)])
    other.close()
    upload.write([bytes(100_000)])
    with pytest.raises(NoRoom):
        upload.write([b"x"])
    upload.close()
    assert (partials(root), taken(storage)) == ({}, 0)


def test_an_upload_of_unknown_size_leaves_room_for_others(storage: Storage, begin: Begin) -> None:
    """What it has reserved and not used is free again when it ends."""
    upload = begin("a")
    upload.write([b"x"])
    upload.finish()
    upload.close()
    whole(begin, bytes(QUOTA - 1), "b")
    assert taken(storage) == QUOTA


def test_a_broken_upload_counts_with_what_is_kept(storage: Storage, begin: Begin) -> None:
    """Not with what was announced; going on with it does not count it twice."""
    broken(begin, bytes(500_000), size=900_000)
    assert taken(storage) == 500_000
    upload = begin(offset=500_000, size=QUOTA)
    assert taken(storage) == QUOTA
    upload.write([bytes(500_000)])
    upload.finish()
    upload.close()
    assert taken(storage) == QUOTA


def test_what_goes_leaves_room(storage: Storage, begin: Begin) -> None:
    """Deleted and replaced files are not counted any more."""
    whole(begin, bytes(400_000), "a")
    whole(begin, bytes(300_000), "b")
    storage.move("b", "a", replace=True)
    assert taken(storage) == 300_000
    storage.delete("a")
    assert taken(storage) == 0


def test_files_that_others_put_or_take_are_counted(storage: Storage, root: Path, begin: Begin, tmp_path: Path) -> None:
    """At the start, and again before an upload is refused."""
    whole(begin, bytes(400_000), "a")
    whole(begin, bytes(600_000), "b")
    (root / "a").unlink()
    whole(begin, bytes(400_000), "c")
    (tmp_path / "other/.hidden").mkdir(parents=True)
    (tmp_path / "other/.hidden/x").write_bytes(bytes(1000))
    (tmp_path / "other/link").symlink_to(root / "b")
    with closing(Storage(tmp_path / "other", quota=QUOTA, keep=DAY)) as other:
        assert taken(other) == 1000
        (tmp_path / "other/.jackfield/lock").write_text("rubbish")
        assert taken(other) == 1000


def test_a_full_disk_is_no_room(storage: Storage, root: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came is not kept, so that there is room again; another fault of the disk keeps it."""
    upload = begin()
    upload.write([b"1234"])

    def fail(number: int) -> Callable[..., int]:
        def writev(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        return writev

    monkeypatch.setattr(os, "writev", fail(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        upload.write([b"x"])
    upload.close()
    assert kept_of(storage, "a") == 4
    upload = begin(offset=4)
    monkeypatch.setattr(os, "writev", fail(errno.ENOSPC))
    with pytest.raises(NoRoom, match=r"^The disk of the server is full\.$"):
        upload.write([b"x"])
    upload.close()
    assert partials(root) == {}


def test_what_is_written_in_part_is_written_to_the_end(
    root: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system call may take fewer bytes than it was given."""
    writev, write = os.writev, os.write
    monkeypatch.setattr(os, "writev", lambda fd, buffers: writev(fd, [b"".join(buffers)[:7]]))
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    upload = begin()
    upload.write([b"abcde", b"", b"fghijklmno", b"p"])
    upload.finish()
    assert (root / "a").read_bytes() == b"abcdefghijklmnop"


# ------------------------------------------------------------------- how long it is kept


def test_broken_uploads_are_swept_after_their_time(storage: Storage, root: Path, begin: Begin) -> None:
    """Old ones go, younger ones and those that run stay."""
    broken(begin, b"old", "old")
    broken(begin, b"young", "young")
    running = begin("running")
    running.write([b"running"])
    for path in (root / ".jackfield").iterdir():
        if not path.name.startswith((key_of("young"), "lock")):
            os.utime(path, (0, 0))
    storage.sweep()
    assert [kept_of(storage, name) for name in ("old", "young", "running")] == [0, 5, 7]


def test_old_broken_uploads_make_room(storage: Storage, root: Path, begin: Begin) -> None:
    """Before an upload is refused for want of room."""
    broken(begin, bytes(QUOTA), "old")
    with pytest.raises(NoRoom):
        begin("new", size=1)
    for path in (root / ".jackfield").glob("*.*"):
        os.utime(path, (0, 0))
    whole(begin, bytes(QUOTA), "new")


def test_nothing_is_kept_where_nothing_is_to_be(tmp_path: Path, begin: Begin) -> None:
    """With `keep_partial = 0` a broken upload is gone at once."""
    with closing(Storage(tmp_path / "other", quota=QUOTA, keep=0)) as other:
        broken(begin, CONTENT, where=other)
        assert partials(tmp_path / "other") == {}


def test_a_killed_server_leaves_what_the_next_one_can_use(storage: Storage, root: Path, begin: Begin) -> None:
    """The bytes are kept; what was reserved beyond them is free again."""
    killed = Incoming(storage, Order("a", size=900_000), QUOTA)
    killed.open()
    killed.write([CONTENT])
    os.close(killed._fd)  # as the system does
    assert taken(storage) == 900_000
    with closing(Storage(root, quota=QUOTA, keep=DAY)) as after:
        assert taken(after) == len(CONTENT)
        whole(begin, b"end", where=after, offset=len(CONTENT))
    assert (root / "a").read_bytes() == CONTENT + b"end"


# ------------------------------------------------------------------- several processes


def test_another_process_takes_an_upload_over(storage: Storage, root: Path, begin: Begin) -> None:
    """The older one is told at its next step and can do no harm; the newer one has what was kept, copied."""
    with closing(Storage(root, quota=QUOTA, keep=DAY)) as other:
        older = begin(size=len(CONTENT))
        older.write([CONTENT[:60_000]])
        newer = begin(where=other, offset=50_000, size=len(CONTENT))
        with pytest.raises(Superseded, match=r"^A newer upload of 'a' has begun, so this one is over\.$"):
            older.write([b"late"])
        older.close()
        newer.write([CONTENT[50_000:]])
        _, sha256 = newer.finish()
        newer.close()
        assert sha256 == hashlib.sha256(CONTENT).hexdigest()
        assert (root / "a").read_bytes() == CONTENT
        assert (partials(root), taken(storage)) == ({}, len(CONTENT))


def test_an_upload_that_was_taken_over_does_not_come_to_its_end(storage: Storage, root: Path, begin: Begin) -> None:
    """Even if all its bytes were there already."""
    with closing(Storage(root, quota=QUOTA, keep=DAY)) as other:
        older = begin()
        older.write([CONTENT])
        newer = begin(where=other)
        with pytest.raises(Superseded):
            older.finish()
        older.close()
        newer.write([b"new"])
        newer.finish()
        newer.close()
        assert (root / "a").read_bytes() == b"new"


def test_an_upload_leaves_the_next_of_its_name_alone(storage: Storage, root: Path, begin: Begin) -> None:
    """One that is whole, and is closed when another process has begun a new one of the same size, harms none."""
    with closing(Storage(root, quota=QUOTA, keep=DAY)) as other:
        first = begin(size=5)
        first.write([b"first"])
        first.finish()
        second = begin(where=other, size=5, replace=True)
        second.write([b"2"])
        first.close()
        assert kept_of(storage, "a") == 1
        second.write([b"2222"])
        second.finish()
        second.close()
        assert (root / "a").read_bytes() == b"22222"


def test_the_quota_is_one_for_all_processes(storage: Storage, root: Path, begin: Begin) -> None:
    """What one has reserved or finished the others know."""
    with closing(Storage(root, quota=QUOTA, keep=DAY)) as other:
        begin("a", size=500_000)
        whole(begin, bytes(300_000), "b", where=other)
        with pytest.raises(NoRoom, match="200,000 of them are left"):
            begin("c", where=other, size=200_001)
        with pytest.raises(NoRoom, match="200,000 of them are left"):
            begin("c", size=200_001)


# ------------------------------------------------------------------- nothing is left open


def test_no_descriptor_is_left_open(
    storage: Storage, root: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an upload ends with."""
    broken(begin, CONTENT, "kept")
    (root / "folder").mkdir()
    before = psutil.Process().num_fds()
    orders = [
        Order("folder"),
        Order("a", size=QUOTA + 1),
        Order("a", offset=1),
        Order("kept", offset=len(CONTENT) + 1),
        Order("kept", offset=5, size=4),
        Order("kept", size=QUOTA, offset=3),
    ]
    monkeypatch.setattr(module, "feed", lambda *_: (_ for _ in ()).throw(FileFault("stopped")))
    for order in orders:
        upload = Incoming(storage, order, QUOTA)
        with pytest.raises(FileFault):
            upload.open()
        upload.close()
        upload.close()
    assert psutil.Process().num_fds() == before
