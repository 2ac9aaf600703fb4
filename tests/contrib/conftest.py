"""The command line as people use it."""

from __future__ import annotations

from tests.cli import conftest as cli

closed_port, shell, invoke, unloadable = cli._closed_port, cli._shell, cli._invoke, cli._unloadable
