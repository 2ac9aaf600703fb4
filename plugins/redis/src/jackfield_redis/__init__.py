"""Redis, or Valkey, for several servers that are one.

The plugin itself is `jackfield_redis.plugin`. Here is what other plugins that use Redis can build on; redis-py is
imported with the first of these names, so that a server that uses no Redis need not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield_redis.address import check_url, open_redis
    from jackfield_redis.link import Away, Link, Listener, Part, Reply, Script
    from jackfield_redis.seal import Seal

__all__ = ["Away", "Link", "Listener", "Part", "Reply", "Script", "Seal", "check_url", "open_redis"]


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in ("address", "link", "seal"):
            names = vars(import_module(f"{__name__}.{module}"))
            if name in names:
                return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
