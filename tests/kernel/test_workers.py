"""Worker threads: how many there are, who waits, and what becomes of a job that nobody wants any more."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from jackfield import Call, Service
from jackfield._workers import Job, Workers
from jackfield.testing import serve
from tests.support.waiting import until

LIMIT = 2


class Gate:
    """Functions that wait in their thread until the gate is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside: list[str] = []

    def wait(self) -> str:
        """Return the thread's name, once the gate is open."""
        self.inside.append(threading.current_thread().name)
        assert self.opened.wait(20)
        return threading.current_thread().name


@pytest.fixture(name="gate")
async def _gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture(name="workers")
async def _workers() -> AsyncIterator[Workers]:
    workers = Workers("theirs", LIMIT)
    yield workers
    workers.close()
    await until(lambda: not _threads())


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("jackfield-theirs-")]


async def test_a_job_runs_in_a_thread_of_the_plugin(workers: Workers) -> None:
    """A daemon, which carries the plugin's name and is started when it is needed."""
    assert _threads() == []
    thread = await workers.submit(threading.current_thread).future
    assert isinstance(thread, threading.Thread)
    assert (thread.name, thread.daemon) == ("jackfield-theirs-1", True)


async def test_a_thread_that_is_free_takes_the_next_job(workers: Workers) -> None:
    """One job after the other needs one thread."""
    for _ in range(20):
        await workers.submit(lambda: None).future
    assert len(_threads()) <= LIMIT
    names = {await workers.submit(lambda: threading.current_thread().name).future for _ in range(5)}
    assert names <= {"jackfield-theirs-1", "jackfield-theirs-2"}


async def test_no_more_threads_than_allowed(workers: Workers, gate: Gate) -> None:
    """What is beyond waits its turn, in the order in which it came."""
    order: list[int] = []
    held = [workers.submit(gate.wait) for _ in range(LIMIT)]
    await until(lambda: len(gate.inside) == LIMIT)
    waiting = [workers.submit(lambda number=number: order.append(number)) for number in range(5)]  # type: ignore[misc]
    assert [job.started for job in waiting] == [False] * 5
    assert len(_threads()) == LIMIT
    gate.opened.set()
    await asyncio.gather(*(job.future for job in (*held, *waiting)))
    assert sorted(order) == list(range(5))


async def test_a_job_that_waits_can_be_withdrawn(workers: Workers, gate: Gate) -> None:
    """It never runs; one that runs, or has run, stays."""
    held = [workers.submit(gate.wait) for _ in range(LIMIT)]
    await until(lambda: len(gate.inside) == LIMIT)
    ran: list[str] = []
    unwanted, wanted = workers.submit(lambda: ran.append("unwanted")), workers.submit(lambda: ran.append("wanted"))
    assert workers.withdraw(unwanted)
    assert not workers.withdraw(held[0])
    gate.opened.set()
    await wanted.future
    assert ran == ["wanted"]
    assert not workers.withdraw(wanted)
    assert not unwanted.future.done()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a"), ValueError),
        (SystemExit(1), SystemExit),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (BaseException("odd"), BaseException),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
async def test_what_a_job_raises_belongs_to_who_waits(
    workers: Workers, error: BaseException, expected: type[BaseException]
) -> None:
    """Whatever it is; the thread goes on to the next job."""

    def fail() -> None:
        raise error

    job = workers.submit(fail)
    await until(job.future.done)
    assert type(job.future.exception()) is expected
    assert await workers.submit(lambda: "next").future == "next"


async def test_stop_iteration_can_be_told(workers: Workers) -> None:
    """A future cannot hold one, so that another exception stands for it."""
    job = workers.submit(lambda: next(iter(())))
    with pytest.raises(RuntimeError, match=r"^the function raised StopIteration$"):
        await job.future


async def test_a_job_sees_the_context_of_its_caller(workers: Workers) -> None:
    """Context variables are those of the submitting task; what the job changes stays with it."""
    variable = contextvars.ContextVar("variable", default="outside")

    def change() -> str:
        seen = variable.get()
        variable.set("changed")
        return seen

    variable.set("inside")
    assert await workers.submit(change).future == "inside"
    assert variable.get() == "inside"


async def test_closing_lets_the_threads_end(gate: Gate) -> None:
    """Those that have nothing to do at once, the others after their job."""
    workers = Workers("theirs", LIMIT)
    job = workers.submit(gate.wait)
    await until(lambda: gate.inside)
    workers.close()
    assert len(_threads()) == 1
    gate.opened.set()
    await job.future
    await until(lambda: not _threads())


async def test_a_result_that_nobody_waits_for_is_dropped(workers: Workers, gate: Gate) -> None:
    """A cancelled future is left as it is."""
    job = workers.submit(gate.wait)
    await until(lambda: gate.inside)
    job.future.cancel()
    gate.opened.set()
    assert await workers.submit(lambda: "next").future == "next"
    assert job.future.cancelled()


SCRIPT = """
import asyncio, threading
from jackfield._workers import Workers

opened = threading.Event()

async def main():
    workers = Workers("theirs", 2)
    workers.submit(threading.Event().wait)
    workers.submit(opened.wait)

asyncio.run(main())
opened.set()
print("over")
"""


def test_a_thread_that_never_comes_back_holds_nobody_up() -> None:
    """The process ends with it, and a result that comes after the loop has gone goes nowhere."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


async def test_many_jobs_from_many_tasks(workers: Workers) -> None:
    """Every job ends with its own result, and no turn is lost."""

    def double(number: int) -> Callable[[], int]:
        return lambda: number * 2

    jobs: list[Job] = [workers.submit(double(number)) for number in range(500)]
    assert await asyncio.gather(*(job.future for job in jobs)) == [number * 2 for number in range(500)]


async def test_what_asyncio_gives_to_threads_is_not_counted(gate: Gate) -> None:
    """While a plain function holds its plugin's only thread, a stream computes in one of the event loop's."""
    service = Service("api.both")

    @service.function
    def wait(call: Call) -> str:
        """Hold a thread."""
        return gate.wait()

    @service.function
    async def compute(call: Call) -> AsyncIterator[str]:
        """Tell which thread computes."""
        yield await asyncio.to_thread(lambda: threading.current_thread().name)

    async with serve(service, config={"limits": {"threads": 1}}) as kernel:
        client = await kernel.connect()
        held = asyncio.create_task(client.call("api.both.wait"))
        await until(lambda: gate.inside == ["jackfield-both-1"])
        [computed] = [name async for name in client.stream("api.both.compute")]
        assert not held.done()
        gate.opened.set()
        assert await held == "jackfield-both-1"
    assert computed != "jackfield-both-1"
