"""What `jackfield.testing` offers; its door imports this when somebody asks for a name of it."""

from __future__ import annotations

from jackfield.testing._client import Client
from jackfield.testing._clock import Clock
from jackfield.testing._conformity import assert_plugin_contract
from jackfield.testing._errors import SetupError
from jackfield.testing._running import RunningKernel
from jackfield.testing._serving import Serve, serve

__all__ = [
    "Client",
    "Clock",
    "RunningKernel",
    "Serve",
    "SetupError",
    "assert_plugin_contract",
    "serve",
]
