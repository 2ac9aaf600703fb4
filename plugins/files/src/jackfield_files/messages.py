"""What the functions take and give, and the plugin's settings."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_LIST = 1000
"""Files that `list` gives at once."""

Size = Annotated[int, Field(ge=0, le=2**53 - 1)]


class FilesSettings(BaseModel):
    """`[plugins.files]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Path = Field(Path("files"), description="Folder of the files; made if it is not there.")
    quota: int = Field(10 * 1024**3, gt=0, description="Bytes of all files, those included that are not whole yet.")
    max_size: int = Field(4 * 1024**3, gt=0, description="Bytes of one file.")
    keep_partial: float = Field(
        86400.0, ge=0, description="Seconds that a broken upload is kept to be gone on with; 0 keeps none."
    )
    chunk: int = Field(
        256 * 1024, ge=1024, le=512 * 1024, description="Bytes of the Buffers in which a file is downloaded."
    )


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UploadStart(_Request):
    """The first item of an upload; all others are Buffers."""

    name: str
    size: Size | None = Field(None, description="Bytes of the whole file, if they are known.")
    sha256: str | None = Field(
        None, pattern="^[0-9A-Fa-f]{64}$", description="Checksum of the whole file, in hexadecimal."
    )
    offset: Size = Field(0, description="How many bytes of a broken upload are kept; the items are those behind.")
    replace: bool = Field(False, description="Whether a file of this name is replaced.")


class Uploaded(BaseModel):
    """A file that has come in."""

    name: str
    size: int
    sha256: str


class DownloadRequest(_Request):
    """Which bytes of which file to send."""

    name: str
    offset: Size = Field(0, description="Where to begin.")
    length: Size | None = Field(None, description="How many bytes at the most; null for all to the end.")
    version: str | None = Field(None, description="The version that it must have, as `stat` tells it.")


class Which(_Request):
    """A file."""

    name: str


class StatRequest(Which):
    """A file, and whether its checksum is wanted too, for which all of it is read."""

    hash: bool = False


class File(BaseModel):
    """A file that is there; `version` is another text whenever the content is another."""

    name: str
    size: int
    modified: datetime
    version: str


class FileStat(File):
    """A file that is there, with its checksum if that was asked for."""

    sha256: str | None = None


class ListRequest(_Request):
    """Which files to list."""

    folder: str = Field("", description="Only those below this folder.")
    after: str = Field("", description="Only names after this one: `next` of the answer before.")
    limit: Annotated[int, Field(ge=1, le=MAX_LIST)] = 100


class Listing(BaseModel):
    """Files in the order of their names, by code points."""

    files: list[File]
    next: str | None = Field(description="What to ask for as `after` to go on; null where this was all.")


class MoveRequest(_Request):
    """A file and its new name."""

    name: str
    to: str
    replace: bool = Field(False, description="Whether a file of the new name is replaced.")


class Kept(BaseModel):
    """How much of an upload is kept; the next one can go on there."""

    name: str
    offset: int
