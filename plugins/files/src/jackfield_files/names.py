"""Which names files may have: those that stay below the root, and mean the same file everywhere.

A name is a relative path with `/` between its parts. What some file system, shell or browser reads differently from
the others is refused rather than changed: the caller gets the file under the very name that it gave, or an error.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from jackfield_files.faults import BadName

MAX_NAME: Final = 1024
"""Bytes of a name in UTF-8."""
MAX_PART: Final = 255
"""Bytes of one part in UTF-8, as file systems have it."""
MAX_PARTS: Final = 32

_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\.|\Z)", re.IGNORECASE)
_NO_TEXT: Final = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair, which is no character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a file's name.

    Raises:
        BadName: The name breaks a rule; the message says which.
    """
    problem = _problem(name)
    if problem is not None:
        raise BadName(f"The name {name[:100]!r} is refused: {problem}.")
    return tuple(name.split("/"))


def parts_of_folder(name: str) -> tuple[str, ...]:
    """Return the parts of a folder's name; the empty name is the root.

    Raises:
        BadName: As for a file.
    """
    return parts_of(name) if name else ()


def is_good_part(part: str) -> bool:
    """Tell whether a name may have this part; what is on the disk may be called anything."""
    return _problem(part) is None and "/" not in part


def _problem(name: str) -> str | None:
    if not name:
        return "it is empty"
    for character in name:
        if character in "\\:":
            return f"it holds {character!r}; parts are separated by '/'"
        if (what := _NO_TEXT.get(unicodedata.category(character))) is not None:
            return f"it holds {what}, {character!r}"
    if len(name.encode()) > MAX_NAME:
        return f"it has {len(name.encode())} bytes in UTF-8, and may have {MAX_NAME}"
    if not unicodedata.is_normalized("NFC", name):
        return "it is not in Unicode's normal form C (NFC)"
    if name.startswith("/"):
        return "it is absolute; names begin with a folder or a file"
    parts = name.split("/")
    if len(parts) > MAX_PARTS:
        return f"it has {len(parts)} parts, and may have {MAX_PARTS}"
    return next((problem for part in parts if (problem := _problem_of_part(part)) is not None), None)


def _problem_of_part(part: str) -> str | None:
    if not part:
        return "a part between two '/', or after the last one, is empty"
    if part in (".", ".."):
        return f"{part!r} is no part of a name"
    if part.startswith("."):
        return f"{part[:100]!r} begins with a dot, and hidden files are not served"
    if part[-1] in ". ":
        return f"{part[:100]!r} ends with a dot or a space, which some systems drop"
    if _DEVICE.match(part):
        return f"{part[:100]!r} is a device on some systems"
    if len(part.encode()) > MAX_PART:
        return f"a part of it has {len(part.encode())} bytes in UTF-8, and may have {MAX_PART}"
    return None
