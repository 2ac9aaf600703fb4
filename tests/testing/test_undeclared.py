"""The kit warns of codes that a function raises and does not declare."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator

import pytest

from jackfield import Call, CallError, Code, Service, hookimpl
from jackfield.testing import serve

both = pytest.mark.parametrize("network", [False, True], ids=["memory", "network"])


def refuse(code: str) -> None:
    """Raise, as what a function uses does."""
    raise CallError(code, "No.")


class Poll:
    """A plugin whose functions raise the code that they are sent."""

    service = Service("api.poll")

    @hookimpl
    def jackfield_services(self) -> list[Service]:
        """Return the one service."""
        return [self.service]

    @hookimpl
    def jackfield_admit(self, call: Call) -> None:
        """Turn calls away, which is no function's doing."""
        if call.meta.get("turn") == "away":
            raise CallError(Code.RESOURCE_EXHAUSTED, "Enough.")


@Poll.service.function(errors=[Code.NOT_FOUND])
async def at_once(call: Call, data: str) -> None:
    """Raise without ever waiting."""
    refuse(data)


@Poll.service.function(errors=[Code.NOT_FOUND])
async def later(call: Call, data: str) -> None:
    """Raise after another function has answered."""
    await call.invoke("api.poll.fine")
    refuse(data)


@Poll.service.function(errors=[Code.NOT_FOUND])
def in_thread(call: Call, data: str) -> None:
    """Raise in a thread."""
    refuse(data)


@Poll.service.function(errors=[Code.NOT_FOUND])
async def stream(call: Call, data: str) -> AsyncIterator[str]:
    """Raise after an item."""
    yield "one"
    refuse(data)


@Poll.service.function
async def silent(call: Call, data: str) -> None:
    """Declare nothing."""
    refuse(data)


@Poll.service.function(errors=[Code.NOT_FOUND])
async def hand_on(call: Call, data: str) -> None:
    """Hand on what another function raises."""
    await call.invoke("api.poll.silent", data)


@Poll.service.function(errors=[Code.NOT_FOUND])
async def gather(call: Call, items: AsyncIterator[int]) -> int:
    """Take numbers."""
    return sum([number async for number in items])


@Poll.service.function
async def fine(call: Call) -> None:
    """Do nothing."""


@both
@pytest.mark.parametrize("name", ["at_once", "later", "in_thread"])
async def test_a_code_that_is_not_declared_is_warned_of(name: str, network: bool) -> None:
    """Once for each code, when the kernel has stopped; what is declared is fine."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        async with serve(Poll(), network=network) as kernel:
            client = await kernel.connect()
            for code in ("aborted", "not_found", "aborted"):
                with pytest.raises(CallError, match=f"^{code}: No"):
                    await client.call(f"api.poll.{name}", code)
    assert [(one.category, str(one.message)) for one in told] == [
        (
            UserWarning,
            f"api.poll.{name} answers with aborted, which it does not declare: add Code.ABORTED to the errors= of its "
            "@service.function, or answer with a code that is there",
        )
    ]


async def _refused(function: str, code: str, failure: BaseException | None = None) -> None:
    """Call a function that raises; then end, with the failure of a test if there is one."""
    async with serve(Poll()) as kernel:
        client = await kernel.connect()
        with pytest.raises(CallError, match=rf"^{code}: No"):
            async with client.stream(f"api.poll.{function}", code) as items:
                [item async for item in items]
        if failure is not None:
            raise failure


async def test_a_stream_is_warned_of() -> None:
    """Whatever it has sent before. Where warnings are errors, the test fails."""
    with pytest.raises(UserWarning, match=r"^api\.poll\.stream answers with data_loss, which"):
        await _refused("stream", "data_loss")


async def test_a_test_that_fails_is_not_told_of_warnings() -> None:
    """What it failed with comes first."""
    with pytest.raises(RuntimeError, match=r"^the test fails$"):
        await _refused("stream", "data_loss", RuntimeError("the test fails"))


async def test_what_is_no_functions_own_is_not_warned_of() -> None:
    """Data and items that do not fit, hooks, and what another function raises; nor is who declares nothing."""
    async with serve(Poll()) as kernel:
        client = await kernel.connect()
        for name in ("silent", "hand_on"):
            with pytest.raises(CallError, match=r"^aborted: No"):
                await client.call(f"api.poll.{name}", "aborted")
        with pytest.raises(CallError, match=r"^invalid_argument"):
            await client.call("api.poll.at_once", 7)
        with pytest.raises(CallError, match=r"^invalid_argument"):
            await client.call("api.poll.gather", items=["seven"])
        with pytest.raises(CallError, match=r"^resource_exhausted: Enough"):
            await client.call("api.poll.at_once", "aborted", meta={"turn": "away"})
