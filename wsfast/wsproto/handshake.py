"""``wsproto.handshake``, with our ``H11Handshake`` and ``Connection``."""

from wsproto.handshake import *  # noqa: F403

from .connection import Connection as Connection
from .opening import H11Handshake as H11Handshake
