"""Nothing is left out of the documentation, and nothing in it points nowhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import click
import pytest

import jackfield
import jackfield.client
import jackfield.testing
from jackfield import Code, _codec, _contract, _envelope, _json
from jackfield._breaker import BLOCKING, BY_HAND, FAILING
from jackfield._cli import group
from jackfield._errors import PluginError
from jackfield._facade import hook_names
from jackfield._plugins import NOT_LISTED, State
from jackfield._transport import link, meter
from tests.docs.blocks import DOCUMENTS, ROOT, blocks
from tests.docs.runners import RUNNERS, signature
from tests.docs.tables import COMMAND, PAGES, TABLES, commands, keys, limits, plugin_commands, renewed

DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\[((?:\\.|[^\]\\])+)\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|<!--.*?-->", re.DOTALL)


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text(name), re.DOTALL | re.MULTILINE)
    assert found, f"docs/{name} has no heading {heading!r}"
    return found[1]


@pytest.mark.parametrize("hook", hook_names())
def test_every_hook_is_documented(hook: str) -> None:
    """With its exact signature, what an exception does, and in the table at the top."""
    assert f"```python\n{signature(hook)}\n```" in section("hooks.md", f"### {hook}")
    assert "**An exception" in section("hooks.md", f"### {hook}")
    assert f"| [`{hook}`](#{hook}) |" in text("hooks.md")


def test_the_tables_are_those_of_the_code() -> None:
    """Settings, limits, options and public names are as the code has them."""
    for path in PAGES:
        written = path.read_text(encoding="utf-8")
        assert written == renewed(written), f"make the tables of {path.name} anew: {COMMAND}"


def test_every_table_stands_on_a_page() -> None:
    """No plugin's settings are left out, nor its functions, a command that it brings, or a public module."""
    written = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert [name for name in TABLES if written.count(f"<!-- {name}: made by `{COMMAND}` -->") != 1] == []


def test_every_fault_is_documented() -> None:
    """Each kind for which a plugin may be out of service has its row, and there are no others."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "kernel/src/jackfield").glob("*.py"))
    kinds = {*re.findall(r'\bkind="(\w+)"', source), NOT_LISTED, FAILING, BLOCKING, BY_HAND}
    kinds |= {PluginError.__name__, *(error.__name__ for error in PluginError.__subclasses__())}
    assert set(re.findall(r"^\| `(\w+)` \| [A-Z]", section("life.md", "## Quarantine"), re.MULTILINE)) == kinds


def test_every_state_is_documented() -> None:
    """Each has its row, and there are no others."""
    states = section("life.md", "# The life of a plugin").partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", states, re.MULTILINE)) == {state.value for state in State}


def test_every_setting_is_documented() -> None:
    """With its default, in the section of its table."""
    for key in keys():
        table, name = key.split(".")
        assert re.search(
            rf"^\| `{name}` \| (?:`.+`|none) \| .+ \|$", section("configuration.md", f"## [{table}]"), re.MULTILINE
        ), key


def test_every_limit_is_documented() -> None:
    """The table of the protocol has them all."""
    assert limits() in text("protocol.md")


def test_every_code_is_documented() -> None:
    """Each has its row, and there are no others."""
    rows = re.findall(r"^\| `(\w+)` \|", section("errors.md", "## Codes"), re.MULTILINE)
    assert rows == [code.value for code in Code]


def test_it_is_said_which_codes_the_kernel_uses() -> None:
    """The column for the kernel says `never` for those that stand nowhere in it, and only for those."""
    source = ROOT / "kernel/src/jackfield"
    others = set(source.glob("client/*"))  # what the client says is no answer of a server
    kernel = "".join(path.read_text(encoding="utf-8") for path in source.glob("**/*.py") if path not in others)
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", section("errors.md", "## Codes"), re.MULTILINE)
    unused = [code.value for code in Code if f"Code.{code.name}" not in kernel]
    assert [code for code, when in rows if when == "never"] == unused


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("protocol.md", f"the whole has at most {_envelope.MAX_EVENT} characters"),
        ("protocol.md", f"string of 1 to {_envelope._MAX_ID} characters"),
        ("protocol.md", f"at most {_codec._MAX_TOKENS} tokens"),
        ("protocol.md", f"a reply has at most {_json.MAX_BUFFERS} Buffers"),
        ("protocol.md", "refused three times" if link._MAX_REFUSALS == 3 else "refused"),
        ("protocol.md", f"after {meter.MAX_REFUSED} in a minute the connection is closed with 1008"),
        ("errors.md", f"at most {_contract._MAX_DETAILS}."),
        ("errors.md", f"more than {_contract._MANY_FAULTS:,}"),
        ("errors.md", f"more than {_contract._MAX_KEY} characters"),
    ],
)
def test_numbers_are_those_of_the_code(name: str, sentence: str) -> None:
    """What is no setting is said in a sentence."""
    assert sentence in " ".join(text(name).split())


def test_every_close_code_is_documented() -> None:
    """Each that the transport, a session or the kernel has a name for has its row, and there are no others."""
    kernel = ROOT / "kernel/src/jackfield"
    paths = [*kernel.glob("_transport/*.py"), kernel / "_session.py", kernel / "_kernel.py"]
    source = "".join(path.read_text(encoding="utf-8") for path in paths)
    codes = set(re.findall(r"^\w+: Final = (1\d{3}|4\d{3})$", source, re.MULTILINE))
    rows = re.findall(r"^\| (\d{4}) \|", section("protocol.md", "## The end of a connection"), re.MULTILINE)
    assert rows == sorted(codes)


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_every_command_is_documented(path: str, command: click.Command) -> None:
    """With every option, and at least one example."""
    level = "##" if " " not in path else "###"
    written = section("command-line.md", f"{level} jackfield {path}")
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for name in [*parameter.opts, *parameter.secondary_opts]:
                assert re.search(rf"`{name}[ `]", written), f"{path}: {name}"
    assert re.search(rf"^\$ .*\bjackfield {path}\b", written, re.MULTILINE), f"{path} has no example"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_that_is_named_is_there(path: Path) -> None:
    """Also in a sentence or a table, where no command is run."""
    known = {"": group, **dict(commands()), **dict(plugin_commands())}
    for said in re.findall(r"`jackfield ([^`\n]+)`", path.read_text(encoding="utf-8")):
        name = max((name for name in known if f"{said} ".startswith(f"{name} ".lstrip())), key=len)
        options = {"--help", *(word for parameter in known[name].params for word in parameter.opts)}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", said)) <= options, f"`jackfield {said}`"


def test_every_public_name_is_documented() -> None:
    """What `import jackfield` offers is somewhere in the documentation; the other doors have pages of their own."""
    written = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    assert [name for name in jackfield.__all__ if not re.search(rf"\b{name}\b", written)] == []
    for door, page in ((jackfield.client, "client.md"), (jackfield.testing, "testing.md")):
        names = door.__all__
        assert [name for name in names if not re.search(rf"`[^`]*\b{name}\b[^`]*`", text(page))] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """To a file that is there, to a heading that it has, to a test that it has."""
    for label, target in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{target}: there is no such heading"
        if re.fullmatch(r"`test_\w+`", label):
            assert re.search(rf"def {label.strip('`')}\(", file.read_text(encoding="utf-8")), (
                f"{label} is not in {name}"
            )


def test_every_claim_of_security_links_its_test() -> None:
    """A numbered row has at least one test with its number."""
    rows = re.findall(r"^\| (\d+) \|(.*)$", text("security.md"), re.MULTILINE)
    assert [number for number, row in rows if f"[`test_{number}_" not in row] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_is_run_or_says_why_not(path: Path) -> None:
    """No language without a runner, no skipped block without a reason, no code that is no block."""
    for block in blocks(path):
        if block.word == "not run":
            assert block.text, f"{block.where}: say why it is not run"
        elif block.where:
            known = (block.language, block.word) in RUNNERS or (block.language, "") in RUNNERS
            assert known, f"{block.where}: nobody runs the language {block.language!r}"
    outside = CODE.sub("", path.read_text(encoding="utf-8"))
    assert not re.search(r"^\n {4,}\S", outside, re.MULTILINE), "an indented block is not run: use a fence"
    assert "```" not in outside


def test_the_plugin_in_the_readme_has_twenty_lines() -> None:
    """As its heading says; empty lines do not count."""
    files = [block for block in blocks(ROOT / "README.md") if block.word == "file"]
    assert [block.text for block in files] == ["jackfield_weather.py", "pyproject.toml"]
    assert sum(1 for block in files for line in block.source.splitlines() if line.strip()) == 20


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_place_on_a_machine_is_named(path: Path) -> None:
    """The documentation holds no path of the machine on which it was written."""
    assert not re.search(r"/(?:work|root|home|opt|tmp|Users)/", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them."""
    outside = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    found: Counter[str] = Counter()
    for heading in re.findall(r"^#+ (.+)$", outside, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[slug] += 1
    return set(found)
