"""`jackfield plugins enable` and `disable`."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from tests.cli.shell import Hide, Invoke, Shell
from tests.support.plugins import write_plugin

RESTART = "restart the server for this to take effect\n"

COMMENTED = """\
# Ours.
[server]
port = 8000     # as agreed

[plugins]  # who serves
policy = "listed"
enabled = [
    "demo",     # the example
    "system",
]
disabled = []

[plugins.demo]
greeting = 'Servus'  # Vienna
"""


def _lists(file: Path) -> tuple[list[str] | None, list[str] | None]:
    plugins = tomllib.loads(file.read_text(encoding="utf-8")).get("plugins", {})
    return plugins.get("enabled"), plugins.get("disabled")


def test_disable_makes_the_file(invoke: Invoke, tmp_path: Path) -> None:
    """Where there is no jackfield.toml one is written, with the list and nothing else."""
    result = invoke("plugins", "disable", "demo")
    assert (result.status, result.out, result.err) == (0, "demo is disabled in jackfield.toml\n", RESTART)
    assert (tmp_path / "jackfield.toml").read_text(encoding="utf-8") == '[plugins]\ndisabled = ["demo"]\n'


def test_comments_and_layout_survive(invoke: Invoke, tmp_path: Path) -> None:
    """Only the two lists change; every other character of the file stays."""
    result = invoke("plugins", "disable", "system", config=COMMENTED)
    assert result.status == 0
    assert (tmp_path / "jackfield.toml").read_text(encoding="utf-8") == COMMENTED.replace(
        '    "system",\n', ""
    ).replace("disabled = []", 'disabled = ["system"]')


def test_enable_undoes_disable(invoke: Invoke, tmp_path: Path) -> None:
    """Under the policy "listed" the name leaves one list and joins the other."""
    config = '[plugins]\npolicy = "listed"\nenabled = ["system"]\ndisabled = ["demo", "other"]\n'
    result = invoke("plugins", "enable", "demo", config=config)
    assert (result.status, result.out, result.err) == (0, "demo is enabled in jackfield.toml\n", RESTART)
    assert (tmp_path / "jackfield.toml").read_text(encoding="utf-8") == (
        '[plugins]\npolicy = "listed"\nenabled = ["system", "demo"]\ndisabled = ["other"]\n'
    )


def test_under_the_policy_all_enable_only_takes_off_the_list(invoke: Invoke, tmp_path: Path) -> None:
    """What is not disabled is in service anyway, so nothing joins `enabled`."""
    result = invoke("plugins", "enable", "demo", "--json", config='[plugins]\ndisabled = ["demo"]\n')
    assert result.status == 0
    assert result.json == {"file": "jackfield.toml", "changed": True, "enabled": [], "disabled": []}
    assert _lists(tmp_path / "jackfield.toml") == (None, [])


@pytest.mark.parametrize(
    ("verb", "config"), [("disable", '[plugins]\ndisabled = ["demo"]'), ("enable", "# nothing of it\n")]
)
def test_what_is_so_already_stays_as_it_is(invoke: Invoke, tmp_path: Path, verb: str, config: str) -> None:
    """The second time nothing is written, and nobody is told to start anew."""
    result = invoke("plugins", verb, "demo", config=config)
    assert (result.status, result.err) == (0, "")
    assert result.out == f"demo is {verb}d already in jackfield.toml\n"
    assert (tmp_path / "jackfield.toml").read_text(encoding="utf-8") == config


def test_several_names_go_at_once(invoke: Invoke, tmp_path: Path) -> None:
    """All of them, in one write, whichever way they are spelt."""
    config = '[plugins]\nenabled = ["demo", "system"]\n'
    result = invoke("plugins", "disable", "demo", "jackfield-system:system", config=config)
    assert result.status == 0
    assert result.out.splitlines() == [
        "demo is disabled in jackfield.toml",
        "jackfield-system:system is disabled in jackfield.toml",
    ]
    assert _lists(tmp_path / "jackfield.toml") == ([], ["demo", "jackfield-system:system"])


def test_an_unknown_name_changes_nothing(invoke: Invoke, tmp_path: Path) -> None:
    """Every unknown name is told with its nearest, and the known one beside them is left alone."""
    result = invoke("plugins", "disable", "demo", "dmo", "sistem")
    assert result.status == 1
    assert result.out == ""
    assert result.err.splitlines() == [
        "✗ no plugin 'dmo' is installed; did you mean 'demo'?",
        "✗ no plugin 'sistem' is installed; did you mean 'system'?",
    ]
    assert not (tmp_path / "jackfield.toml").exists()


@pytest.mark.parametrize(
    ("verb", "lists"),
    [("disable", 'enabled = ["gone"]\ndisabled = []'), ("enable", 'enabled = []\ndisabled = ["gone"]')],
)
def test_a_name_that_is_not_installed_can_be_taken_off(invoke: Invoke, tmp_path: Path, verb: str, lists: str) -> None:
    """What stands on a list can always be removed from it."""
    result = invoke("plugins", verb, "gone", config=f"[plugins]\n{lists}\n")
    assert result.status == 0
    assert _lists(tmp_path / "jackfield.toml") == ([], [])


def test_of_two_with_one_name_one_can_be_chosen(invoke: Invoke, tmp_path: Path) -> None:
    """`enable` wants to know which; the other one stays out."""
    write_plugin(tmp_path, "twin", "", distribution="good-twin", module="good_twin")
    write_plugin(tmp_path, "twin", "", distribution="evil-twin", module="evil_twin")
    result = invoke("plugins", "enable", "twin", config='[plugins]\ndisabled = ["twin"]\n', path=[tmp_path])
    assert result.status == 1
    assert result.err == "✗ several plugins are called 'twin': say which, evil-twin:twin or good-twin:twin\n"
    result = invoke("plugins", "enable", "good-twin:twin", path=[tmp_path])
    assert result.status == 0
    assert _lists(tmp_path / "jackfield.toml") == (None, ["evil-twin:twin"])


def test_mode_and_link_of_the_file_stay(invoke: Invoke, tmp_path: Path) -> None:
    """The file behind a link is replaced, not the link, and nobody else may read it afterwards."""
    real = tmp_path / "etc" / "real.toml"
    real.parent.mkdir()
    real.write_text("# secret\n", encoding="utf-8")
    real.chmod(0o640)
    (tmp_path / "jackfield.toml").symlink_to(real)
    assert invoke("plugins", "disable", "demo").status == 0
    assert (tmp_path / "jackfield.toml").is_symlink()
    assert real.read_text(encoding="utf-8") == '# secret\n\n[plugins]\ndisabled = ["demo"]\n'
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert os.listdir(real.parent) == ["real.toml"]


def test_a_file_with_a_fault_is_not_touched(invoke: Invoke, tmp_path: Path) -> None:
    """The faults are told, and the file stays as it is."""
    config = '[server]\nport = "x"\n'
    result = invoke("plugins", "disable", "demo", config=config)
    assert result.status == 1
    assert result.err == (
        "✗ server.port: Input should be a valid integer, unable to parse string as an integer (jackfield.toml)\n"
    )
    assert (tmp_path / "jackfield.toml").read_text(encoding="utf-8") == config


@pytest.mark.parametrize(
    "config",
    [
        'plugins = { policy = "listed", enabled = ["demo", "system"] }\n',
        'plugins.policy = "listed"\nplugins.enabled = ["demo", "system"]\n',
        '[plugins.demo]\ngreeting = "Hi"\n\n[plugins]\npolicy = "listed"\nenabled = ["demo", "system"]\n',
        '[plugins]\npolicy = "listed"\nenabled = ["demo", "system"]\n[log]\nlevel = "info"\n[plugins.demo]\nx = "Hi"\n',
        '[plugins.demo]\ngreeting = "Hi"\n',
        '[plugins]\r\npolicy = "listed"\r\nenabled = ["system", "demo"]\r\n',
    ],
)
def test_other_layouts_are_edited_too(invoke: Invoke, tmp_path: Path, config: str) -> None:
    """Whatever way the file is laid out, exactly the lists change."""
    before = tomllib.loads(config)["plugins"]
    result = invoke("plugins", "disable", "demo", config=config)
    assert (result.status, result.err) == (0, RESTART)
    after = tomllib.loads((tmp_path / "jackfield.toml").read_text(encoding="utf-8"))["plugins"]
    enabled = {"enabled": ["system"]} if "enabled" in before else {}
    assert after == {**before, **enabled, "disabled": ["demo"]}


def test_without_tomlkit_the_file_is_not_edited(shell: Shell, unloadable: Hide) -> None:
    """The message has the command that installs what is missing."""
    result = shell("plugins", "disable", "demo", path=[unloadable("tomlkit")])
    assert result.status == 1
    assert result.err == '✗ editing the configuration needs tomlkit: pip install "jackfield[standard]"\n'


def test_a_folder_that_is_not_there_is_told(invoke: Invoke, tmp_path: Path) -> None:
    """A file that cannot be written is a failure in a sentence."""
    result = invoke("plugins", "disable", "demo", "-c", tmp_path / "no" / "x.toml")
    assert result.status == 1
    assert result.err == f"✗ {tmp_path}/no/x.toml cannot be written: No such file or directory\n"


def test_a_variable_that_wins_is_told(invoke: Invoke) -> None:
    """Whoever sets the list by a variable hears that the file has no say."""
    result = invoke("plugins", "disable", "demo", env={"JACKFIELD_PLUGINS__DISABLED": "[]"})
    assert result.status == 0
    assert result.err == f"{RESTART}the variable JACKFIELD_PLUGINS__DISABLED is set here, and wins over the file\n"


def test_the_file_that_a_variable_names_is_the_one(invoke: Invoke, tmp_path: Path) -> None:
    """JACKFIELD_CONFIG says which file, as it does for the server."""
    file = tmp_path / "else.toml"
    result = invoke("plugins", "disable", "demo", env={"JACKFIELD_CONFIG": str(file)})
    assert result.status == 0
    assert _lists(file) == (None, ["demo"])
