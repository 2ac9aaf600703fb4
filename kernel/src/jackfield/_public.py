"""What is public, under one roof: see `jackfield`, which imports it when it is asked for any of it."""

from __future__ import annotations

from jackfield._app import create_app, plugin_table
from jackfield._call import Call, Client
from jackfield._contract import Kind
from jackfield._errors import CallError, Code, Detail, EncodeError, JackfieldError
from jackfield._hooks import Observer, Proceed, hookimpl
from jackfield._host import FunctionInfo, Kernel, PluginInfo, PluginStats, Position, Stats
from jackfield._identity import Handshake, Principal
from jackfield._json import Json, Value
from jackfield._route import Route
from jackfield._service import Service

__all__ = [
    "Call",
    "CallError",
    "Client",
    "Code",
    "Detail",
    "EncodeError",
    "FunctionInfo",
    "Handshake",
    "JackfieldError",
    "Json",
    "Kernel",
    "Kind",
    "Observer",
    "PluginInfo",
    "PluginStats",
    "Position",
    "Principal",
    "Proceed",
    "Route",
    "Service",
    "Stats",
    "Value",
    "create_app",
    "hookimpl",
    "plugin_table",
]
