"""Which keys there may be."""

from __future__ import annotations

import pytest

from jackfield_kv.faults import BadKey
from jackfield_kv.keys import check_key, check_prefix


@pytest.mark.parametrize("key", ["a", "a/b c", "..", "ключ", "\U0001f4a1", "e\u0301", "\ufffe", "\U0010ffff", "x" * 20])
def test_any_text_is_a_key(key):
    """Letters of every language, signs, what has no normal form, what is no character."""
    check_key(key, 20)
    check_prefix(key, 20)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "The key '' is refused: it is empty."),
        ("a\0b", r"The key 'a\x00b' is refused: it holds a control character, '\x00'."),
        ("a\n", r"The key 'a\n' is refused: it holds a control character, '\n'."),
        ("\ud83d", r"The key '\ud83d' is refused: it holds half of a surrogate pair, which is no character, '\ud83d'."),
        ("a\u2028", r"The key 'a\u2028' is refused: it holds a line separator, '\u2028'."),
        ("a\u2029", r"The key 'a\u2029' is refused: it holds a paragraph separator, '\u2029'."),
        (
            "é" * 11,
            "The key 'ééééééééééé' is refused: it has 22 bytes in UTF-8, and may have 20 (plugins.kv.max_key).",
        ),
        ("x" * 30 + "\ud83d", "refused: it has 33 bytes in UTF-8, and may have 20 (plugins.kv.max_key)."),
    ],
)
def test_what_is_no_key(key, problem):
    """The message shows the key, and says which rule it breaks."""
    with pytest.raises(BadKey) as refused:
        check_key(key, 20)
    assert str(refused.value).endswith(problem)


def test_a_prefix_may_be_empty():
    """Every key begins with the empty text; what no key may hold, no prefix may."""
    check_prefix("", 20)
    with pytest.raises(BadKey, match=r"The prefix 'a\\t' is refused: it holds a control character, '\\t'\."):
        check_prefix("a\t", 20)
    with pytest.raises(BadKey, match=r"The prefix 'x{100}' is refused: it has 1,000,000 bytes"):
        check_prefix("x" * 1_000_000, 20)
