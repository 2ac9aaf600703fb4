"""Whose bucket a call takes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TypeAlias

from jackfield import Call
from jackfield_ratelimit.settings import Per

KeyOf: TypeAlias = Callable[[Call], Hashable]


def key_for(per: Per, call: Call) -> KeyOf:
    """Return what tells the keys of calls of one function.

    Args:
        per: What has a bucket of its own.
        call: A call of the function.
    """
    if per == "principal":
        return _principal
    if per == "connection":
        return _connection
    if per == "address":
        return _address
    key = {"function": call.event, "server": ""}.get(per)
    if key is None:
        key = plugin_of(call)
    return lambda call: key


def plugin_of(call: Call) -> str:
    """Return the name of the plugin whose function is called."""
    found = [
        (namespace, plugin.name)
        for plugin in call.kernel.plugins()
        for namespace in plugin.namespaces
        if call.event.startswith(f"{namespace}.")
    ]
    return max(found, key=lambda pair: len(pair[0]), default=("", ""))[1]


def _principal(call: Call) -> Hashable:
    principal = call.principal
    if principal is not None:
        return principal.id
    client = call.client
    if client is None or ":" in client.address:
        return (_address(call),)
    return (client.address,)  # a tuple, which is no principal's id


def _connection(call: Call) -> Hashable:
    return call.client.id if call.client is not None else ""


def _address(call: Call) -> str:
    address = call.client.address if call.client is not None else ""
    return _network(address) if ":" in address else address


@lru_cache(1024)
def _network(address: str) -> str:
    """Return the network of an address of IPv6: whoever has one of its addresses has them all."""
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
