"""wsproto's opening handshake, which ends in our ``Connection``."""

from __future__ import annotations

import wsproto.connection
import wsproto.handshake
from wsproto.connection import ConnectionType

from .connection import Connection

__all__ = ["H11Handshake"]


class H11Handshake(wsproto.handshake.H11Handshake):
    """wsproto's opening handshake, by h11."""

    _connection: wsproto.connection.Connection | None

    @property
    def connection(self) -> wsproto.connection.Connection | None:
        """The connection; None until the handshake has made it."""
        made = self._connection
        if made is None or isinstance(made, Connection):
            return made
        # The base class makes wsproto's own connection at the end of the handshake. Ours replaces it before anybody
        # gets it. A client's starts with the bytes after the handshake; a server's starts with none.
        connection_type = ConnectionType.CLIENT if self.client else ConnectionType.SERVER
        trailing_data = self._h11_connection.trailing_data[0] if self.client else b""
        ours = Connection(connection_type, made._proto.extensions, trailing_data)
        self._connection = ours
        return ours
