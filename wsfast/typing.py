"""Types for annotations, with the names and the place that users of ``websockets`` know."""

from __future__ import annotations

import http
import logging
import os
from typing import Any, NewType, TypeAlias

__all__ = [
    "Data",
    "ExtensionName",
    "ExtensionParameter",
    "LoggerLike",
    "Origin",
    "PathLike",
    "StatusLike",
    "Subprotocol",
]

Data: TypeAlias = str | bytes
"""A message: ``str`` for text, ``bytes`` for binary (RFC 6455 5.6)."""

LoggerLike: TypeAlias = logging.Logger | logging.LoggerAdapter[Any]
"""Accepted as ``logger=``."""

PathLike: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""Accepted as the path of a Unix socket."""

StatusLike: TypeAlias = http.HTTPStatus | int
"""Accepted as the status of a response."""

Origin = NewType("Origin", str)
"""The value of an ``Origin`` header (RFC 6454). A plain ``str`` does as well."""

Subprotocol = NewType("Subprotocol", str)
"""A subprotocol (RFC 6455 1.9). A plain ``str`` does as well."""

ExtensionName = NewType("ExtensionName", str)
"""The name of an extension (RFC 6455 9.1)."""

ExtensionParameter: TypeAlias = tuple[str, str | None]
"""A parameter of an extension, without a value (None) or with one (RFC 6455 9.1)."""
