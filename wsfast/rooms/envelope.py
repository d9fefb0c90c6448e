"""The bytes that go over a bus: a head of 24 bytes, the key of ``coalesce``, and the payload of a message.

    "wsr1"  kind(1)  policy(1)  size of the key, 65,535 without one(2)  origin(8)  number(8)  key  payload

Numbers are big-endian. ``origin`` names a ``Rooms`` object; ``number`` counts its messages. No frame goes over a bus:
each process makes its own, as members differ in compression. Whatever does not fit this is refused, not guessed.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from ..session import Slow

__all__ = ["HEAD_SIZE", "MAX_KEY_SIZE", "Envelope", "Kind", "pack", "unpack"]

_HEAD = struct.Struct("!4sBBH8sQ")
_MAGIC = b"wsr1"
_POLICIES = tuple(Slow)

HEAD_SIZE = _HEAD.size
MAX_KEY_SIZE = 1024  # bytes
_NO_KEY = 0xFFFF


class Kind(enum.IntEnum):
    """What an envelope holds."""

    TEXT = 1
    BINARY = 2
    GAP = 3  # its sender could not publish to this room for some time
    BEAT = 4  # its sender wants it back, to see that the broker is there


class Envelope(NamedTuple):
    kind: Kind
    origin: bytes
    number: int
    message: str | bytes
    slow: Slow = Slow.CLOSE
    key: str | None = None


def pack(
    kind: Kind, origin: bytes, number: int, payload: bytes, slow: Slow = Slow.CLOSE, key: bytes | None = None
) -> bytes:
    key_size = _NO_KEY if key is None else len(key)
    head = _HEAD.pack(_MAGIC, kind, _POLICIES.index(slow), key_size, origin, number)
    return b"".join((head, key or b"", payload))


def unpack(data: bytes) -> Envelope:
    """Return what ``pack`` was given.

    Raises:
        ValueError: it was made by something else; the message says why.
    """
    if len(data) < HEAD_SIZE or not data.startswith(_MAGIC):
        raise ValueError("not a message of wsfast.rooms")
    _, kind, policy, key_size, origin, number = _HEAD.unpack_from(data)
    has_key = key_size != _NO_KEY
    end = HEAD_SIZE + key_size * has_key
    if kind not in Kind._value2member_map_ or policy >= len(_POLICIES) or end > len(data):
        raise ValueError("not a message of this version of wsfast.rooms")
    payload = data[end:]
    # UnicodeDecodeError is a ValueError, and says where.
    message = payload.decode() if kind == Kind.TEXT else payload
    key = data[HEAD_SIZE:end].decode() if has_key else None
    return Envelope(Kind(kind), origin, number, message, _POLICIES[policy], key)
