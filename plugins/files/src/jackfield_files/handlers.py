"""The functions of `api.files`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import Final

from jackfield import Call, CallError, Code, Service
from jackfield_files import faults
from jackfield_files.downloads import Part
from jackfield_files.files import Files
from jackfield_files.incoming import Order
from jackfield_files.messages import (
    DownloadRequest,
    File,
    FileStat,
    Kept,
    Listing,
    ListRequest,
    MoveRequest,
    StatRequest,
    Uploaded,
    UploadStart,
    Which,
)
from jackfield_files.storage import Info

_CODES: Final = {
    faults.BadName: Code.INVALID_ARGUMENT,
    faults.NotFound: Code.NOT_FOUND,
    faults.Exists: Code.ALREADY_EXISTS,
    faults.NotServed: Code.FAILED_PRECONDITION,
    faults.Changed: Code.FAILED_PRECONDITION,
    faults.OutOfRange: Code.OUT_OF_RANGE,
    faults.NoRoom: Code.RESOURCE_EXHAUSTED,
    faults.Superseded: Code.ABORTED,
    faults.Incomplete: Code.ABORTED,
    faults.Damaged: Code.DATA_LOSS,
    faults.Stopped: Code.CANCELED,
}
_ABOUT_A_FILE: Final = (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
_HASHING: Final = 600.0
"""Seconds that `stat` has to read a whole file."""

READ: Final = "files:read"
WRITE: Final = "files:write"
"""The scopes that callers need, where clients have to say who they are."""

_EVERYTHING: Final = ListRequest()


def make_service(opened: Callable[[Call], Files]) -> Service:
    """Return the service; `opened` tells which files a call is about."""
    service = Service("api.files")

    @service.function(
        requires=WRITE,
        errors=[
            Code.INVALID_ARGUMENT,
            Code.ALREADY_EXISTS,
            Code.FAILED_PRECONDITION,
            Code.OUT_OF_RANGE,
            Code.RESOURCE_EXHAUSTED,
            Code.ABORTED,
            Code.DATA_LOSS,
        ],
    )
    async def upload(call: Call, items: AsyncIterator[UploadStart | bytes]) -> Uploaded:
        """Take in a file: first an object with its name, then Buffers.

        Where the first item is a Buffer, the name is the call's header `filename`. The file is there once it is
        whole. What an upload leaves that breaks is kept for some time; `offset` tells how much.
        """
        order, first = await _order(call, items)
        with _told():
            async with aclosing(_buffers(first, items)) as buffers:
                info, sha256 = await opened(call).uploads.receive(
                    order, buffers, lambda done: call.progress(done, order.size, order.name)
                )
        return Uploaded(name=info.name, size=info.size, sha256=sha256)

    @service.function(requires=READ, errors=[*_ABOUT_A_FILE, Code.OUT_OF_RANGE])
    async def download(call: Call, data: DownloadRequest) -> AsyncIterator[bytes]:
        """Send a file, or a part of it, as Buffers. A version makes sure that it is still the same file."""
        part = Part(data.name, data.offset, data.length, data.version)
        with _told():
            async with aclosing(opened(call).downloads.send(part)) as pieces:
                async for piece in pieces:
                    yield piece

    @service.function(name="list", requires=READ, errors=[Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION])
    def list_files(call: Call, data: ListRequest = _EVERYTHING) -> Listing:
        """List the files below a folder, by name, some at a time."""
        with _told():
            found = opened(call).storage.list(data.folder, data.after, data.limit + 1)
        shown = found[: data.limit]
        return Listing(files=[_file(info) for info in shown], next=shown[-1].name if len(found) > len(shown) else None)

    @service.function(requires=READ, errors=_ABOUT_A_FILE, timeout=_HASHING)
    def stat(call: Call, data: StatRequest) -> FileStat:
        """Tell size, time and version of a file, and its SHA-256 if that is asked for."""

        def report(done: int, size: int) -> bool:
            call.progress(done, size, data.name)
            return not call.cancelled

        with _told():
            storage = opened(call).storage
            info, sha256 = storage.hash(data.name, report) if data.hash else (storage.stat(data.name), None)
        return FileStat(**_file(info).model_dump(), sha256=sha256)

    @service.function(requires=WRITE, errors=_ABOUT_A_FILE)
    def delete(call: Call, data: Which) -> File:
        """Remove a file, and the folders that are empty then; tell what it was."""
        with _told():
            return _file(opened(call).storage.delete(data.name))

    @service.function(requires=WRITE, errors=[*_ABOUT_A_FILE, Code.ALREADY_EXISTS])
    def move(call: Call, data: MoveRequest) -> File:
        """Give a file another name."""
        with _told():
            return _file(opened(call).storage.move(data.name, data.to, replace=data.replace))

    @service.function(requires=WRITE, errors=[Code.INVALID_ARGUMENT])
    async def offset(call: Call, data: Which) -> Kept:
        """Tell how many bytes of a broken upload are kept; 0 if none."""
        with _told():
            return Kept(name=data.name, offset=await opened(call).uploads.kept(data.name))

    return service


@contextmanager
def _told() -> Generator[None, None, None]:
    """Tell the caller what is wrong with its request."""
    try:
        yield
    except faults.FileFault as fault:
        raise CallError(_CODES[type(fault)], str(fault)) from None


async def _order(call: Call, items: AsyncIterator[UploadStart | bytes]) -> tuple[Order, bytes | None]:
    """Return what is to be uploaded, and the first Buffer if it has come already."""
    first = await anext(items, None)
    if isinstance(first, UploadStart):
        sha256 = None if first.sha256 is None else first.sha256.lower()
        return Order(first.name, first.size, sha256, first.offset, first.replace), None
    name = call.meta.get("filename")
    if name is None:
        raise CallError(
            Code.INVALID_ARGUMENT,
            "The first item is to be an object with the file's `name`, or the call is to have the header `filename`.",
        )
    return Order(name), first


async def _buffers(first: bytes | None, items: AsyncIterator[UploadStart | bytes]) -> AsyncGenerator[bytes, None]:
    if first is not None:
        yield first
    async for item in items:
        if isinstance(item, UploadStart):
            raise CallError(Code.INVALID_ARGUMENT, "Only the first item is an object; all others are Buffers.")
        yield item


def _file(info: Info) -> File:
    return File(name=info.name, size=info.size, modified=info.modified, version=info.version)
