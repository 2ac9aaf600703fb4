"""Which keys there may be.

A key is compared as it is, code point by code point: what looks the same and is encoded differently is another key.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from jackfield_kv.faults import BadKey

_NO_TEXT: Final = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair, which is no character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_SHOWN: Final = 100


def check_key(key: str, limit: int) -> None:
    """Refuse what is no key.

    Args:
        key: The key.
        limit: Bytes that it may have in UTF-8.

    Raises:
        BadKey: It is empty, or as for `check_prefix`.
    """
    if not key:
        raise BadKey("The key '' is refused: it is empty.")
    _check("key", key, limit)


def check_prefix(prefix: str, limit: int) -> None:
    """Refuse what no key can begin with; every key begins with the empty text.

    Args:
        prefix: The beginning of keys.
        limit: Bytes that a key may have in UTF-8.

    Raises:
        BadKey: It holds what is no text, or is too long.
    """
    _check("prefix", prefix, limit)


def _check(what: str, text: str, limit: int) -> None:
    for character in text[: limit + 1]:  # a longer one is refused anyway
        if (problem := _NO_TEXT.get(unicodedata.category(character))) is not None:
            raise BadKey(f"The {what} {text[:_SHOWN]!r} is refused: it holds {problem}, {character!r}.")
    size = len(text.encode(errors="surrogatepass"))
    if size > limit:
        raise BadKey(
            f"The {what} {text[:_SHOWN]!r} is refused: it has {size:,} bytes in UTF-8, and may have {limit:,}"
            " (plugins.kv.max_key)."
        )
