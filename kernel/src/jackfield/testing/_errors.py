"""What is wrong with how the kit is used, as opposed to with the plugin."""

from __future__ import annotations

from jackfield._errors import JackfieldError


class SetupError(JackfieldError):
    """The kit cannot do what the test asks; the message says what to write in its place."""
