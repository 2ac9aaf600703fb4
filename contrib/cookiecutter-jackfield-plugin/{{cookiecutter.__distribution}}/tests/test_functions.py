"""Every function that gives one answer, called by a client."""

from __future__ import annotations

import pytest
from jackfield import CallError, Principal
from jackfield.testing import Client, RunningKernel

NAMESPACE = "{{ cookiecutter.namespace }}"
READER = Principal("ann", scopes=frozenset({"{{ cookiecutter.name }}:read"}))


async def test_a_thing_is_counted(jackfield_client: Client) -> None:
    """`add` tells the total, and so does `get`."""
    await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "apple"})
    total = {"thing": "apple", "total": 3}
    assert await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "apple", "count": 2}) == total
    assert await jackfield_client.call(f"{NAMESPACE}.get", {"thing": "apple"}) == total


async def test_what_does_not_fit_is_refused(jackfield_client: Client) -> None:
    """Before the function runs."""
    with pytest.raises(CallError, match=r"^invalid_argument"):
        await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "apple", "count": 0})


@pytest.mark.jackfield(authenticated=True)
async def test_a_reader_may_not_count(jackfield_kernel: RunningKernel) -> None:
    """Where callers say who they are, each function needs its scope."""
    reader = await jackfield_kernel.connect(as_=READER)
    assert await reader.call(f"{NAMESPACE}.get", {"thing": "apple"}) == {"thing": "apple", "total": 0}
    with pytest.raises(CallError, match=r"^not_found"):
        await reader.call(f"{NAMESPACE}.add", {"thing": "apple"})
