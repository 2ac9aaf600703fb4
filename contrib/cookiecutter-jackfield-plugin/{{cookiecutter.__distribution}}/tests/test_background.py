"""What goes on while nobody calls."""

from __future__ import annotations

import pytest
from jackfield.testing import Client, RunningKernel

NAMESPACE = "{{ cookiecutter.namespace }}"


@pytest.mark.jackfield(network=False)
async def test_what_nobody_counts_is_forgotten(jackfield_kernel: RunningKernel, jackfield_client: Client) -> None:
    """After an hour, which passes at once here."""
    await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "apple"})
    await jackfield_kernel.clock.advance(1800)
    assert await jackfield_client.call(f"{NAMESPACE}.get", {"thing": "apple"}) == {"thing": "apple", "total": 1}
    await jackfield_kernel.clock.advance(2400)
    assert await jackfield_client.call(f"{NAMESPACE}.get", {"thing": "apple"}) == {"thing": "apple", "total": 0}
