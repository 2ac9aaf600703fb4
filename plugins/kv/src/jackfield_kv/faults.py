"""What can be wrong with a request; each message is for the person who made it.

* `KvFault`
    * `BadKey`: a key that no value may have
    * `BadValue`: a value that not every client could be sent
    * `NotFound`: the key has no value
    * `Exists`: it has one, and was to have none
    * `Conflict`: its value has another version than the one expected
    * `TooMuch`: a limit is reached
    * `OutOfReach`: a revision from which no watch can go on
    * `Behind`: a watch that cannot tell every change any more
    * `Away`: the store cannot be reached now
"""

from __future__ import annotations


class KvFault(Exception):
    """Base of what is refused; the text is shown to the caller."""


class BadKey(KvFault):
    """A key that no value may have."""


class BadValue(KvFault):
    """A value that not every client could be sent."""


class NotFound(KvFault):
    """The key has no value."""


class Exists(KvFault):
    """The key has a value, and was to have none."""


class Conflict(KvFault):
    """The value has another version than the one expected."""


class TooMuch(KvFault):
    """A limit is reached."""


class OutOfReach(KvFault):
    """A revision from which no watch can go on: its changes are forgotten, or have not been made."""


class Behind(KvFault):
    """A watch that cannot tell every change any more."""


class Away(KvFault):
    """The store cannot be reached now; a later try can succeed."""
