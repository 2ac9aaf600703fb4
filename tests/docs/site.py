"""Build the documentation's site, and check it: `python -m tests.docs.site`, in the repository.

The pages are those of docs/, and what else of the repository is worth a page. They are written for readers on a code
host, so links lead to files of the repository. In the site a link to what is a page leads to that page, and a link to
any other file leads to its text, which is put beside the pages. The navigation is in docs/zensical.toml.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).parents[2]
BUILT: Final = ROOT / "build" / "docs"

_CONFIG: Final = "zensical.toml"
_ASSETS: Final = ("*.svg", "*.json")
_COMMENT: Final = re.compile(r"<!--.*?-->\n?|(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_FENCE: Final = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_CODE: Final = re.compile(r"`[^`\n]+`")
_LINK: Final = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
_ATTRIBUTES: Final = ("href", "src", "srcset", "action", "poster", "data")
_STYLE_URL: Final = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")
_FETCHED: Final = frozenset({"script", "link", "img", "iframe", "source", "video", "audio", "object", "embed", "form"})


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return what is a page: the file in the repository, and its name in the site."""
    return {
        **{f"docs/{path.name}": path.name for path in sorted(root.glob("docs/*.md"))},
        **{f"plugins/{path.parent.name}/README.md": f"plugins/{path.parent.name}.md" for path in readmes(root)},
        "contrib/README.md": "contrib.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "SECURITY.md": "security-policy.md",
    }


def readmes(root: Path) -> list[Path]:
    """Return the READMEs of the plugins."""
    return sorted(root.glob("plugins/*/README.md"))


def stage(folder: Path, root: Path = ROOT) -> None:
    """Put into a folder what zensical reads: its configuration, the pages, and the files that they lead to.

    Args:
        folder: What it holds is removed first.
        root: The repository.
    """
    shutil.rmtree(folder, ignore_errors=True)
    known = pages(root)
    for source, name in known.items():
        text = _COMMENT.sub(lambda found: found[1] or "", (root / source).read_text(encoding="utf-8"))
        parts = _FENCE.split(text)  # every other one is a block of code
        parts[::2] = [_prose(part, source, known, root, folder) for part in parts[::2]]
        _write(folder / "pages" / name, "".join(parts))
    for pattern in _ASSETS:
        for path in root.glob(f"docs/{pattern}"):
            shutil.copy(path, folder / "pages" / path.name)
    shutil.copy(root / "docs" / _CONFIG, folder / _CONFIG)


def _prose(text: str, source: str, known: dict[str, str], root: Path, folder: Path) -> str:
    """Return a text of the page `source` as the site has it."""

    def link(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if urlsplit(target).scheme or not (root / path).is_file():
            return found[0]  # if it leads nowhere, it is named once the site is built
        if path in known:
            to = known[path]
        elif path.startswith("docs/"):
            to = path.removeprefix("docs/")
        else:
            to, anchor = f"source/{path}.txt", ""
            _write(folder / "pages" / to, (root / path).read_text(encoding="utf-8"))
        return f"]({posixpath.relpath(to, posixpath.dirname(known[source]))}{anchor})"

    # Code hosts want | escaped in a table's code; what reads Markdown for the site would show the backslash.
    return _CODE.sub(lambda code: code[0].replace("\\|", "|"), _LINK.sub(link, text))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def in_navigation(items: object) -> Iterator[str]:
    """Yield the pages of a navigation, in its order."""
    if isinstance(items, str):
        yield items
    elif isinstance(items, list):
        for item in items:
            yield from in_navigation(item)
    elif isinstance(items, dict):
        for item in items.values():
            yield from in_navigation(item)


class _Page(HTMLParser):
    """What a page has for others, and what it wants of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in _ATTRIBUTES and value:
                self.links.append((tag, value))


def faults(site: Path) -> list[str]:
    """Return what is wrong with a site that was built: what leads nowhere, and what would be fetched from elsewhere."""
    read = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in sorted(read.items()):
        where = path.relative_to(site)
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if tag in _FETCHED:
                    found.append(f"{where}: <{tag}> fetches {link} from elsewhere")
                continue
            begin = site if parts.path.startswith("/") else path.parent  # the page of status 404 may stand anywhere
            target = (begin / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                found.append(f"{where}: {link} is not there")
            elif parts.fragment and target in read and unquote(parts.fragment) not in read[target].anchors:
                found.append(f"{where}: {link} has no such heading")
    for path in sorted(site.rglob("*.css")):
        for match in _STYLE_URL.finditer(path.read_text(encoding="utf-8")):
            address = urlsplit(match[1] or match[2])
            if address.netloc and address.scheme != "data":
                found.append(f"{path.relative_to(site)}: {address.geturl()} is fetched from elsewhere")
    return found


def outside_navigation(root: Path = ROOT) -> list[str]:
    """Return what is wrong with the navigation: pages that are not in it, or in it twice."""
    config = tomllib.loads((root / "docs" / _CONFIG).read_text(encoding="utf-8"))
    listed = list(in_navigation(config["project"]["nav"]))
    return [
        f"{source} stands {listed.count(name)} times in `nav` of docs/{_CONFIG}, where every page stands once: {name}"
        for source, name in pages(root).items()
        if listed.count(name) != 1
    ]


def build(folder: Path, root: Path = ROOT) -> list[str]:
    """Build the site into a folder below `folder`, and return what is wrong with it."""
    wrong = outside_navigation(root)
    stage(folder, root)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(folder / _CONFIG)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        wrong.append(f"zensical ends with status {done.returncode}:\n{done.stdout}")
    return [*wrong, *faults(folder / "site")]


def main() -> None:
    """Build the site of this repository."""
    if wrong := build(BUILT):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
