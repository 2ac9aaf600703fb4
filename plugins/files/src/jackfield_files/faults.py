"""What can be wrong with a request for files; each message is for the person who made it.

* `FileFault`
    * `BadName`: a name that no file here may have
    * `NotFound`: there is no such file
    * `Exists`: there is one already
    * `NotServed`: what is there is no regular file, or is reached through a symbolic link
    * `Changed`: the file is not the one that the caller began to read
    * `OutOfRange`: an offset, or a number of bytes, past the end
    * `NoRoom`: the bytes do not fit into a limit, or onto the disk
    * `Superseded`: a newer upload of the same name has taken over
    * `Incomplete`: an upload that ended before all announced bytes were there
    * `Damaged`: bytes that do not have the announced checksum
    * `Stopped`: nobody waits for the answer any more
"""

from __future__ import annotations


class FileFault(Exception):
    """Base of what is refused; the text is shown to the caller."""


class BadName(FileFault):
    """A name that no file here may have."""


class NotFound(FileFault):
    """There is no such file."""


class Exists(FileFault):
    """There is such a file already."""


class NotServed(FileFault):
    """What is there is no regular file, or is reached through a symbolic link."""


class Changed(FileFault):
    """The file is not the one that the caller began to read."""


class OutOfRange(FileFault):
    """An offset, or a number of bytes, past the end."""


class NoRoom(FileFault):
    """The bytes do not fit into a limit, or onto the disk."""


class Superseded(FileFault):
    """A newer upload of the same name has taken over."""


class Incomplete(FileFault):
    """An upload that ended before all announced bytes were there."""


class Damaged(FileFault):
    """Bytes that do not have the announced checksum."""


class Stopped(FileFault):
    """Nobody waits for the answer any more."""
