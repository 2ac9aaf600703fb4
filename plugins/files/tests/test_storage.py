"""The files on the disk, without a server: what is there, what goes, what is called differently."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from jackfield_files import tree
from jackfield_files.faults import Changed, Exists, NotFound, NotServed, Stopped
from jackfield_files.storage import Storage

DAY = 86400.0


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture(name="storage")
def _storage(root: Path) -> Iterator[Storage]:
    with closing(Storage(root, quota=1_000_000, keep=DAY)) as storage:
        yield storage


def put(root: Path, *names: str, content: bytes = b"content") -> None:
    """Make files as somebody else than the server would."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def names(storage: Storage, folder: str = "", after: str = "", limit: int = 1000) -> list[str]:
    return [info.name for info in storage.list(folder, after, limit)]


def test_stat_tells_what_a_file_is(storage: Storage, root: Path) -> None:
    """Size and time are the file's; the version is another one whenever the content is."""
    put(root, "a/b.txt", content=b"12345")
    info = storage.stat("a/b.txt")
    assert (info.name, info.size) == ("a/b.txt", 5)
    assert info.modified.timestamp() == pytest.approx((root / "a/b.txt").stat().st_mtime)
    assert storage.stat("a/b.txt") == info
    put(root, "a/b.txt", content=b"123456")
    assert storage.stat("a/b.txt").version != info.version
    longer = storage.stat("a/b.txt")
    os.utime(root / "a/b.txt", ns=(0, 0))
    assert storage.stat("a/b.txt").version != longer.version


def test_the_version_of_a_file_that_replaces_another_is_another(storage: Storage, root: Path) -> None:
    """Even with the same size and the same time."""
    put(root, "a", "b")
    for name in ("a", "b"):
        os.utime(root / name, ns=(10**18, 10**18))
    before = storage.stat("a").version
    (root / "b").replace(root / "a")
    assert storage.stat("a").version != before


def test_hash_reads_the_whole_file_and_tells_how_far_it_is(storage: Storage, root: Path) -> None:
    """SHA-256 of all of it, with reports from nothing to everything."""
    content = os.urandom(3 * 1024 * 1024 + 1)
    put(root, "big", content=content)
    reports: list[tuple[int, int]] = []

    def report(done: int, size: int) -> bool:
        reports.append((done, size))
        return True

    info, sha256 = storage.hash("big", report)
    assert (info, sha256) == (storage.stat("big"), hashlib.sha256(content).hexdigest())
    assert reports[0] == (0, len(content))
    assert reports[-1] == (len(content), len(content))
    assert len(reports) == 5


def test_hash_stops_when_nobody_waits(storage: Storage, root: Path) -> None:
    """As soon as the report says so."""
    put(root, "big", content=bytes(3 * 1024 * 1024))
    asked: list[int] = []

    def report(done: int, _size: int) -> bool:
        asked.append(done)
        return not done

    with pytest.raises(Stopped):
        storage.hash("big", report)
    assert asked == [0, 1024 * 1024]


def test_hash_refuses_what_is_written_meanwhile(storage: Storage, root: Path) -> None:
    """A checksum of a mixture would be of no file."""
    put(root, "big", content=bytes(2 * 1024 * 1024))

    def report(done: int, _size: int) -> bool:
        os.truncate(root / "big", 10) if not done else None
        return True

    with pytest.raises(Changed, match=r"^The file has become shorter while it was read; ask again\.$"):
        storage.hash("big", report)

    def touch(done: int, _size: int) -> bool:
        if done:
            os.utime(root / "big", ns=(0, 0))
        return True

    with pytest.raises(Changed, match=r"^'big' was written while it was read; ask again\.$"):
        storage.hash("big", touch)


def test_list_gives_whole_names_in_order(storage: Storage, root: Path) -> None:
    """Sorted by whole names, a folder's files where their names belong."""
    made = ["a.txt", "a/b", "a/c/d", "a0", "a-b", "b", "Z", "é", "zebra/1"]
    put(root, *made)
    assert names(storage) == sorted(made)
    assert names(storage, "a") == ["a/b", "a/c/d"]
    assert names(storage, "a/c") == ["a/c/d"]
    assert names(storage, "nothing/here") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_list_goes_on_after_any_name(storage: Storage, root: Path, limit: int) -> None:
    """Page by page all files come, each once, in order, whatever the size of a page."""
    made = sorted(["a.txt", "a/b", "a/c/d", "a/c/e", "a0", "a-b", "b", "b/"[:1] + "c", "c/a/b/c", "c/d"])
    put(root, *made)
    for empty in ("0", "a/0", "a/c0", "zz"):
        (root / empty).mkdir()
    found: list[str] = []
    while page := names(storage, after=found[-1] if found else "", limit=limit):
        assert len(page) <= limit
        found += page
    assert found == made


def test_list_goes_on_after_a_name_that_is_gone(storage: Storage, root: Path) -> None:
    """The cursor is a name, and need not be a file's; it may be a folder's, with or without its slash."""
    put(root, "a/b", "a/d", "b")
    assert names(storage, after="a/c") == ["a/d", "b"]
    assert names(storage, after="a/") == ["a/b", "a/d", "b"]
    assert names(storage, after="a") == ["a/b", "a/d", "b"]
    assert names(storage, "a", after="a/b") == ["a/d"]
    assert names(storage, after="zzz") == []


def test_list_shows_only_what_can_be_asked_for(storage: Storage, root: Path, tmp_path: Path) -> None:
    """No hidden names, no links, no devices, no names that break a rule, nothing that is not whole."""
    put(root, "good", ".hidden", "folder/.hidden/x", "con", "trailing.", "a:b", ".jackfield/" + "0" * 64 + ".7")
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"no UTF-8")
    put(tmp_path, "outside/secret")
    (root / "link").symlink_to(tmp_path / "outside/secret")
    (root / "folder-link").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "socket"))
    assert names(storage) == ["good"]


def test_a_name_deeper_than_allowed_is_not_listed(storage: Storage, root: Path) -> None:
    """What lies deeper than names can be has none."""
    put(root, "/".join("x" * 32), "/".join("x" * 31) + "/y/z")
    assert names(storage) == ["/".join("x" * 32)[:-2] + "/x"]
    assert names(storage, "/".join("x" * 31)) == ["/".join("x" * 32)]


def test_what_is_no_regular_file_is_not_served(storage: Storage, root: Path, tmp_path: Path) -> None:
    """A link, a folder, a pipe and a socket are refused, and so is what lies behind a link."""
    put(tmp_path, "outside/secret")
    put(root, "folder/file", "file")
    (root / "link").symlink_to("file")
    (root / "folder-link").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    for name in ("link", "folder", "pipe", "folder-link", "dangling"):
        for ask in (storage.stat, storage.delete, lambda name: storage.tree.open_file((name,))):
            with pytest.raises(NotServed) as refused:
                ask(name)
            assert str(refused.value) == f"{name!r} is no regular file: it is a folder, a symbolic link or a device."
    for name in ("folder-link/secret", "file/x"):
        with pytest.raises(NotServed) as refused:
            storage.stat(name)
        assert str(refused.value) == (
            f"{name.split('/')[0]!r} is no folder, or a symbolic link, and those are not followed."
        )
    with pytest.raises(NotServed):
        storage.list("folder-link", "", 10)
    assert (tmp_path / "outside/secret").exists()


def test_a_link_planted_after_the_look_is_not_followed(storage: Storage, root: Path, tmp_path: Path) -> None:
    """Between the look at a file and its opening somebody puts a link there: it is refused, not followed."""
    put(tmp_path, "secret")
    put(root, "a/file")
    with storage.tree.folder(("a",)) as fd:
        (root / "a").rename(root / "b")
        (root / "a").symlink_to(tmp_path)
        (root / "b/file").rename(root / "b/other")
        assert os.listdir(fd) == ["other"]
    with pytest.raises(NotServed):
        storage.stat("a/secret")


@pytest.mark.parametrize("planted", ["link", "pipe", "folder", "nothing"])
def test_what_is_planted_between_look_and_opening_is_not_opened(
    storage: Storage, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    """Whoever can write into the root may change it at any moment, and gets nothing else served by that."""
    put(tmp_path, "secret")
    put(root, "a")
    look_at = tree.look_at

    def look_and_plant(fd: int, parts: tuple[str, ...]) -> os.stat_result:
        status = look_at(fd, parts)
        (root / "a").unlink()
        if planted == "link":
            (root / "a").symlink_to(tmp_path / "secret")
        elif planted == "pipe":
            os.mkfifo(root / "a")
        elif planted == "folder":
            (root / "a").mkdir()
        return status

    monkeypatch.setattr(tree, "look_at", look_and_plant)
    before = psutil.Process().num_fds()
    with pytest.raises(NotFound if planted == "nothing" else NotServed):
        storage.tree.open_file(("a",))
    assert psutil.Process().num_fds() == before


def test_delete_takes_the_folders_that_are_empty_then(storage: Storage, root: Path) -> None:
    """Up to the first that is not, and never the root."""
    put(root, "a/b/c/d", "a/e")
    assert storage.delete("a/b/c/d").name == "a/b/c/d"
    assert sorted(path.name for path in root.iterdir()) == [".jackfield", "a"]
    assert [path.name for path in (root / "a").iterdir()] == ["e"]
    storage.delete("a/e")
    assert [path.name for path in root.iterdir()] == [".jackfield"]
    with pytest.raises(NotFound, match=r"^There is no file 'a/e'\.$"):
        storage.delete("a/e")


def test_a_file_that_is_open_keeps_its_content(storage: Storage, root: Path) -> None:
    """Whether it is replaced, moved or deleted meanwhile."""
    put(root, "a", "b", content=b"new")
    put(root, "a", content=b"old")
    fd = storage.tree.open_file(("a",))
    storage.move("b", "a", replace=True)
    storage.delete("a")
    assert os.pread(fd, 10, 0) == b"old"
    os.close(fd)


def test_move_gives_another_name(storage: Storage, root: Path) -> None:
    """Folders are made and tidied up as needed, and the content stays."""
    put(root, "a/b/c", content=b"c")
    info = storage.move("a/b/c", "x/y/z", replace=False)
    assert (info.name, info.size) == ("x/y/z", 1)
    assert names(storage) == ["x/y/z"]
    assert not (root / "a").exists()
    assert storage.stat("x/y/z") == info
    assert storage.move("x/y/z", "x/y/w", replace=False).version == info.version


def test_move_replaces_only_where_it_may(storage: Storage, root: Path) -> None:
    """`Exists` else, and both files stay as they are; onto itself nothing happens."""
    put(root, "a", content=b"a")
    put(root, "b", content=b"b")
    with pytest.raises(Exists, match=r"^There is a file 'b' already; `replace` replaces it\.$"):
        storage.move("a", "b", replace=False)
    assert names(storage) == ["a", "b"]
    with pytest.raises(Exists):
        storage.move("a", "a", replace=False)
    assert storage.move("a", "a", replace=True) == storage.stat("a")
    storage.move("a", "b", replace=True)
    assert names(storage) == ["b"]
    assert (root / "b").read_bytes() == b"a"


def test_move_refuses_what_is_no_file(storage: Storage, root: Path, tmp_path: Path) -> None:
    """Not onto a folder or a link, not below a file, and nothing that is not there; no folder is left behind."""
    put(root, "a", "folder/b")
    (root / "link").symlink_to(tmp_path)
    for to in ("folder", "link", "link/x", "a/x"):
        with pytest.raises(NotServed):
            storage.move("a", to, replace=True)
    with pytest.raises(NotFound, match=r"^There is no file 'nothing/here'\.$"):
        storage.move("nothing/here", "new/folder/x", replace=False)
    assert not (root / "new").exists()
    assert names(storage) == ["a", "folder/b"]


def test_of_two_hard_links_one_is_left(storage: Storage, root: Path) -> None:
    """Moving one name of a file onto another of its names leaves that other one."""
    put(root, "a")
    os.link(root / "a", root / "b")
    storage.move("a", "b", replace=True)
    assert names(storage) == ["b"]


def test_the_root_may_be_a_link_and_is_made_if_it_is_missing(tmp_path: Path) -> None:
    """The operator says where it is; only what is inside is not followed."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    put(tmp_path, "real/a")
    with closing(Storage(tmp_path / "link", quota=100, keep=DAY)) as storage:
        assert names(storage) == ["a"]
    with closing(Storage(tmp_path / "x/y/z", quota=100, keep=DAY)) as storage:
        assert names(storage) == []


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """With what the system says about it, and no descriptor is left open."""
    put(tmp_path, "file")
    before = psutil.Process().num_fds()
    with pytest.raises(FileExistsError):
        Storage(tmp_path / "file", quota=100, keep=DAY)
    put(tmp_path, "root/x")
    (tmp_path / "root/.jackfield").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        Storage(tmp_path / "root", quota=100, keep=DAY)
    put(tmp_path, "other/.jackfield/x")
    (tmp_path / "other/.jackfield/lock").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="symbolic links"):
        Storage(tmp_path / "other", quota=100, keep=DAY)
    assert psutil.Process().num_fds() == before
