"""The settings with which the plugin is tested."""

from __future__ import annotations

import pytest


@pytest.fixture
def jackfield_settings() -> dict[str, str]:
    """The greeting is another one than by default, so that it is seen to come from the settings."""
    return {"greeting": "Good morning"}
