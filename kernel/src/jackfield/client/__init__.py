"""The Python client: calls the functions of a jackfield server.

Any Socket.IO client can do that. This one does what is laborious by hand: errors are exceptions, deadlines are
kept on both sides, a cancelled task cancels its call at the server, streams are async iterators with flow control,
and a connection that is lost comes back.

It needs aiohttp, which `jackfield[standard]` brings.
"""

from __future__ import annotations

from jackfield import _on_demand
from jackfield.client._caller import Handler
from jackfield.client._client import Client, Stream
from jackfield.client._connect import connect
from jackfield.client._errors import ConnectError, ConnectionLost
from jackfield.client._exchange import Progress
from jackfield.client._subscription import Publication, Subscription
from jackfield.client._upload import Items

__all__ = [
    "Client",
    "ConnectError",
    "ConnectionLost",
    "Handler",
    "Items",
    "Progress",
    "Publication",
    "Stream",
    "Subscription",
    "connect",
]

_on_demand.adopt(__name__, globals())
