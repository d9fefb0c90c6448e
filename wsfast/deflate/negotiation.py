"""The negotiation of compression in the opening handshake, for both roles (RFC 7692 5 and 7.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from ..exceptions import NegotiationError
from ..headers import parse_extensions
from .config import DEFAULT_WINDOW_BITS, MAX_WINDOW_BITS, Deflate, settings

__all__ = ["Agreement", "accept", "confirm", "offer"]

EXTENSION: Final = "permessage-deflate"

# 7.1.2: a decimal integer from 8 to 15, without leading zeroes.
_WINDOW_BITS = re.compile(r"[89]|1[0-5]")


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of both endpoints. Connections with equal agreements share one object."""

    config: Deflate
    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int
    client_max_window_bits: int
    response: str
    """The value of ``Sec-WebSocket-Extensions`` that a server sends after ``accept``."""


_agreement = lru_cache(maxsize=256)(Agreement)


@dataclass(slots=True)
class _Parameters:
    """The parameters of an offer or of a response; None or False if one is missing."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    client_max_window_bits_offered: bool = False

    @classmethod
    def parse(cls, parameters: Sequence[tuple[str, str | None]], *, is_offer: bool) -> _Parameters:
        """Read parameters; raise ``ValueError`` for parameters that 7.1 does not allow."""
        parsed = cls()
        seen: set[str] = set()
        for name, value in parameters:
            if name in seen:
                raise ValueError(f"{name} is there twice")
            seen.add(name)
            if name in ("server_no_context_takeover", "client_no_context_takeover"):
                if value is not None:  # 7.1.1.1, 7.1.1.2
                    raise ValueError(f"{name} has a value")
                setattr(parsed, name, True)
            elif name in ("server_max_window_bits", "client_max_window_bits"):
                if value is None:
                    # 7.1.2.2: an offer may have it without a value: the client knows the parameter.
                    if not (is_offer and name == "client_max_window_bits"):
                        raise ValueError(f"{name} has no value")
                elif not _WINDOW_BITS.fullmatch(value):
                    raise ValueError(f"{name} is not a number from 8 to 15")
                else:
                    setattr(parsed, name, int(value))
            else:
                raise ValueError("an unknown parameter")
        parsed.client_max_window_bits_offered = "client_max_window_bits" in seen
        return parsed


def offer(compression: Deflate | Literal["deflate"]) -> str:
    """Return the ``Sec-WebSocket-Extensions`` of a client's request (7.1).

    Raises:
        ValueError: ``compression`` is neither a ``Deflate`` nor ``"deflate"``.
    """
    config = settings(compression)
    assert config is not None
    return _header(
        config.server_no_context_takeover,
        config.client_no_context_takeover,
        # 7.1.2.1: 15 is no limit, and some servers cannot answer it.
        None if config.server_max_window_bits == MAX_WINDOW_BITS else config.server_max_window_bits,
        # 7.1.2.2: without a value it allows the server to limit us.
        "" if config.client_max_window_bits is None else config.client_max_window_bits,
    )


def accept(values: Sequence[str], compression: Deflate | Literal["deflate"]) -> Agreement | None:
    """Answer a client's offers, the ``values`` of its ``Sec-WebSocket-Extensions`` headers, as a server (7.1).

    The first valid offer is accepted: send the ``response`` of the agreement. None declines all: send no such header.
    Offers of other extensions are skipped.

    Raises:
        InvalidHeaderFormat: a value is no list of extensions (RFC 6455 9.1).
        ValueError: ``compression`` is neither a ``Deflate`` nor ``"deflate"``.
    """
    config = settings(compression)
    assert config is not None
    for name, parameters in parse_extensions(values):
        if name == EXTENSION:
            try:
                offered = _Parameters.parse(parameters, is_offer=True)
            except ValueError:
                continue  # 7.1: "A server MUST decline an extension negotiation offer" with such parameters
            return _accept(offered, config)
    return None


def _accept(offered: _Parameters, config: Deflate) -> Agreement:
    # 7.1.2.1: the same value or a smaller one. If the offer has none, the server may still tell its own.
    server_bits = min(
        config.server_max_window_bits or DEFAULT_WINDOW_BITS,
        offered.server_max_window_bits or MAX_WINDOW_BITS,
    )
    tells_server_bits = offered.server_max_window_bits is not None or server_bits < MAX_WINDOW_BITS
    client_bits = offered.client_max_window_bits or MAX_WINDOW_BITS
    tells_client_bits = offered.client_max_window_bits is not None
    if offered.client_max_window_bits_offered:  # 7.1.2.2: if not, the response MUST NOT have it
        client_bits = min(client_bits, config.client_max_window_bits or DEFAULT_WINDOW_BITS)
        tells_client_bits = tells_client_bits or client_bits < MAX_WINDOW_BITS
    # 7.1.1.1: the server must grant the client's request. 7.1.1.2: a hint, and we hold the client to it.
    server_resets = config.server_no_context_takeover or offered.server_no_context_takeover
    client_resets = config.client_no_context_takeover or offered.client_no_context_takeover
    response = _header(
        server_resets,
        client_resets,
        server_bits if tells_server_bits else None,
        client_bits if tells_client_bits else None,
    )
    return _agreement(config, server_resets, client_resets, server_bits, client_bits, response)


def confirm(values: Sequence[str], compression: Deflate | Literal["deflate"]) -> Agreement | None:
    """Check a server's response to ``offer(compression)``: the ``values`` of its ``Sec-WebSocket-Extensions`` (7.1).

    None: the server declined.

    Raises:
        NegotiationError: the response does not fit the offer. The client MUST fail the connection.
        InvalidHeaderFormat: a value is no list of extensions.
        ValueError: ``compression`` is neither a ``Deflate`` nor ``"deflate"``.
    """
    config = settings(compression)
    assert config is not None
    extensions = parse_extensions(values)
    if not extensions:
        return None
    for name, _ in extensions:
        if name != EXTENSION:  # RFC 6455 9.1
            raise NegotiationError(f"the server uses the extension {name}, which was not offered")
    if len(extensions) > 1:
        raise NegotiationError(f"the server uses the extension {EXTENSION} twice")
    try:
        answered = _Parameters.parse(extensions[0][1], is_offer=False)
        return _confirm(answered, config, ", ".join(values))
    except ValueError as error:
        raise NegotiationError(f"the server's {EXTENSION} does not fit our offer: {error}") from None


def _confirm(answered: _Parameters, config: Deflate, response: str) -> Agreement:
    # 7.1.1.1, 7.1.2.1: a server that accepts a request of ours repeats it in its response.
    if config.server_no_context_takeover and not answered.server_no_context_takeover:
        raise ValueError("server_no_context_takeover is missing")
    limit = config.server_max_window_bits
    if limit is not None and limit < MAX_WINDOW_BITS:
        if answered.server_max_window_bits is None:
            raise ValueError("server_max_window_bits is missing")
        if answered.server_max_window_bits > limit:
            raise ValueError(f"server_max_window_bits is larger than {limit}")
    limit = config.client_max_window_bits
    client_bits = answered.client_max_window_bits
    if client_bits is None:
        client_bits = limit or DEFAULT_WINDOW_BITS
    elif limit is not None and client_bits > limit:
        raise ValueError(f"client_max_window_bits is larger than {limit}")  # 7.1.2.2
    return _agreement(
        config,
        answered.server_no_context_takeover,
        answered.client_no_context_takeover or config.client_no_context_takeover,
        answered.server_max_window_bits or MAX_WINDOW_BITS,
        min(client_bits, DEFAULT_WINDOW_BITS) if limit is None else client_bits,
        response,
    )


def _header(
    server_resets: bool, client_resets: bool, server_bits: int | None, client_bits: int | str | None
) -> str:
    text = EXTENSION
    if server_resets:
        text += "; server_no_context_takeover"
    if client_resets:
        text += "; client_no_context_takeover"
    if server_bits is not None:
        text += f"; server_max_window_bits={server_bits}"
    if client_bits is not None:
        text += "; client_max_window_bits" + (f"={client_bits}" if client_bits != "" else "")
    return text
