"""Which names files may have."""

from __future__ import annotations

import unicodedata

import pytest

from jackfield_files.faults import BadName
from jackfield_files.names import is_good_part, parts_of, parts_of_folder

BAD = [
    ("", "it is empty"),
    (".", "'.' is no part of a name"),
    ("..", "'..' is no part of a name"),
    ("../a", "'..' is no part of a name"),
    ("a/../b", "'..' is no part of a name"),
    ("a/..", "'..' is no part of a name"),
    ("a/./b", "'.' is no part of a name"),
    ("/", "it is absolute; names begin with a folder or a file"),
    ("/etc/passwd", "it is absolute; names begin with a folder or a file"),
    ("//server/share", "it is absolute; names begin with a folder or a file"),
    ("a//b", "a part between two '/', or after the last one, is empty"),
    ("a/", "a part between two '/', or after the last one, is empty"),
    ("a\\b", "it holds '\\\\'; parts are separated by '/'"),
    ("..\\a", "it holds '\\\\'; parts are separated by '/'"),
    ("c:a", "it holds ':'; parts are separated by '/'"),
    ("a.txt:stream", "it holds ':'; parts are separated by '/'"),
    ("a\0b", "it holds a control character, '\\x00'"),
    ("a\nb", "it holds a control character, '\\n'"),
    ("a\x7f", "it holds a control character, '\\x7f'"),
    ("a\x85", "it holds a control character, '\\x85'"),
    ("a\u2028b", "it holds a line separator, '\\u2028'"),
    ("a\u2029b", "it holds a paragraph separator, '\\u2029'"),
    ("a\ud800", "it holds half of a surrogate pair, which is no character, '\\ud800'"),
    ("a\udc80", "it holds half of a surrogate pair, which is no character, '\\udc80'"),
    (unicodedata.normalize("NFD", "é"), "it is not in Unicode's normal form C (NFC)"),
    ("\u212b", "it is not in Unicode's normal form C (NFC)"),  # the sign of Ångström, which is another Å
    (".hidden", "'.hidden' begins with a dot, and hidden files are not served"),
    (".jackfield", "'.jackfield' begins with a dot, and hidden files are not served"),
    (".jackfield/lock", "'.jackfield' begins with a dot, and hidden files are not served"),
    ("a/.git/config", "'.git' begins with a dot, and hidden files are not served"),
    ("...", "'...' begins with a dot, and hidden files are not served"),
    ("a.", "'a.' ends with a dot or a space, which some systems drop"),
    ("a ", "'a ' ends with a dot or a space, which some systems drop"),
    ("a /b", "'a ' ends with a dot or a space, which some systems drop"),
    ("a./b", "'a.' ends with a dot or a space, which some systems drop"),
    ("CON", "'CON' is a device on some systems"),
    ("nul", "'nul' is a device on some systems"),
    ("a/aux/b", "'aux' is a device on some systems"),
    ("prn.txt", "'prn.txt' is a device on some systems"),
    ("com1.tar.gz", "'com1.tar.gz' is a device on some systems"),
    ("LPT9", "'LPT9' is a device on some systems"),
    ("com\u00b9", "'com\u00b9' is a device on some systems"),
    ("con .txt", "'con .txt' is a device on some systems"),
    ("CONIN$", "'CONIN$' is a device on some systems"),
    ("x" * 256, "a part of it has 256 bytes in UTF-8, and may have 255"),
    ("a/" + "é" * 128, "a part of it has 256 bytes in UTF-8, and may have 255"),
    ("/".join(["x" * 200] * 6), "it has 1205 bytes in UTF-8, and may have 1024"),
    ("/".join("x" * 33), "it has 33 parts, and may have 32"),
]


@pytest.mark.parametrize(("name", "problem"), BAD, ids=[repr(name)[:30] for name, _ in BAD])
def test_a_bad_name_is_refused_with_the_rule_that_it_breaks(name: str, problem: str) -> None:
    """The message shows the name and says what is wrong with it."""
    with pytest.raises(BadName) as refused:
        parts_of(name)
    assert str(refused.value) == f"The name {name[:100]!r} is refused: {problem}."


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a.txt",
        "a/b/c.tar.gz",
        "with space.txt",
        "Übersicht 2026.pdf",
        "日本語/ファイル",
        "👩‍🚀.png",
        "console",
        "com10",
        "communication.txt",
        "null",
        "auxiliary/a",
        "a..b",
        "~",
        "-rf",
        "$HOME",
        "%2e%2e",
        "x" * 255,
        "/".join("x" * 32),
    ],
)
def test_a_good_name_is_taken_as_it_is(name: str) -> None:
    """Nothing of it is changed."""
    assert "/".join(parts_of(name)) == name


def test_the_root_is_the_folder_without_a_name() -> None:
    """An empty name is a folder, the root; any other is checked as a file's."""
    assert parts_of_folder("") == ()
    assert parts_of_folder("a/b") == ("a", "b")
    with pytest.raises(BadName, match="is empty"):
        parts_of_folder("a/")


@pytest.mark.parametrize("part", ["a/b", ".hidden", "caf\udce9", "con", ""])
def test_what_no_name_can_hold_is_no_good_part(part: str) -> None:
    """Whatever lies on a disk: what nobody can ask for is not listed."""
    assert not is_good_part(part)
