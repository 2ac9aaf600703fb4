"""The test kit: a kernel with just the plugin under test, and clients that need no network.

    async with testing.serve("demo") as kernel:
        client = await kernel.connect()
        assert await client.call("api.services.test.add", {"a": 1, "b": 2}) == {"sum": 3}

What runs is the real kernel, from the manifest to the packets; only the network is missing, and with `network=True`
(for fixtures: `pytest --jackfield-server`) not even that. `assert_plugin_contract` checks what a plugin owes to the
server that installs it.

pytest finds its fixtures by itself: `jackfield_kernel`, `jackfield_client`, `jackfield_serve`, `jackfield_settings`.
"""

from __future__ import annotations

import typing

from jackfield import _on_demand

if typing.TYPE_CHECKING:
    from jackfield.testing._public import *  # noqa: F403
    from jackfield.testing._public import __all__ as __all__
else:
    # Not at once: pytest loads its plugin in every run, wherever jackfield is installed.
    __getattr__, __dir__ = _on_demand.door(__name__)
