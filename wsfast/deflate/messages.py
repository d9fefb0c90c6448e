"""Compressing and inflating messages as it was agreed (RFC 7692 6 and 7.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .. import faults
from ..codec import Role
from .config import engine_error, is_memory_error, load_engine, make_compressor
from .negotiation import Agreement

__all__ = ["Deflater", "Inflater"]

# The end of each flushed block: 7.2.1 removes it from a message, 7.2.2 puts it back. It is the empty stored block
# 00 00 00 FF FF without its first byte, whose bits belong to the data.
_TAIL: Final = b"\x00\x00\xff\xff"

_Z_SYNC_FLUSH: Final = 2

# Steps of inflating, in bytes. A bomb of any shape takes two steps of output and a few of input, next to the message
# and the context (39 KiB for a window of 32 KiB). One step would be 7 % faster for text that shrinks to a hundredth.
_INPUT_SIZE: Final = 2048
_OUTPUT_SIZE: Final = 6144

RATIO_FREE_SIZE: Final = 1_048_576
"""Inflated bytes of a message up to which its ratio does not matter."""


# Receiving (7.2.2)


class Inflater:
    """Inflates the messages of one peer; ``role`` is ours. Give ``inflate`` to a ``MessageDecoder``."""

    __slots__ = ("_bits", "_config", "_context", "_engine", "_error", "_in_size", "_out_size", "_resets")

    def __init__(self, role: Role, agreement: Agreement) -> None:
        from_server = role is Role.CLIENT
        self._bits = agreement.server_max_window_bits if from_server else agreement.client_max_window_bits
        self._resets = (
            agreement.server_no_context_takeover if from_server else agreement.client_no_context_takeover
        )
        self._config = agreement.config
        self._engine = load_engine(agreement.config.engine)
        self._error = engine_error(self._engine)
        self._context: Any = None
        self._in_size = 0  # of the message in hand
        self._out_size = 0

    def inflate(self, data: bytes, fin: bool) -> Iterator[bytes]:
        """Inflate the next part of a message's payload, the last one with ``fin``; yield pieces of at most 6 KiB.

        The rest of the data is not inflated if the iterator is left early. Raises ``PeerFault`` for data that cannot be
        inflated, and for a message that grows beyond ``max_ratio``; no other call makes sense after it.
        """
        pos, size = 0, len(data)
        while True:
            part = data[pos : pos + _INPUT_SIZE]
            pos += _INPUT_SIZE
            self._in_size += len(part)
            ends = fin and pos >= size
            # 7.2.3.6: an empty message is 00. Some peers send nothing at all; then there is no tail. Nor is there one
            # if nothing follows a final block.
            if ends and (part or (self._in_size and self._context is not None)):
                part += _TAIL
            rest: bytes | None = part or None
            while rest is not None:
                if self._context is None:
                    self._context = self._engine.decompressobj(-self._bits)
                context = self._context
                try:
                    piece = context.decompress(rest, _OUTPUT_SIZE)
                except self._error as error:
                    if is_memory_error(error):
                        raise MemoryError from error
                    raise faults.PeerFault(faults.INFLATE_FAILED) from None
                if piece:
                    self._out_size += len(piece)
                    if self._out_size > RATIO_FREE_SIZE:
                        self._check_ratio()
                    yield piece
                if context.eof:
                    # 7.2.3.4: a block with BFINAL ends zlib's stream; the next byte begins a new one.
                    # The old context goes before there is a new one: each has up to 42 KiB.
                    rest, context, self._context = context.unused_data or None, None, None
                    if ends and rest == _TAIL:
                        rest = None
                elif context.unconsumed_tail or len(piece) == _OUTPUT_SIZE:
                    rest = context.unconsumed_tail  # if it is empty, zlib may still hold output
                else:
                    rest = None
            if pos >= size:
                break
        if fin:
            self._in_size = self._out_size = 0
            if self._resets:
                self._context = None

    def _check_ratio(self) -> None:
        ratio = self._config.max_ratio
        if ratio is not None and self._out_size > ratio * self._in_size:
            raise faults.PeerFault(faults.ratio_too_high(ratio))


# Sending (7.2.1)


class Deflater:
    """Deflates the messages of one endpoint; ``role`` is ours. Give it to a ``FrameEncoder`` as ``deflate``.

    The encoder checks a message before it is deflated, so a mistake leaves the context as it was. Each payload that is
    returned must be sent, in this order.
    """

    __slots__ = ("_agreement", "_bits", "_context", "_engine", "_resets", "threshold")

    threshold: int
    """Bytes from which on a message is compressed, unless its sender decides."""

    def __init__(self, role: Role, agreement: Agreement) -> None:
        is_server = Role(role) is Role.SERVER
        self._agreement = agreement
        self._bits = agreement.server_max_window_bits if is_server else agreement.client_max_window_bits
        self._resets = (
            agreement.server_no_context_takeover if is_server else agreement.client_no_context_takeover
        )
        self.threshold = agreement.config.threshold
        self._engine = load_engine(agreement.config.engine)
        self._context: Any = None

    @property
    def shared_with(self) -> Agreement | None:
        """The agreement under which all connections of a server send the same bytes for a message; else None.

        Without context takeover a message is compressed without regard to those before it.
        """
        return self._agreement if self._resets else None

    def deflate(self, payload: bytes, fin: bool, may_choose: bool = False) -> bytes | None:
        """Deflate the next part of a message's payload, the last one with ``fin``.

        With ``may_choose`` it is a whole message, and None is returned if it should be sent as it is: it would not
        become smaller, and no later message refers to it.
        """
        if self._context is None:
            self._context = make_compressor(self._engine, self._agreement.config, self._bits)
        context = self._context
        shrunk: bytes = context.compress(payload) + context.flush(_Z_SYNC_FLUSH)
        if not fin:
            return shrunk
        if self._resets:
            self._context = None
        # 7.2.3.6: an empty message, or an empty last fragment, becomes the first byte of an empty block.
        shrunk = shrunk[:-4]
        # With context takeover the peer's context must have each message that is in ours.
        return None if may_choose and self._resets and len(shrunk) >= len(payload) else shrunk

    def forget(self) -> None:
        """Begin with a new context: the peer will not get what was deflated last."""
        self._context = None
