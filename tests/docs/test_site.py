"""The site of the documentation: every page is found in it, and what is wrong with it is said."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.docs.site import build, faults, outside_navigation


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_every_page_is_in_the_navigation_once() -> None:
    """Who writes a new page says in docs/zensical.toml where it stands."""
    assert outside_navigation() == []


def test_what_is_wrong_with_a_site_is_found(tmp_path: Path) -> None:
    """A link, a heading, a picture: what is not there, or would be fetched from elsewhere."""
    site = write(
        tmp_path,
        {
            "index.html": '<a href="other.html#there">1</a> <a href="/other.html">2</a> <a href="https://x.example">3</a>'
            '<a href="gone.html">4</a> <a href="other.html#gone">5</a> <img src="https://cdn.example/x.png">',
            "other.html": '<h1 id="there">There</h1><a href="#there">6</a><a href="#nowhere">7</a>',
            "style.css": '@import "https://fonts.example/a.css"; a { b: url(//c.example/x) } b { c: url(data:x) }',
        },
    )
    assert faults(site) == [
        "index.html: gone.html is not there",
        "index.html: other.html#gone has no such heading",
        "index.html: <img> fetches https://cdn.example/x.png from elsewhere",
        "other.html: #nowhere has no such heading",
        "style.css: https://fonts.example/a.css is fetched from elsewhere",
        "style.css: //c.example/x is fetched from elsewhere",
    ]


def test_a_site_is_built(tmp_path: Path, require_all: bool) -> None:
    """What is not for readers is left out, links lead on, and each that leads nowhere fails it."""
    if not require_all and importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical is not installed")
    root = write(
        tmp_path / "root",
        {
            "docs/zensical.toml": """
                [project]
                site_name = "a site"
                docs_dir = "pages"
                site_dir = "site"
                use_directory_urls = false
                nav = ["index.md", { "Some" = ["plugins/some.md", "contrib.md", "changelog.md", "contributing.md"] },
                       "security-policy.md", "index.md"]
                theme.font = false
            """,
            "docs/index.md": "# A\n\n<!-- directive\n```text\n[9](no.md)\n```\n-->\n"
            "[1](new.md) [2](../plugins/some/README.md#more) [3](../x.py)\n"
            "[4](../gone.py) [5](gone.md) [6](new.md#gone)\n\n"
            "| a |\n|---|\n| `a\\|b` |\n\n```text\n[7](../x.py) <!-- shown -->\n```\n",
            "docs/new.md": "# New\n",
            "plugins/some/README.md": "# Some\n\n## More\n\n[8](../../docs/new.md)\n",
            "contrib/README.md": "# Contrib\n",
            "CHANGELOG.md": "# Changes\n",
            "CONTRIBUTING.md": "# Contributing\n",
            "SECURITY.md": "# Security\n",
            "x.py": "x = 1\n",
        },
    )
    wrong = "\n".join(build(tmp_path / "built", root))
    for complaint in (
        "docs/index.md stands 2 times in `nav` of docs/zensical.toml",
        "docs/new.md stands 0 times in `nav` of docs/zensical.toml",
        "zensical ends with status 1",
        "index.html: ../gone.py is not there",
        "index.html: gone.html is not there",
        "index.html: new.html#gone has no such heading",
    ):
        assert complaint in wrong
    page = (tmp_path / "built/site/index.html").read_text(encoding="utf-8")
    assert 'href="plugins/some.html#more"' in page
    assert 'href="source/x.py.txt"' in page
    assert (tmp_path / "built/site/source/x.py.txt").read_text(encoding="utf-8") == "x = 1\n"
    assert "directive" not in page
    assert "no.html" not in page
    assert "<code>a|b</code>" in page
    assert "[7](../x.py) &lt;!-- shown --&gt;" in page
    assert 'href="../new.html"' in (tmp_path / "built/site/plugins/some.html").read_text(encoding="utf-8")
