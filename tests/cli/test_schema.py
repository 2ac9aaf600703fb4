"""`jackfield schema`: where a contract is read from, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.cli.shell import Invoke, Shell
from tests.support.installed import INSTALLED, disabled
from tests.support.plugins import write_neighbour
from tests.support.server import Server

ALONE = disabled()
CONTRACT = {"contract": 1, "plugins": []}


def _carrying(folder: Path, text: str, name: str = "seats-1.0-py3-none-any.whl") -> Path:
    """Write a wheel that carries a text as its contract."""
    wheel = folder / name
    with ZipFile(wheel, "w") as archive:
        archive.writestr("seats-1.0.dist-info/extra_metadata/jackfield-contract.json", text)
    return wheel


def test_all_plugins_that_would_be_in_service(shell: Shell) -> None:
    """Without a source; each is loaded in a process of its own where its distribution carries no contract."""
    result = shell("schema")
    assert result.status == 0
    assert result.json["contract"] == 1
    assert [plugin["name"] for plugin in result.json["plugins"]] == list(INSTALLED)
    assert result.err == f"loaded here, each plugin in a process of its own: {', '.join(INSTALLED)}\n"


def test_plugins_by_name(shell: Shell, tmp_path: Path) -> None:
    """Several at once, in one document; what is disabled is not there without a name."""
    folder = write_neighbour(tmp_path / "site")
    result = shell("schema", "neighbour", "demo", path=[folder])
    assert [plugin["name"] for plugin in result.json["plugins"]] == ["demo", "neighbour"]
    [plugin] = shell("schema", config=ALONE, path=[folder]).json["plugins"]
    assert plugin == {
        "name": "neighbour",
        "distribution": "jackfield-neighbour",
        "version": "1.0",
        "kernel": "",
        "namespaces": ["api.neighbour"],
        "functions": {
            "api.neighbour.hello": {
                "kind": "unary",
                "doc": "",
                "input": {"type": "null"},
                "output": {"type": "string"},
                "optional": False,
                "errors": [],
                "requires": None,
                "ordered": False,
                "detached": False,
                "timeout": None,
                "deprecated": None,
                "emits": {},
            }
        },
    }


def test_the_running_server_tells_the_same(shell: Shell, server: Server) -> None:
    """Save what only the metadata of a distribution says."""
    served = shell("schema", server.url).json["plugins"]
    loaded = shell("schema", *(plugin["name"] for plugin in served)).json["plugins"]
    assert served == [{**plugin, "distribution": "", "kernel": ""} for plugin in loaded]
    assert len(served) > 1


def test_into_a_file(shell: Shell, tmp_path: Path) -> None:
    """Which is a source itself."""
    result = shell("schema", "demo", "-o", tmp_path / "demo.json")
    assert (result.status, result.out) == (0, "")
    assert result.err.splitlines()[-1] == f"wrote {tmp_path}/demo.json: 1 plugin, 17 functions"
    again = shell("schema", "demo.json")
    assert again.out == (tmp_path / "demo.json").read_text(encoding="utf-8")
    assert again.err == ""


def test_a_file_that_cannot_be_written(invoke: Invoke, tmp_path: Path) -> None:
    """The status is 1."""
    (tmp_path / "c.json").write_text(json.dumps(CONTRACT))
    result = invoke("schema", "c.json", "-o", "nosuch/demo.json")
    assert (result.status, result.err) == (1, "✗ nosuch/demo.json cannot be written: No such file or directory\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "is no contract: it has no member 'contract' that says which version it is"),
        ('{"contract": true}', "is no contract: it has no member 'contract' that says which version it is"),
        (
            '{"contract": 2, "plugins": []}',
            "is a contract of version 2, and this jackfield reads version 1: it was written by a newer one",
        ),
        ('{"contract": 0}', "is a contract of version 0, and this jackfield reads version 1"),
        ('{"contract": 1}', "is no contract of version 1: plugins: Field required"),
        (
            '{"contract": 1, "plugins": [{"name": "a", "version": "1", "namespaces": [], "functions": '
            '{"a.f": {"kind": "unary", "output": {}, "input": {"anyOf": [{"maximum": 1e999}]}}}}]}',
            "is no contract of version 1: plugins.0.functions.a.f.input: "
            "Value error, 'maximum' of a schema cannot be inf",
        ),
        (
            '{"contract": 1, "plugins": [], "extra": 1}',
            "is no contract of version 1: extra: Extra inputs are not permitted",
        ),
    ],
)
def test_a_file_without_a_contract(invoke: Invoke, tmp_path: Path, text: str, said: str) -> None:
    """Each fault has its own words, in a file as in a wheel."""
    (tmp_path / "c.json").write_text(text)
    result = invoke("schema", "c.json")
    assert (result.status, result.out, result.err) == (1, "", f"✗ c.json {said}\n")
    _carrying(tmp_path, text)
    result = invoke("schema", "seats-1.0-py3-none-any.whl")
    assert result.err == f"✗ the contract in seats-1.0-py3-none-any.whl {said}\n"


def test_a_json_that_is_deeply_nested(invoke: Invoke, tmp_path: Path) -> None:
    """It is no contract, and nothing breaks because of it."""
    (tmp_path / "c.json").write_text("[" * 100_000)
    result = invoke("schema", "c.json")
    assert result.status == 1
    assert result.err.startswith("✗ c.json is no JSON: ")


def test_a_file_that_is_no_text(invoke: Invoke, tmp_path: Path) -> None:
    """Nor any contract."""
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    result = invoke("schema", "c.json")
    assert result.status == 1
    assert result.err.startswith("✗ c.json is no JSON: ")


def test_a_wheel_that_carries_none(invoke: Invoke, tmp_path: Path) -> None:
    """It says how it would have one."""
    with ZipFile(tmp_path / "bare.whl", "w") as archive:
        archive.writestr("bare/__init__.py", "")
        archive.writestr("bare/extra_metadata/jackfield-contract.json", "{}")
    result = invoke("schema", "bare.whl")
    assert result.status == 1
    assert result.err == (
        "✗ bare.whl carries no contract: its build did not have the build hook of jackfield (docs/contract.md)\n"
    )


def test_a_wheel_that_is_no_zip(invoke: Invoke, tmp_path: Path) -> None:
    """Nor one that is cut off."""
    (tmp_path / "text.whl").write_text("this is no wheel")
    assert invoke("schema", "text.whl").err == "✗ text.whl is no wheel: File is not a zip file\n"
    whole = _carrying(tmp_path, json.dumps(CONTRACT)).read_bytes()
    (tmp_path / "cut.whl").write_bytes(whole[: len(whole) // 2])
    assert invoke("schema", "cut.whl").err == "✗ cut.whl is no wheel: File is not a zip file\n"


def test_what_is_not_there(invoke: Invoke, tmp_path: Path) -> None:
    """A path is a file, anything else the name of a plugin."""
    assert invoke("schema", "gone.whl").err == "✗ gone.whl cannot be read: No such file or directory\n"
    assert invoke("schema", "gone.json").err == "✗ gone.json cannot be read: No such file or directory\n"
    assert invoke("schema", "some/where").err == "✗ some/where cannot be read: No such file or directory\n"
    assert invoke("schema", str(tmp_path)).err == f"✗ {tmp_path} cannot be read: Is a directory\n"
    assert invoke("schema", "dmeo").err == (
        "✗ 'dmeo' is no plugin that is installed, no file and no address of a server; did you mean 'demo'?\n"
    )


def test_a_plugin_that_cannot_be_loaded(shell: Shell, broken: Path) -> None:
    """The status is 1, and the reason is told."""
    result = shell("schema", "weather", path=[broken])
    assert (result.status, result.out) == (1, "")
    assert "✗ plugin weather is quarantined: ModuleNotFoundError: No module named 'httpx'" in result.err
    result = shell("schema", "demo", config='[plugins]\ndisabled = ["demo"]')
    assert result.err.splitlines()[-1] == "✗ plugin demo is disabled"


def test_a_server_that_is_not_there(invoke: Invoke, closed_port: int) -> None:
    """Or an address that is none."""
    result = invoke("schema", f"http://127.0.0.1:{closed_port}")
    assert result.status == 1
    assert result.err == f"✗ no server answers at http://127.0.0.1:{closed_port}\n"
    result = invoke("schema", "http://")
    assert result.status == 2
    assert "'http://' is no address of a server" in result.err


def test_two_contracts_of_one_plugin(invoke: Invoke, tmp_path: Path) -> None:
    """They have to be the same."""
    plugin = {"name": "seats", "version": "1", "namespaces": [], "functions": {}}
    for number in (1, 2):
        text = json.dumps({"contract": 1, "plugins": [{**plugin, "version": str(number)}]})
        (tmp_path / f"{number}.json").write_text(text)
    assert invoke("schema", "1.json", "1.json").status == 0
    assert (
        invoke("schema", "1.json", "2.json").err == "✗ two contracts of the plugin seats were given, and they differ\n"
    )
