"""The transport: Socket.IO on one side, the dispatcher on the other.

From the machine up: `eio` and `packet` know the two protocols and no I/O; `wire` says what a carrier of messages is,
`fast` (picows, let in by `door`) and `asgi` are the two there are; `peer` is one Engine.IO session over whichever
carries it now, with its `backlog`, its `upgrade` and its polling `request`; `engine` is the table of them. Above,
`link` is one client in Socket.IO's terms, with the `acks` that it owes; `namespaces`, `rooms` and `border` keep
python-socketio and its client managers working on top; `server` is uvicorn with our hand on its start and its stop,
on what `listener` opened and `tls` guards.
"""

from __future__ import annotations

from jackfield._deferred import defer

# Else they import the clients, with aiohttp, and what there is for message queues: a third of the time of a start.
defer("engineio", Server="server")
defer("socketio")
