"""The transport: Socket.IO on one side, the dispatcher on the other.

`packet` knows the packets and no I/O; `border` is the one place that touches python-socketio and engineio;
`server` is uvicorn, with our hand on its start and its stop.
"""
