"""What can be configured."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jackfield_jobs.settings import JobsSettings


@pytest.mark.parametrize(
    "name",
    [
        *("timeout", "attempts", "keep", "max_kept", "max_open", "max_open_per_principal", "max_data", "max_result"),
        *("max_watches", "lease"),
    ],
)
def test_no_limit_is_zero(name):
    """A plugin that can do nothing is a mistake; only that a server runs no jobs itself makes sense."""
    with pytest.raises(ValidationError, match="greater than"):
        JobsSettings.model_validate({name: 0})
    assert JobsSettings.model_validate({"running": 0}).running == 0


def test_a_mistyped_key_is_a_mistake():
    """It would be a limit that does not hold."""
    with pytest.raises(ValidationError, match="max_opne"):
        JobsSettings.model_validate({"max_opne": 1})
