"""Redis, or Valkey, for several servers that are one.

The plugin itself is `jackfield_redis.plugin`. Here is what other plugins that use Redis can build on.
"""

from jackfield_redis.address import RedisUrl, check_url, open_redis
from jackfield_redis.link import Away, Link, Listener, Part, Reply, Script
from jackfield_redis.seal import Seal

__all__ = ["Away", "Link", "Listener", "Part", "RedisUrl", "Reply", "Script", "Seal", "check_url", "open_redis"]
