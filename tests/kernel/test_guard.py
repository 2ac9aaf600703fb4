"""Time limits on code of others, in the main thread and in the event loop."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from jackfield import _limited
from jackfield._errors import PluginError
from jackfield._guard import Interrupted, TimeIsUp, blocking_limit, time_limit


def _loop() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_loop, id="a loop"),
        pytest.param(lambda: time.sleep(60), id="a sleep"),
        pytest.param(lambda: threading.Event().wait(), id="a wait for ever"),
        pytest.param(lambda: [lock := threading.Lock(), lock.acquire(), lock.acquire()], id="a lock"),
    ],
)
def test_code_that_takes_too_long_is_interrupted(body: Callable[[], object]) -> None:
    """`TimeIsUp` is raised in the middle of it, and the signal's handler is put back."""
    before = signal.getsignal(signal.SIGVTALRM)
    began = time.monotonic()
    with pytest.raises(TimeIsUp), time_limit(0.1, "somebody"):
        body()
    assert 0.1 <= time.monotonic() - began < 5
    assert signal.getsignal(signal.SIGVTALRM) is before


def test_code_that_swallows_the_exception_meets_the_next() -> None:
    """It is raised again and again, until it gets through."""
    swallowed = []

    def swallow() -> None:
        for _ in range(3):
            try:
                time.sleep(60)
            except TimeIsUp as error:
                swallowed.append(error)
        time.sleep(60)

    with pytest.raises(TimeIsUp), time_limit(0.1, "somebody"):
        swallow()
    assert len(swallowed) == 3


def test_code_that_is_quick_notices_nothing() -> None:
    """What it returns and raises is its own, and nothing comes later."""
    with time_limit(0.1, "somebody"):
        pass
    with pytest.raises(ValueError, match="mine"), time_limit(60, "somebody"):
        raise ValueError("mine")
    assert not [thread for thread in threading.enumerate() if thread.name == "jackfield-watch"]


def test_beside_the_main_thread_there_is_no_limit() -> None:
    """Python delivers signals to the main thread only, so that elsewhere the body just runs."""
    script = """
import threading, time
from jackfield import _guard
_guard._PATIENCE = _guard._LOCKED = 0.01

def body():
    with _guard.time_limit(0.001, "somebody"):
        time.sleep(0.5)
    print("done")

thread = threading.Thread(target=body)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_what_cannot_be_interrupted_ends_the_process() -> None:
    """After its patience the guard says who it was, and ends the process with status 3."""
    script = """
import time
from jackfield import _guard
_guard._PATIENCE = 0.3
with _guard.time_limit(0.1, "somebody"):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "jackfield: plugin somebody does not come back and cannot be interrupted; the start has failed.",
        "  Take it out of service with: jackfield plugins disable somebody",
    ]


def test_code_that_keeps_python_s_lock_ends_the_process() -> None:
    """No Python code runs beside it, neither handler nor thread: the process ends with a traceback that names it."""
    script = """
import itertools
from jackfield import _guard
_guard._PATIENCE = _guard._LOCKED = 0.3
with _guard.time_limit(0.1, "somebody"):
    max(itertools.count())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("Timeout (0:00:00.700000)!\n")
    assert 'File "<string>", line 6 in <module>' in done.stderr


@pytest.fixture(name="usual_interrupts")
def _usual_interrupts() -> Iterator[None]:
    """Handle Ctrl+C as Python does by itself; clients that other tests have made may have put a handler there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_interrupts")
def test_ctrl_c_is_told_from_what_the_code_raises() -> None:
    """The signal raises `Interrupted`; a `KeyboardInterrupt` of the code's own stays one."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted), time_limit(60, "somebody"):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught, time_limit(60, "somebody"):
        raise KeyboardInterrupt
    assert not isinstance(caught.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is before


# ------------------------------------------------------------------- in the event loop


def _name_of(task: asyncio.Task[object]) -> str | None:
    return task.get_name() if task.get_name().startswith("plugin") else None


def _nobody(name: str) -> None:
    raise AssertionError(name)


async def test_a_task_that_holds_the_loop_is_interrupted() -> None:
    """The others go on, and the time that they have lost is known."""

    async def hold() -> None:
        time.sleep(60)  # noqa: ASYNC251 - that is the fault

    async def wait() -> str:
        for _ in range(10):
            await asyncio.sleep(0.001)
        return "done"

    with blocking_limit(0.1, _name_of, _nobody) as lost:
        waiting = asyncio.create_task(wait(), name="plugin one")
        holding = asyncio.create_task(hold(), name="plugin two")
        with pytest.raises(TimeIsUp):
            await holding
        assert await waiting == "done"
        assert lost() >= 0.1


async def test_each_that_holds_the_loop_has_the_whole_time() -> None:
    """One that comes after another that was interrupted is not interrupted for that."""

    async def hold(seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return "done"

    with blocking_limit(0.5, _name_of, _nobody):
        tasks = [asyncio.create_task(hold(seconds), name=f"plugin {seconds}") for seconds in (60, 0.3, 0.3)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(results[0], TimeIsUp), *results[1:]] == [True, "done", "done"]


async def test_a_task_of_nobody_is_left_alone() -> None:
    """Only tasks that belong to a plugin are interrupted."""

    async def hold() -> str:
        time.sleep(0.5)  # noqa: ASYNC251 - that is the fault
        return "done"

    with blocking_limit(0.05, _name_of, _nobody) as lost:
        assert await asyncio.create_task(hold(), name="somebody else's") == "done"
    assert lost() == 0


async def test_a_task_that_gives_the_loop_back_may_take_long() -> None:
    """The limit is on holding the loop, not on the time from the beginning to the end."""

    async def share() -> str:
        return await _until(time.monotonic() + 0.6)

    with blocking_limit(0.3, _name_of, _nobody):
        assert await asyncio.create_task(share(), name="plugin one") == "done"


def test_what_holds_the_loop_for_good_meets_the_last_resort() -> None:
    """The function that was given for that is called with the plugin's name."""
    script = """
import asyncio, os, time
from jackfield import _guard
_guard._PATIENCE = 0.3

async def hold():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

async def main():
    with _guard.blocking_limit(0.1, asyncio.Task.get_name, lambda name: os._exit(len(name))):
        await asyncio.create_task(hold(), name="seven77")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (7, "")


# ------------------------------------------------------------------- waiting with a limit


async def _return(value: object) -> object:
    await asyncio.sleep(0)
    return value


async def _raise(error: BaseException) -> object:
    await asyncio.sleep(0)
    raise error


async def test_what_is_in_time_is_returned_or_raised() -> None:
    """A `TimeoutError` of its own is not taken for ours."""
    assert await _limited.run(_return(1), 5, "name") == 1
    with pytest.raises(TimeoutError) as caught:
        await _limited.run(_raise(TimeoutError("mine")), 5, "name")
    assert not isinstance(caught.value, _limited.OutOfTime)


async def test_what_is_not_in_time_is_cancelled() -> None:
    """Its `finally` runs before the waiting ends."""
    ended = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(_limited.OutOfTime):
        await _limited.run(hang(), 0.01, "name")
    assert ended == [True]


async def test_what_swallows_its_cancellation_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting ends even so, and the task can be found by its name."""
    monkeypatch.setattr(_limited, "_GRACE", 0.01)
    enough = asyncio.Event()

    async def stay() -> None:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(_limited.OutOfTime):
        await _limited.run(stay(), 0.01, "stays")
    (left,) = [task for task in asyncio.all_tasks() if task.get_name() == "stays"]
    enough.set()
    await left


async def test_time_that_others_took_does_not_count() -> None:
    """What is lost while it runs is added to the limit; what was lost before is not."""
    lost = itertools.chain([0.0], itertools.repeat(5.0))
    assert await _limited.run(_until(time.monotonic() + 0.3), 0.1, "name", lost.__next__) == "done"
    with pytest.raises(_limited.OutOfTime):
        await _limited.run(_until(time.monotonic() + 60), 0.1, "name", lambda: 5.0)


async def _until(end: float) -> str:
    while True:
        await asyncio.sleep(0.01)
        if time.monotonic() >= end:
            return "done"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "it called for the end of the process: SystemExit(3)"),
        (KeyboardInterrupt(), "it called for the end of the process: KeyboardInterrupt()"),
        (asyncio.CancelledError(), "it raised CancelledError(), which is no Exception"),
        (GeneratorExit(), "it raised GeneratorExit(), which is no Exception"),
        (BaseException("odd"), "it raised BaseException('odd'), which is no Exception"),
    ],
)
async def test_what_is_no_exception_becomes_one(error: BaseException, reason: str) -> None:
    """It neither stops the loop nor cancels who waits."""
    with pytest.raises(PluginError) as caught:
        await _limited.run(_raise(error), 5, "name")
    assert (caught.value.reason, caught.value.kind) == (reason, type(error).__name__)


async def test_who_waits_can_be_cancelled() -> None:
    """Then what is waited for is cancelled too, and that is no fault of the plugin's."""
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(_limited.run(hang(), 60, "name"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await ended.wait()
