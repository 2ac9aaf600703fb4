"""`jackfield plugins list`."""

from __future__ import annotations

import http.server
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.shell import Hide, Invoke, Shell
from tests.support.installed import INSTALLED, disabled, names
from tests.support.plugins import NEIGHBOUR, write_neighbour, write_plugin
from tests.support.server import Server, environment, serving

ALONE = disabled()
"""Nothing but what the test has written is loaded."""


_OTHERS = {*INSTALLED} - {"demo", "files", "system"}


def table(out: str) -> list[str]:
    """Return the lines of a table, with columns two spaces apart, for which all plugins but three are the same."""
    lines = out.splitlines()
    state = lines[0].index("STATE")
    assert all(line[state - 2 : state + 1].split(" ")[:2] == ["", ""] for line in lines if not line.startswith(" "))
    return [re.sub(r"(?<=\S) {2,}", "  ", line).rstrip() for line in lines if line.split()[0] not in _OTHERS]


@pytest.fixture(scope="module", name="failing")
def _failing(tmp_path_factory: pytest.TempPathFactory, broken: Path) -> Iterator[Server]:
    """A server with a quarantined plugin, beside those of the workspace and a neighbour."""
    with serving(tmp_path_factory.mktemp("failing"), path=[broken]) as server:
        yield server


@pytest.fixture(name="stranger")
def _stranger() -> Iterator[str]:
    """The address of a web server that knows nothing of Socket.IO."""

    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_running_server_is_asked(shell: Shell, failing: Server) -> None:
    """The table shows what the server at the configured address says, and a fault with its reason and its hint."""
    port = failing.url.rpartition(":")[2]
    result = shell("plugins", "list", env={"JACKFIELD_SERVER__PORT": port})
    assert result.status == 0
    reason = failing.plugins["weather"]["reason"]
    assert table(result.out) == [
        "NAME  VERSION  STATE  NAMESPACES  FUNCTIONS",
        f"demo  0.1.0  started  api.services.test  {failing.plugins['demo']['functions']}",
        "files  0.1.0  started  api.files  7",
        "neighbour  1.0  started  api.neighbour  1",
        "system  0.1.0  started  api.system  7",
        "weather  1.0  quarantined  api.weather  -",
        f"  ✗ {reason}  → pip install httpx",
    ]
    assert result.err == f"from the running server at {failing.url}\n"


def test_the_address_can_be_given(invoke: Invoke, failing: Server) -> None:
    """With --url that server is asked, and --json is an array of objects."""
    result = invoke("plugins", "list", "--url", failing.url.removeprefix("http://"), "--json")
    assert result.status == 0
    rows = {row["name"]: row for row in result.json}
    assert list(rows) == list(names("neighbour", "weather"))
    assert rows["weather"] == {
        "name": "weather",
        "distribution": None,
        "version": "1.0",
        "summary": None,
        "state": "quarantined",
        "namespaces": ["api.weather"],
        "functions": 0,
        "reason": failing.plugins["weather"]["reason"],
        "kind": "ModuleNotFoundError",
        "hint": "pip install httpx",
    }
    assert rows["system"]["distribution"] == "jackfield-system"


def test_without_a_server_each_plugin_is_loaded_apart(
    shell: Shell, tmp_path: Path, broken: Path, closed_port: int
) -> None:
    """A plugin that exits, crashes or never comes back spoils its own row only."""
    write_plugin(tmp_path, "quitter", 'import os\nprint("no licence", flush=True)\nos._exit(3)', namespaces=["api.q"])
    write_plugin(tmp_path, "crasher", "import os\nos.kill(os.getpid(), 11)")
    write_plugin(tmp_path, "sleeper", "import time\ntime.sleep(60)")
    write_plugin(tmp_path, "stubborn", "import time\nwhile True:\n  try: time.sleep(60)\n  except BaseException: pass")
    write_plugin(tmp_path, "needy", "", requires=["jackfield", "jackfield-weather"])
    write_plugin(tmp_path, "future", "", requires=["jackfield>=9"])
    write_plugin(tmp_path, "away", "raise SystemExit")
    result = shell(
        "plugins",
        "list",
        config='[plugins]\ndisabled = ["away"]\n[server]\nstart_timeout = 1.0',
        path=[tmp_path, broken],
    )
    assert result.status == 0
    late = "raise server.start_timeout, or mend the plugin"
    demo = table(result.out)[4]
    assert demo.startswith("demo  0.1.0  loaded  api.services.test  ")
    assert table(result.out) == [
        "NAME  VERSION  STATE  NAMESPACES  FUNCTIONS",
        "away  1.0  disabled  -  -",
        "crasher  1.0  quarantined  -  -",
        "  ✗ it crashed its process (SIGSEGV) while it was loaded",
        demo,
        "files  0.1.0  loaded  api.files  7",
        "future  1.0  refused  -  -",
        "  ✗ it needs jackfield >=9, this is 0.1.0",
        "needy  1.0  quarantined  -  -",
        "  ✗ it needs the plugin weather, which is quarantined",
        "neighbour  1.0  loaded  api.neighbour  1",
        "quitter  1.0  quarantined  api.q  -",
        "  ✗ it ended its process with status 3 while it was loaded, saying: no licence",
        "sleeper  1.0  quarantined  -  -",
        f"  ✗ it took too long  → {late}",
        "stubborn  1.0  quarantined  -  -",
        f"  ✗ it took too long, and could not be interrupted  → {late}",
        "system  0.1.0  loaded  api.system  7",
        "weather  1.0  quarantined  api.weather  -",
        f"  ✗ ModuleNotFoundError: No module named 'httpx' ({broken}/plugin_weather.py:1)  → pip install httpx",
    ]
    assert result.err == (
        f"no server answers at http://127.0.0.1:{closed_port}; loaded here, each plugin in a process of its own\n"
    )


def test_ctrl_c_ends_what_was_started(tmp_path: Path, closed_port: int) -> None:
    """The status is 130, nothing is said, and the process that loads a plugin is gone."""
    os.mkfifo(tmp_path / "pid")
    source = "import os, time\nwith open('pid', 'w') as file: file.write(str(os.getpid()))\ntime.sleep(60)"
    write_plugin(tmp_path, "slow", source)
    (tmp_path / "jackfield.toml").write_text(f"[server]\nport = {closed_port}\n{ALONE}", encoding="utf-8")
    command = [sys.executable, "-m", "jackfield", "plugins", "list"]
    env = environment([tmp_path])
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == b""
    assert process.returncode == 130
    assert not psutil.pid_exists(pid)


def test_what_a_plugin_prints_is_not_the_commands_output(invoke: Invoke, tmp_path: Path) -> None:
    """Neither output nor a thread that stays, nor a process left behind, is in the way of --json."""
    source = 'import sys, subprocess, threading, time\nprint("hello")\nprint("there", file=sys.stderr)\n'
    source += 'threading.Thread(target=time.sleep, args=[60]).start()\nsubprocess.Popen(["sleep", "60"])\n'
    write_plugin(tmp_path, "noisy", source)
    result = invoke("plugins", "list", "--json", config=ALONE, path=[tmp_path])
    assert {row["name"]: row["state"] for row in result.json} == {
        **dict.fromkeys(INSTALLED, "disabled"),
        "noisy": "loaded",
    }


def test_no_load_imports_nothing(invoke: Invoke, tmp_path: Path) -> None:
    """With --no-load metadata is read, and no line of any plugin is run."""
    write_plugin(tmp_path, "marking", f"open({str(tmp_path / 'imported')!r}, 'w')", namespaces=["api.marking"])
    result = invoke("plugins", "list", "--no-load", config='[plugins]\ndisabled = ["demo"]', path=[tmp_path])
    assert result.status == 0
    assert table(result.out) == [
        "NAME  VERSION  STATE  NAMESPACES  FUNCTIONS",
        "demo  0.1.0  disabled  api.services.test  -",
        "files  0.1.0  discovered  api.files  -",
        "marking  1.0  discovered  api.marking  -",
        "system  0.1.0  discovered  api.system  -",
    ]
    assert result.err == "read from metadata; nothing was imported\n"
    assert not (tmp_path / "imported").exists()


def test_a_plugin_that_is_not_listed_says_how_to_enable_it(invoke: Invoke, broken: Path) -> None:
    """Under the policy "listed" what is not on the list is shown with the command that puts it there."""
    config = '[plugins]\npolicy = "listed"\nenabled = ["demo", "system", "neighbour"]'
    result = invoke("plugins", "list", "--no-load", config=config, path=[broken])
    assert result.status == 0
    assert result.out.splitlines()[-2:] == [
        f"{'weather':<{max(map(len, INSTALLED))}}  1.0      refused     api.weather        -",
        "  it is not on the list   → jackfield plugins enable weather",
    ]


def test_no_server_at_a_given_address_is_a_failure(invoke: Invoke, closed_port: int) -> None:
    """Whoever names a server wants that one: nothing is loaded here instead."""
    result = invoke("plugins", "list", "--url", f"http://127.0.0.1:{closed_port}")
    assert result.status == 1
    assert result.out == ""
    assert result.err == f"✗ no server answers at http://127.0.0.1:{closed_port}: start one with jackfield serve\n"


def test_no_load_asks_nobody(invoke: Invoke, closed_port: int) -> None:
    """--no-load and --url are a contradiction."""
    result = invoke("plugins", "list", "--no-load", "--url", f"http://127.0.0.1:{closed_port}")
    assert result.status == 2
    assert result.err.endswith("Error: --no-load and --url exclude each other.\n")


def test_a_server_without_the_system_plugin_cannot_tell(invoke: Invoke, tmp_path: Path) -> None:
    """The command says so, and finds out by itself."""
    with serving(tmp_path, config=ALONE) as server:
        result = invoke("plugins", "list", "--url", server.url)
    assert result.status == 0
    assert [line.split()[:3] for line in result.out.splitlines()[1:]] == [
        [name, "0.1.0", "disabled"] for name in INSTALLED
    ]
    assert result.err == (
        f"the server at {server.url} has no system plugin that answers "
        "(unavailable: api.system.plugins: the plugin system is disabled.); "
        "loaded here, each plugin in a process of its own\n"
    )


def test_what_is_no_jackfield_server_is_not_asked(invoke: Invoke, stranger: str) -> None:
    """Another program at the configured port is named as such; at a given address it is a failure."""
    reason = (
        f"what answers at {stranger}/socket.io is no jackfield server (Unexpected status code 404 in server response)"
    )
    result = invoke("plugins", "list", config=ALONE, env={"JACKFIELD_SERVER__PORT": stranger.rpartition(":")[2]})
    assert result.status == 0
    assert result.err == f"{reason}; loaded here, each plugin in a process of its own\n"
    result = invoke("plugins", "list", "--url", stranger)
    assert result.status == 1
    assert result.err == f"✗ {reason}\n"


def test_two_plugins_of_one_name_are_both_listed(invoke: Invoke, tmp_path: Path) -> None:
    """Each has its row, with its distribution; the fault is named and the status is 1."""
    write_plugin(tmp_path, "twin", "", distribution="good-twin", module="good_twin")
    write_plugin(tmp_path, "twin", "", distribution="evil-twin", module="evil_twin")
    result = invoke("plugins", "list", config=ALONE, path=[tmp_path])
    assert result.status == 1
    assert [line.split()[:3] for line in result.out.splitlines()[len(INSTALLED) :]] == [
        ["system", "0.1.0", "disabled"],
        ["evil-twin:twin", "1.0", "loaded"],
        ["good-twin:twin", "1.0", "loaded"],
    ]
    assert result.err.splitlines()[1:] == [
        "✗ two plugins claim the name 'twin': evil-twin:twin and good-twin:twin; "
        'put one of them into plugins.disabled, such as disabled = ["good-twin:twin"]'
    ]


def test_two_plugins_of_one_namespace_are_both_listed(invoke: Invoke, tmp_path: Path) -> None:
    """Each has its row; the fault is named and the status is 1, without loading anything too."""
    write_neighbour(tmp_path)
    write_plugin(tmp_path, "rival", NEIGHBOUR, namespaces=["api.neighbour"])
    result = invoke("plugins", "list", "--no-load", "--json", path=[tmp_path])
    assert result.status == 1
    assert [row["name"] for row in result.json] == list(names("neighbour", "rival"))
    assert result.err.splitlines()[1:] == [
        "✗ two plugins claim the namespace 'api.neighbour': jackfield-neighbour:neighbour and jackfield-rival:rival; "
        'put one of them into plugins.disabled, such as disabled = ["jackfield-rival:rival"]'
    ]


def test_a_name_on_the_list_that_is_not_installed_is_a_fault(invoke: Invoke) -> None:
    """The rows are there all the same."""
    result = invoke("plugins", "list", "--no-load", config='[plugins]\nenabled = ["dmo"]')
    assert result.status == 1
    assert len(result.out.splitlines()) == 1 + len(INSTALLED)
    assert result.err.splitlines()[1:] == ["✗ plugins.enabled: no plugin 'dmo' is installed; did you mean 'demo'?"]


def test_without_aiohttp_a_given_server_cannot_be_asked(shell: Shell, server: Server, unloadable: Hide) -> None:
    """The message has the command that installs what is missing."""
    result = shell("plugins", "list", "--url", server.url, path=[unloadable("aiohttp")])
    assert result.status == 1
    assert result.err == '✗ speaking with a server needs aiohttp: pip install "jackfield[standard]"\n'
