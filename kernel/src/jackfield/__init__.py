"""jackfield: an event-driven API server that runs what plugins bring.

A plugin makes a `Service`, declares functions with it, and hands it to the kernel through a hook. Everything
that a plugin needs is here; modules with an underscore are the kernel's own. `jackfield.client` is for those who call.

`create_app` is for those who mount the server in an ASGI application of their own.

Inside, a module imports only from the floors below its own: command line, client, application, kernel, transport,
dispatch, plugins and registry, what authors write, the wire. `make lint` checks it.
"""

from __future__ import annotations

from jackfield._app import create_app, plugin_table
from jackfield._call import Call, Client
from jackfield._contract import Kind
from jackfield._errors import CallError, Code, Detail, EncodeError, JackfieldError
from jackfield._hooks import Observer, Proceed, hookimpl
from jackfield._host import FunctionInfo, Kernel, PluginInfo, PluginStats, Stats
from jackfield._identity import Handshake, Principal
from jackfield._json import Value
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
    "Kernel",
    "Kind",
    "Observer",
    "PluginInfo",
    "PluginStats",
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

for _name in __all__:
    # So that tracebacks and documentation show the name under which a thing is imported.
    if getattr(globals()[_name], "__module__", "").startswith("jackfield._"):
        globals()[_name].__module__ = __name__
del _name
