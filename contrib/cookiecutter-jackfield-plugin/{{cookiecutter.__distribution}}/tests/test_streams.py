"""The functions that send and take streams, called by a client."""

from __future__ import annotations

import pytest
from jackfield import CallError
from jackfield.testing import Client, RunningKernel

NAMESPACE = "{{ cookiecutter.namespace }}"


async def test_who_watches_is_told(jackfield_client: Client) -> None:
    """The total as it is, and each one that comes."""
    async with jackfield_client.stream(f"{NAMESPACE}.watch", {"thing": "apple"}) as totals:
        assert await anext(totals) == {"thing": "apple", "total": 0}
        await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "pear"})
        await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "apple"})
        assert await anext(totals) == {"thing": "apple", "total": 1}


async def test_a_watcher_that_vanishes_leaves_nothing_behind(jackfield_kernel: RunningKernel) -> None:
    """Others are told on."""
    client, other = await jackfield_kernel.connect(), await jackfield_kernel.connect()
    async with other.stream(f"{NAMESPACE}.watch", {"thing": "apple"}) as totals:
        await anext(totals)
        async with client.stream(f"{NAMESPACE}.watch", {"thing": "apple"}) as mine:
            await anext(mine)
            await client.vanish()
        await other.call(f"{NAMESPACE}.add", {"thing": "apple"})
        assert await anext(totals) == {"thing": "apple", "total": 1}


async def test_what_is_sent_is_counted(jackfield_client: Client) -> None:
    """`load` takes a stream."""
    items = [{"thing": "apple", "count": 2}, {"thing": "pear"}]
    assert await jackfield_client.call(f"{NAMESPACE}.load", items=items) == 3
    assert await jackfield_client.call(f"{NAMESPACE}.get", {"thing": "pear"}) == {"thing": "pear", "total": 1}


async def test_an_item_that_does_not_fit_ends_the_stream(jackfield_client: Client) -> None:
    """What came before it stays counted."""
    items = [{"thing": "apple"}, {"thing": ""}]
    with pytest.raises(CallError, match=r"^invalid_argument"):
        await jackfield_client.call(f"{NAMESPACE}.load", items=items)
    assert await jackfield_client.call(f"{NAMESPACE}.get", {"thing": "apple"}) == {"thing": "apple", "total": 1}
