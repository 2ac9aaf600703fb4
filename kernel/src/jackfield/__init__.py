"""jackfield: an event-driven API server that runs what plugins bring.

A plugin makes a `Service`, declares functions with it, and hands it to the kernel through a hook. Everything
that a plugin needs is here; modules with an underscore are the kernel's own. `jackfield.client` is for those who call.

`create_app` is for those who mount the server in an ASGI application of their own.

Inside, a module imports only from the floors below its own: command line, client, application, kernel, transport,
dispatch, plugins and registry, what authors write, the wire. `make lint` checks it.
"""

from __future__ import annotations

import typing

from jackfield import _on_demand

if typing.TYPE_CHECKING:
    from jackfield._public import *  # noqa: F403
    from jackfield._public import __all__ as __all__
else:
    # Not at once: callers, and the command line, whose help is to be there at once, need nothing of it.
    __getattr__, __dir__ = _on_demand.door(__name__)
