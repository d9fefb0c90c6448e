"""WebSockets for uvicorn: ``uvicorn --ws wsfast.uvicorn:WebSocketProtocol app:app``."""

from .protocol import WebSocketProtocol

__all__ = ["WebSocketProtocol"]
