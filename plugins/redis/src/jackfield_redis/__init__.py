"""Redis, or Valkey, for several servers that are one.

The plugin itself is `jackfield_redis.plugin`. Here is what other plugins that use Redis can build on.
"""

from jackfield_redis.address import RedisUrl, open_redis
from jackfield_redis.link import Away, Link, Listener, Reply, Script
from jackfield_redis.seal import Seal

__all__ = ["Away", "Link", "Listener", "RedisUrl", "Reply", "Script", "Seal", "open_redis"]
