"""The fixtures, the marker and the flag, as a plugin author's pytest sees them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httptools
import pytest

import jackfield.testing
from tests.testing.plugins import write_project

pytest_plugins = ["pytester"]

_loaded = (jackfield.testing.serve, httptools)  # so that the runs below do not load them anew each, nor lose them

AUTO = """
    [pytest]
    asyncio_mode = auto
    asyncio_default_fixture_loop_scope = function
"""


@pytest.fixture(name="run")
def _run(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a plugin, in whose folder pytest is to run."""
    write_project(pytester.path, "fresh")
    pytester.syspathinsert(pytester.path / "src")
    pytester.makeini(AUTO)
    return pytester


def failures(result: pytest.RunResult) -> str:
    """Return what stands beside the failures, without line breaks."""
    return " ".join(result.stdout.str().split())


def test_the_plugin_of_the_project_is_served(run: pytest.Pytester) -> None:
    """Without a word, wherever in the project the test lies."""
    run.makepyfile(
        **{
            "tests/deep/test_it": """
                async def test_it(jackfield_client, jackfield_kernel):
                    assert jackfield_kernel.name == "fresh"
                    assert await jackfield_client.call("api.fresh.hello") == "hello"
            """
        }
    )
    run.runpytest_inprocess().assert_outcomes(passed=1)


def test_markers_add_up_and_settings_may_be_a_fixture(run: pytest.Pytester) -> None:
    """The nearest has the last word on each option."""
    run.makepyfile(
        """
        import pytest
        from jackfield import Call, CallError, Principal, Service, hookimpl

        service = Service("api.fake")

        @service.function
        async def hello(call: Call) -> str:
            return "fake"

        pytestmark = pytest.mark.jackfield("fresh", neighbours={"fake": service}, config={"limits": {"calls": 5}})

        @pytest.fixture
        def jackfield_settings(tmp_path):
            return {"word": tmp_path}

        @pytest.mark.jackfield(config={"limits": {"calls": 7}})
        async def test_nearest(jackfield_client, jackfield_kernel):
            assert await jackfield_client.call("api.fake.hello") == "fake"
            assert jackfield_kernel.kernel.limits["calls"] == 7

        @pytest.mark.jackfield("demo")
        async def test_another_plugin(jackfield_serve):
            async with jackfield_serve("demo", settings={"greeting": "Hi"}) as kernel:
                assert kernel.name == "demo"

        @pytest.mark.jackfield(as_=Principal("ann"))
        async def test_somebody(jackfield_client):
            with pytest.raises(CallError, match="not_found"):
                await jackfield_client.call("api.fresh.hello")
        """
    )
    run.runpytest_inprocess().assert_outcomes(passed=3)


def test_the_flag_makes_the_server_real(run: pytest.Pytester) -> None:
    """On a port, for a client over a websocket; a test that moves time stays in memory."""
    run.makepyfile(
        """
        import socket

        import pytest
        from jackfield.client._socketio import SocketIO

        async def test_real(jackfield_kernel, jackfield_client):
            host, port = jackfield_kernel.url.removeprefix("http://").split(":")
            socket.create_connection((host, int(port))).close()
            assert isinstance(jackfield_client._caller.link.carrier, SocketIO)
            assert await jackfield_client.call("api.fresh.hello") == "hello"

        @pytest.mark.jackfield(network=False)
        async def test_memory(jackfield_kernel):
            await jackfield_kernel.clock.advance(1000)

        async def test_serve(jackfield_serve):
            async with jackfield_serve("fresh") as kernel:
                assert kernel.url.startswith("http://127.0.0.1:")
        """
    )
    run.runpytest_inprocess("--jackfield-server").assert_outcomes(passed=3)
    run.runpytest_inprocess().assert_outcomes(passed=1, failed=2)


def test_a_failure_shows_the_line_of_the_test(run: pytest.Pytester) -> None:
    """And nothing of what lies between it and the error."""
    run.makepyfile(
        """
        from jackfield.testing import assert_plugin_contract

        async def test_a_call(jackfield_client):
            await jackfield_client.call("api.fresh.helo")

        async def test_a_stream(jackfield_client):
            async for item in jackfield_client.stream("api.fresh.helo"):
                pass

        def test_the_contract():
            class Empty: ...
            assert_plugin_contract("fresh", settings={"wrd": "x"})
        """
    )
    result = run.runpytest_inprocess()
    result.assert_outcomes(failed=3)
    places = re.findall(r"^(\S+\.py):\d+: \w+", result.stdout.str(), re.MULTILINE)
    assert places == ["test_a_failure_shows_the_line_of_the_test.py"] * 3


BAD_USES = {
    "@pytest.mark.jackfield('frehs')": "there is no plugin 'frehs'; did you mean 'fresh'?",
    "@pytest.mark.jackfield(setings={})": "@pytest.mark.jackfield takes no setings; did you mean settings?",
    "@pytest.mark.jackfield(x={})": "@pytest.mark.jackfield takes no x; it takes as_, settings, neighbours, config, "
    "authenticated, strict, network, project",
    "@pytest.mark.jackfield('fresh', 'demo')": "@pytest.mark.jackfield takes one plugin; others go into neighbours={…}",
    "@pytest.mark.jackfield(settings={'wrd': 'x'})": "plugin fresh is quarantined: plugins.fresh.wrd: there is no such "
    "key; did you mean plugins.fresh.word?",
}


def test_bad_use_is_told_in_a_sentence(run: pytest.Pytester) -> None:
    """And without the inside of the kit."""
    uses = [*BAD_USES, "@pytest.mark.jackfield(authenticated=True)"]
    tests = [f"{mark}\nasync def test_{number}(jackfield_client): pass\n" for number, mark in enumerate(uses)]
    run.makepyfile("\n".join(["import pytest", *tests]))
    result = run.runpytest_inprocess()
    result.assert_outcomes(errors=len(uses))
    told = failures(result)
    for message in BAD_USES.values():
        assert f"jackfield_kernel does not start: {message}" in told
    assert (
        "jackfield_client is not let in: unauthenticated: Nobody here knows who you are: check the token. It connects "
        "as the marker says: @pytest.mark.jackfield(as_=Principal(…)); to show anything else, use "
        "jackfield_kernel.connect."
    ) in told
    assert "_pytest.py" not in told


def test_a_project_without_a_plugin_is_told(pytester: pytest.Pytester) -> None:
    """And one with several."""
    pytester.makeini(AUTO)
    pytester.makepyfile("async def test_it(jackfield_kernel): pass")
    told = failures(pytester.runpytest_inprocess())
    assert re.search(
        r'no pyproject\.toml in \S+ or above it has a table \[project\.entry-points\."jackfield\.plugins"\]; '
        r'name the plugin \(@pytest\.mark\.jackfield\("demo"\)\), or give its module or a Service',
        told,
    )
    (pytester.path / "pyproject.toml").write_text(
        '[project]\nname = "two"\nversion = "1"\n[project.entry-points."jackfield.plugins"]\none = "one"\ntwo = "two"\n'
    )
    told = failures(pytester.runpytest_inprocess())
    assert (
        "pyproject.toml names several plugins, so say which is meant: "
        '@pytest.mark.jackfield("one") or @pytest.mark.jackfield("two")'
    ) in told


def test_without_an_event_loop_what_is_missing_is_told(run: pytest.Pytester) -> None:
    """Where pytest-asyncio only runs what is marked."""
    run.makepyfile("import pytest\n\n@pytest.mark.asyncio\nasync def test_it(jackfield_client): pass\n")
    result = run.runpytest_inprocess("-o", "asyncio_mode=strict")
    result.assert_outcomes(errors=1)
    assert (
        "jackfield_kernel needs an event loop: install pytest-asyncio and let it have every asynchronous test "
        '(asyncio_mode = "auto" in the configuration of pytest), or mark the test with @pytest.mark.anyio'
    ) in failures(result)


def test_marker_and_fixtures_are_known(run: pytest.Pytester) -> None:
    """pytest shows them, with what they are for."""
    assert "@pytest.mark.jackfield(plugin, *, as_, …): " in run.runpytest_inprocess("--markers").stdout.str()
    shown = run.runpytest_inprocess("--fixtures").stdout.str()
    for fixture in ("jackfield_kernel", "jackfield_client", "jackfield_serve", "jackfield_settings"):
        assert f"{fixture} -- " in shown


def test_a_run_that_uses_nothing_of_it_pays_nothing(tmp_path: Path) -> None:
    """pytest loads the plugin wherever jackfield is installed."""
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    assert 'jackfield.testing._pytest' in sys.modules\n"
        "    assert not {'socketio', 'uvicorn', 'jackfield._kernel'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.full
def test_what_never_comes_back_fails_the_run(run: pytest.Pytester) -> None:
    """A server ends without it, and well; tests that did not end have failed."""
    run.makepyfile(
        """
        import time
        from jackfield import hookimpl

        class Stuck:
            @hookimpl
            async def jackfield_shutdown(self) -> None:
                while True:
                    try:
                        try:
                            while True:
                                time.sleep(0.01)
                        except BaseException:
                            pass
                    except BaseException:
                        pass

        async def test_it(jackfield_serve):
            async with jackfield_serve(Stuck(), config={"server": {"stop_timeout": 0.1}}):
                pass
        """
    )
    result = run.runpytest_subprocess("-s")  # what pytest has captured goes with the process
    assert result.ret == 1
    assert "jackfield.testing: shutdown:stuck does not come back and cannot be interrupted" in result.stderr.str()
