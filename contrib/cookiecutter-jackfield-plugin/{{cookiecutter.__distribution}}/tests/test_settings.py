"""What operators may change."""

from __future__ import annotations

import pytest
from jackfield import CallError
from jackfield.testing import Client, Serve

NAMESPACE = "{{ cookiecutter.namespace }}"


@pytest.mark.jackfield(settings={"max_things": 1})
async def test_the_settings_limit_the_things(jackfield_client: Client) -> None:
    """What is one too many is refused, with the reason."""
    await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "apple"})
    with pytest.raises(CallError, match=r"^resource_exhausted: There is no room for 'pear'\.$"):
        await jackfield_client.call(f"{NAMESPACE}.add", {"thing": "pear"})


async def test_a_misspelt_setting_is_told(jackfield_serve: Serve) -> None:
    """With the one that may be meant."""
    async with jackfield_serve("{{ cookiecutter.name }}", settings={"max_thing": 1}, strict=False) as kernel:
        assert kernel.plugin.state == "quarantined"
        assert kernel.plugin.reason is not None
        assert kernel.plugin.reason.endswith("did you mean plugins.{{ cookiecutter.name }}.max_things?")
