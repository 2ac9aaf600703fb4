"""Starting and stopping plugins: in which order, side by side, and what a stop that goes wrong changes."""

from __future__ import annotations

from pathlib import Path

from tests.support.plugins import write_plugin
from tests.support.server import serving

QUICK = "[server]\nstart_timeout = 5\nstop_timeout = 0.5\ndrain_timeout = 0.5\n"

DIARY = """
    from pathlib import Path
    from jackfield import hookimpl

    def write(what):
        with Path("diary").open("a") as file:
            file.write(f"{what} {__name__.removeprefix('plugin_')}\\n")

    write("import")

    @hookimpl
    def jackfield_services():
        write("services")
        return []

    @hookimpl
    async def jackfield_startup():
        write("start")

    @hookimpl
    async def jackfield_shutdown():
        write("stop")
"""
"""A plugin that writes down what is done with it."""

MEETING = """
    import asyncio
    from pathlib import Path
    from jackfield import hookimpl

    async def meet(where):
        Path(f"{where}-{__name__}").touch()
        while len(list(Path().glob(f"{where}-*"))) < 2:
            await asyncio.sleep(0.01)

    @hookimpl
    async def jackfield_startup():
        await meet("start")

    @hookimpl
    async def jackfield_shutdown():
        await meet("stop")
        Path(f"done-{__name__}").touch()
"""
"""A plugin that starts and stops only while another does, too."""


def test_dependencies_start_first_and_stop_last(tmp_path: Path) -> None:
    """A plugin is imported and started after what it depends on, and stopped before it; else the name decides."""
    needs = {"top": ["left", "right"], "left": ["base"], "right": ["base"], "base": [], "alone": []}
    for name, others in needs.items():
        requires = ["jackfield", *(f"jackfield-{other}" for other in others)]
        write_plugin(tmp_path / "p", name, DIARY, requires=requires)
    with serving(tmp_path / "s", config=QUICK, path=[tmp_path / "p"]) as server:
        assert server.stop() == 0
    diary = (tmp_path / "s/diary").read_text().splitlines()
    order = ["alone", "base", "left", "right", "top"]
    assert diary[:10] == [f"{what} {name}" for name in order for what in ("import", "services")]
    assert diary[10:15] == [f"start {name}" for name in order]
    stops = [line.removeprefix("stop ") for line in diary[15:]]
    assert (stops[0], sorted(stops[1:3]), sorted(stops[3:])) == ("top", ["left", "right"], ["alone", "base"])


def test_independent_plugins_start_and_stop_side_by_side(tmp_path: Path) -> None:
    """Two plugins that wait for each other, at the start and at the stop, both get there."""
    for name in ("one", "two"):
        write_plugin(tmp_path / "p", name, MEETING)
    with serving(tmp_path / "s", config=QUICK, path=[tmp_path / "p"]) as server:
        assert [server.plugins[name]["state"] for name in ("one", "two")] == ["started", "started"]
        assert server.stop() == 0
    assert len(list((tmp_path / "s").glob("done-*"))) == 2


def test_what_did_not_start_is_not_stopped(tmp_path: Path) -> None:
    """The stop hook is for what the start hook made: it is left out where that failed."""
    source = DIARY.replace('write("start")', 'write("start"); raise OSError')
    write_plugin(tmp_path / "p", "broken", source)
    with serving(tmp_path / "s", config=QUICK, path=[tmp_path / "p"]) as server:
        assert server.stop() == 0
    assert (tmp_path / "s/diary").read_text().splitlines() == ["import broken", "services broken", "start broken"]
