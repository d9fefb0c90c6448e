"""The lines of log that uvicorn's own classes write, word for word, in the same place and at the same level.

Nothing of a peer is in them raw: uvicorn quotes the path, and the rest is ours.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from uvicorn.logging import TRACE_LOG_LEVEL
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from .denial import phrase_of

if TYPE_CHECKING:
    from uvicorn._types import WebSocketScope

logger = LOGGER = logging.getLogger("uvicorn.error")


def trace(client: tuple[str, int] | None, step: str) -> None:
    """Tell a step of a connection; ``step`` is a text of ours."""
    if logger.isEnabledFor(TRACE_LOG_LEVEL):
        prefix = "{}:{} - ".format(*client) if client else ""
        logger.log(TRACE_LOG_LEVEL, "%s%s", prefix, step)


def log_answer(scope: WebSocketScope, answer: str) -> None:
    """Tell how the application answered the request: ``[accepted]``, or a status."""
    path = get_path_with_query_string(scope)
    logger.info('%s - "WebSocket %s" %s', get_client_addr(scope), path, answer)


def log_rejection(status: int) -> None:
    logger.info("connection rejected (%d %s)", status, phrase_of(status))
