"""``basic_auth``: a ``process_request`` that asks for a user name and a password (RFC 7617)."""

from ..common.awaiting import basic_auth

__all__ = ["basic_auth"]
