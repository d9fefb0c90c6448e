"""Which connections a server takes: as many as its ``Limits`` allow, in all and from one address.

A connection is refused with a HTTP status when its request is there. Refusing takes time, so that no more than
``MAX_REFUSALS`` wait for it; the others are to be cut at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import Any, TypeAlias

from ..limits import Limits

__all__ = ["MAX_REFUSALS", "Admission", "network_of"]

MAX_REFUSALS = 64

Refusal: TypeAlias = tuple[int, str]
"""A HTTP status, and a text."""

_FULL: Refusal = (503, "The server has as many connections as it takes.\n")
_TOO_MANY: Refusal = (429, "There are too many connections from this address.\n")


def network_of(address: Any) -> str | None:
    """Return the part of a peer's address that counts: all of IPv4, 64 bits of IPv6; None if there is none.

    ``address`` is ``socket.getpeername``'s. Who has one IPv6 address usually has 2**64 of them.
    """
    if not isinstance(address, tuple) or not address or not isinstance(address[0], str):
        return None
    try:
        parsed = ipaddress.ip_address(address[0].partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))


class Admission:
    """The connections of one server. A connection is any object that can be a key."""

    __slots__ = ("_admitted", "_by_network", "_limits", "_refused")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._admitted: dict[Hashable, str | None] = {}
        self._by_network: dict[str, int] = {}
        self._refused: dict[Hashable, Refusal] = {}

    @property
    def counts_addresses(self) -> bool:
        """True if ``enter`` needs the address of the connection."""
        return self._limits.max_connections_per_address is not None

    def enter(self, connection: Hashable, address: Any) -> bool:
        """Note a connection that was accepted; return False if it is to be cut at once."""
        limits = self._limits
        per_address = limits.max_connections_per_address
        if per_address is None and limits.max_connections is None:
            return True  # an entry for each would be 1 % of an idle connection
        network = None if per_address is None else network_of(address)
        if limits.max_connections is not None and len(self._admitted) >= limits.max_connections:
            refusal = _FULL
        elif network is not None and self._by_network.get(network, 0) >= (per_address or 0):
            refusal = _TOO_MANY
        else:
            self._admitted[connection] = network
            if network is not None:
                self._by_network[network] = self._by_network.get(network, 0) + 1
            return True
        if len(self._refused) >= MAX_REFUSALS:
            return False
        self._refused[connection] = refusal
        return True

    def refusal(self, connection: Hashable) -> Refusal | None:
        """Return with what its request is to be refused, or None."""
        return self._refused.get(connection)

    def leave(self, connection: Hashable) -> None:
        """Note the end of a connection, admitted or not. A second call does nothing."""
        self._refused.pop(connection, None)
        network = self._admitted.pop(connection, None)
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]
