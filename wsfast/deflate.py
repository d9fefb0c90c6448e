"""Compression of messages: ``permessage-deflate`` (RFC 7692), for both roles and without I/O.

Three parts: ``Deflate`` says what our caller wants; ``offer``, ``accept`` and ``confirm`` make an ``Agreement`` of it
in the opening handshake; and the agreement works in two objects, of which a connection has one each:

    MessageDecoder(role, inflate=Inflater(role, agreement).inflate)     receives
    DeflatingEncoder(FrameEncoder(role), agreement)                     sends, with the methods of ``FrameEncoder``

A host that does its own handshake gives ``accept(...)`` the values of ``Sec-WebSocket-Extensions`` and the result to
``wsfast.connection.Connection(role, compression=agreement)``, which makes both.

Three rules. Memory is for what is used: a context is made for the first compressed message, and without context
takeover it is gone after each. What is inflated comes in pieces, so that whoever takes them can stop at a limit.
And compressing and framing is one call, so that no cancellation or error can come between.
"""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from . import faults
from .codec import FrameEncoder, Opcode, Role, Utf8Validator, utf8_valid
from .exceptions import NegotiationError
from .headers import parse_extensions

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Agreement",
    "Compression",
    "Deflate",
    "DeflatingEncoder",
    "Inflater",
    "accept",
    "confirm",
    "offer",
]

EXTENSION: Final = "permessage-deflate"

DEFAULT_WINDOW_BITS: Final = 12
"""What we deflate with where nothing else is said: a context takes 38 KiB, with zlib's own defaults it takes 262."""

_MAX_WINDOW_BITS: Final = 15

# 7.1.2: a decimal integer from 8 to 15, without leading zeroes.
_WINDOW_BITS = re.compile(r"[89]|1[0-5]")

# 7.2.1: the end of each flushed block is left out of a message, and 7.2.2: it is put back. It is the empty stored
# block 00 00 00 FF FF without its first byte, of which the bits belong to the data.
_TAIL: Final = b"\x00\x00\xff\xff"

_TEXT: Final = Opcode.TEXT
_BINARY: Final = Opcode.BINARY

_Z_DEFLATED: Final = 8
_Z_SYNC_FLUSH: Final = 2

# Steps of inflating, in bytes: a bomb of any shape takes two of the output's and a few of the input's, beside the
# message and the context, which takes 39 KiB for a window of 32. In one step it would be 7 % faster for text that
# shrinks to a hundredth.
_INPUT_SIZE: Final = 2048
_OUTPUT_SIZE: Final = 6144

RATIO_FREE_SIZE: Final = 1_048_576
"""Inflated bytes of a message up to which its ratio does not matter."""

_ENGINES: Final = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}


# What our caller wants


@dataclass(frozen=True, slots=True)
class Deflate:
    """Settings for ``compression=``; those of the four parameters of RFC 7692 7.1 have their names.

    - ``server_no_context_takeover``, ``client_no_context_takeover``: that endpoint begins each message anew. It costs
      ratio and saves the memory of a context between messages. Either side may ask for either.
    - ``server_max_window_bits``, ``client_max_window_bits``: the base-2 logarithm of the window that this endpoint
      deflates with, 8 to 15. None is 12; but a client with None leaves the server its window, as many servers know no
      limit. A server always keeps to what it is asked for; it can limit those clients that offer it.
      8 is for the peer's direction only: zlib cannot deflate with it.
    - ``level``: of compression, None is the engine's default. ``mem_level``: 1 to 9, memory for speed and ratio.
    - ``threshold``: bytes below which a message is sent as it is, where ``send`` does not say otherwise. Below 128
      deflating takes longer than all the rest, and without context takeover saves next to nothing.
    - ``max_ratio``: how many times its compressed size a message may have once it is larger than 1 MiB; None is
      no limit. ``max_message_size`` limits the inflated message, whatever this is.
    - ``engine``: ``"zlib"``; ``"zlib-ng"`` or ``"isal"`` where that package is installed; or an object with
      zlib's ``compressobj`` and ``decompressobj``.

    Secrets and what an attacker may choose should not be compressed together: sizes tell (RFC 7692 8).

    Raises ``ValueError`` or ``TypeError``, and ``ImportError`` when the engine is not installed.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    level: int | None = None
    mem_level: int = 5
    threshold: int = 128
    max_ratio: int | None = 200
    engine: Any = field(default="zlib", hash=False)

    def __post_init__(self) -> None:
        _check_int("server_max_window_bits", self.server_max_window_bits, 8, _MAX_WINDOW_BITS)
        _check_int("client_max_window_bits", self.client_max_window_bits, 8, _MAX_WINDOW_BITS)
        _check_int("threshold", self.threshold, 0)
        _check_int("max_ratio", self.max_ratio, 1)
        if self.mem_level is None or self.threshold is None:
            raise TypeError("mem_level and threshold are numbers")
        # The level's range is the engine's: whatever is wrong is heard here, and not from a connection.
        engine = load_engine(self.engine)
        if not hasattr(engine, "compressobj") or not hasattr(engine, "decompressobj"):
            raise TypeError(
                f"engine is {self.engine!r}, not a name nor an object with compressobj and decompressobj"
            )
        try:
            _make_compressor(engine, self, DEFAULT_WINDOW_BITS)
        except (ValueError, _engine_error(engine)) as error:
            raise ValueError(
                f"{self.engine} refuses level {self.level} with mem_level {self.mem_level}: {error}"
            ) from None


Compression: TypeAlias = Deflate | Literal["deflate"] | None
"""What ``compression=`` takes: None is off, ``"deflate"`` is ``Deflate()``."""


def settings(compression: Compression) -> Deflate | None:
    """Return what ``compression=`` stands for; raise ``ValueError`` for what it cannot be."""
    if compression is None or isinstance(compression, Deflate):
        return compression
    if compression == "deflate":
        return _default()
    raise ValueError(f'compression is {compression!r}, not None, "deflate" or a Deflate')


def load_engine(engine: Any) -> Any:
    """Return the module of the engine with this name; anything else than a name as it is."""
    if not isinstance(engine, str):
        return engine
    if engine not in _ENGINES:
        raise ValueError(f"engine is {engine!r}, not one of {', '.join(_ENGINES)}")
    try:
        return importlib.import_module(_ENGINES[engine])
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"engine {engine!r} needs the package {engine}: pip install 'wsfast[{engine}]'"
        ) from missing


@lru_cache
def _default() -> Deflate:
    return Deflate()


def _check_int(name: str, value: int | None, low: int, high: int | None = None) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, not an int")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} is {value}, not {low} " + ("or more" if high is None else f"to {high}"))


def _engine_error(engine: Any) -> type[Exception]:
    error: type[Exception] = getattr(engine, "error", zlib.error)
    return error


def _make_compressor(engine: Any, config: Deflate, bits: int) -> Any:
    # Below zero: a raw stream, without zlib's header and checksum (RFC 1951).
    if config.level is None:
        return engine.compressobj(method=_Z_DEFLATED, wbits=-bits, memLevel=config.mem_level)
    return engine.compressobj(config.level, _Z_DEFLATED, -bits, config.mem_level)


# Negotiation (7.1)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both endpoints agreed on. Connections with the same agreement share one object."""

    config: Deflate
    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int
    client_max_window_bits: int
    response: str
    """The server's ``Sec-WebSocket-Extensions``, for ``accept``'s caller to send."""


_agreement = lru_cache(maxsize=256)(Agreement)


@dataclass(slots=True)
class _Parameters:
    """The parameters of an offer or of a response; None and False where they are missing."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    client_max_window_bits_offered: bool = False

    @classmethod
    def parse(cls, parameters: Sequence[tuple[str, str | None]], *, is_offer: bool) -> _Parameters:
        """Read parameters; raise ``ValueError`` for whatever 7.1 does not allow."""
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
                    # 7.1.2.2: an offer may have it without a value, to say that the client knows it.
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
    """Return the ``Sec-WebSocket-Extensions`` of a client's request (7.1)."""
    config = settings(compression)
    assert config is not None
    if config.client_max_window_bits == 8:
        raise ValueError("a client's client_max_window_bits is 9 to 15: zlib cannot deflate with 8")
    return _header(
        config.server_no_context_takeover,
        config.client_no_context_takeover,
        # 7.1.2.1: 15 is no limit, which some servers have no answer to.
        None if config.server_max_window_bits == _MAX_WINDOW_BITS else config.server_max_window_bits,
        # 7.1.2.2: without a value it invites the server to limit us.
        "" if config.client_max_window_bits is None else config.client_max_window_bits,
    )


def accept(values: Sequence[str], compression: Deflate | Literal["deflate"]) -> Agreement | None:
    """Answer a client's offers, the ``values`` of its ``Sec-WebSocket-Extensions`` headers, as a server (7.1).

    The first offer that is valid and that we can keep to is accepted: then ``response`` of what is returned
    has to be sent. None declines all: send no such header. Offers of other extensions are passed over.
    Raises ``InvalidHeaderFormat`` for what is no list of extensions (RFC 6455 9.1).
    """
    config = settings(compression)
    assert config is not None
    check_server(config)
    for name, parameters in parse_extensions(values):
        if name == EXTENSION:
            try:
                offered = _Parameters.parse(parameters, is_offer=True)
            except ValueError:
                continue  # 7.1: "A server MUST decline an extension negotiation offer" like this
            if offered.server_max_window_bits != 8:  # which zlib cannot keep to
                return _accept(offered, config)
    return None


def check_server(config: Deflate) -> None:
    """Raise ``ValueError`` for what a server cannot do."""
    if config.server_max_window_bits == 8:
        raise ValueError("a server's server_max_window_bits is 9 to 15: zlib cannot deflate with 8")


def _accept(offered: _Parameters, config: Deflate) -> Agreement:
    # 7.1.2.1: the same or a smaller value; without one in the offer the server may still tell its own.
    server_bits = min(
        config.server_max_window_bits or DEFAULT_WINDOW_BITS,
        offered.server_max_window_bits or _MAX_WINDOW_BITS,
    )
    tells_server_bits = offered.server_max_window_bits is not None or server_bits < _MAX_WINDOW_BITS
    client_bits = offered.client_max_window_bits or _MAX_WINDOW_BITS
    tells_client_bits = offered.client_max_window_bits is not None
    if offered.client_max_window_bits_offered:  # 7.1.2.2: else the response MUST NOT have it
        client_bits = min(client_bits, config.client_max_window_bits or DEFAULT_WINDOW_BITS)
        tells_client_bits = tells_client_bits or client_bits < _MAX_WINDOW_BITS
    # 7.1.1.1: what is asked for has to be granted; 7.1.1.2: a hint, which we hold the client to.
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

    None: the server declined. Raises ``NegotiationError`` for a response that does not fit, with which a client MUST
    fail the connection, and ``InvalidHeaderFormat``.
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
    # 7.1.1.1, 7.1.2.1: a server that accepts what is asked for says so.
    if config.server_no_context_takeover and not answered.server_no_context_takeover:
        raise ValueError("server_no_context_takeover is missing")
    limit = config.server_max_window_bits
    if limit is not None and limit < _MAX_WINDOW_BITS:
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
    elif client_bits == 8:
        raise ValueError("client_max_window_bits is 8, with which zlib cannot deflate")
    return _agreement(
        config,
        answered.server_no_context_takeover,
        answered.client_no_context_takeover or config.client_no_context_takeover,
        answered.server_max_window_bits or _MAX_WINDOW_BITS,
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
        self._error = _engine_error(self._engine)
        self._context: Any = None
        self._in_size = 0  # of the message in hand
        self._out_size = 0

    def inflate(self, data: bytes, fin: bool) -> Iterator[bytes]:
        """Inflate the next part of a message's payload, the last one with ``fin``; yield pieces of at most 6 KiB.

        What is not taken from the iterator is not inflated. Raises ``PeerFault`` for data that cannot be inflated,
        and for a message that grows beyond ``max_ratio``; no other call makes sense after it.
        """
        pos, size = 0, len(data)
        while True:
            part = data[pos : pos + _INPUT_SIZE]
            pos += _INPUT_SIZE
            self._in_size += len(part)
            ends = fin and pos >= size
            # 7.2.3.6 has an empty message as 00, but some send nothing at all, to which no tail belongs. Nor is
            # there one after a final block with nothing behind it.
            if ends and (part or (self._in_size and self._context is not None)):
                part += _TAIL
            rest: bytes | None = part or None
            while rest is not None:
                if self._context is None:
                    self._context = self._engine.decompressobj(-self._bits)
                context = self._context
                try:
                    piece = context.decompress(rest, _OUTPUT_SIZE)
                except self._error:
                    raise faults.PeerFault(faults.INFLATE_FAILED) from None
                if piece:
                    self._out_size += len(piece)
                    if self._out_size > RATIO_FREE_SIZE:
                        self._check_ratio()
                    yield piece
                if context.eof:
                    # 7.2.3.4: a block with BFINAL ends zlib's stream; what follows begins a new one.
                    rest, self._context = context.unused_data or None, None
                    if ends and rest == _TAIL:
                        rest = None
                elif context.unconsumed_tail or len(piece) == _OUTPUT_SIZE:
                    rest = context.unconsumed_tail  # where it is empty there may be more inside
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


class DeflatingEncoder:
    """Messages in, the bytes of one compressed frame out: a ``FrameEncoder`` that knows an agreement.

    ``message`` and ``fragment`` have one argument more: ``compress=True`` compresses the message, ``False`` sends it as
    it is, ``None`` compresses what has ``threshold`` bytes or more. All of what is wrong with a message is found
    before it is compressed, so that the context is as it was. What is returned has to be sent, in this order.
    """

    __slots__ = (
        "_agreement",
        "_bits",
        "_context",
        "_encoder",
        "_engine",
        "_message",
        "_resets",
        "_threshold",
        "_utf8_rest",
    )

    def __init__(self, encoder: FrameEncoder, agreement: Agreement) -> None:
        is_server = encoder.role.value == "server"
        self._encoder = encoder
        self._agreement = agreement
        self._bits = agreement.server_max_window_bits if is_server else agreement.client_max_window_bits
        self._resets = (
            agreement.server_no_context_takeover if is_server else agreement.client_no_context_takeover
        )
        self._threshold = agreement.config.threshold
        self._engine = load_engine(agreement.config.engine)
        self._context: Any = None
        self._message: Opcode | None = None  # the type of the compressed message of fragments that we are in
        self._utf8_rest = b""  # its unfinished character

    @property
    def role(self) -> Role:
        return self._encoder.role

    @property
    def in_message(self) -> bool:
        """True between ``fragment(..., fin=False)`` and ``fragment(..., fin=True)``."""
        return self._message is not None or self._encoder.in_message

    @property
    def shared_with(self) -> Agreement | None:
        """None, or with which agreement a server's connections have the same bytes for the same message.

        Without context takeover a message is compressed without regard to those before it.
        """
        return self._agreement if self._resets else None

    def message(self, data: str | Buffer, text: bool | None = None, compress: bool | None = None) -> bytes:
        """Encode a whole message as one frame (RFC 6455 5.6; RFC 7692 7.2.1)."""
        if self._message is not None:
            raise RuntimeError("message() before the fragmented message was finished")  # RFC 6455 5.4
        if compress is False:
            return self._encoder.message(data, text)
        payload = _to_bytes(data)
        if (compress is None and len(payload) < self._threshold) or self._encoder.in_message:
            return self._encoder.message(data, text)  # which refuses it inside a message
        opcode = _opcode_for(data, text)
        if opcode is _TEXT and not isinstance(data, str) and not utf8_valid(payload):
            raise ValueError("bytes sent as text are not valid UTF-8")  # RFC 6455 8.1
        # The peer's context does not miss what it would not keep.
        return self._compressed_frame(opcode, payload, True, True, compress is None and self._resets)

    def fragment(
        self, data: str | Buffer, fin: bool = False, text: bool | None = None, compress: bool | None = None
    ) -> bytes:
        """Encode the next fragment of a message (RFC 6455 5.4); the first decides whether it is compressed."""
        is_first = self._message is None
        if is_first and (self._encoder.in_message or compress is False):
            return self._encoder.fragment(data, fin, text)
        payload = _to_bytes(data)
        if is_first and compress is None and len(payload) < self._threshold:
            return self._encoder.fragment(data, fin, text)
        opcode = _opcode_for(data, text)
        if self._message is not None and opcode is not self._message:
            raise TypeError(f"{opcode.name} fragment in a {self._message.name} message")
        utf8_rest = b""
        if opcode is _TEXT and (self._utf8_rest or not isinstance(data, str)):
            unfinished = _unfinished_character(self._utf8_rest + payload)
            if unfinished is None or (fin and unfinished):
                raise ValueError("bytes sent as text are not valid UTF-8")  # RFC 6455 8.1
            utf8_rest = unfinished
        # 6.1: RSV1 stands on the first fragment only.
        frame = self._compressed_frame(opcode if is_first else Opcode.CONTINUATION, payload, fin, is_first)
        self._message = None if fin else opcode
        self._utf8_rest = utf8_rest
        return frame

    def _compressed_frame(
        self, opcode: Opcode, payload: bytes, fin: bool, rsv1: bool, unless_larger: bool = False
    ) -> bytes:
        try:
            shrunk = self._deflate(payload, fin)
            if unless_larger and len(shrunk) >= len(payload):
                return self._encoder.frame(opcode, payload)
            return self._encoder.frame(opcode, shrunk, fin, rsv1)
        except BaseException:
            # The peer will never see what the context has just learnt. A new one refers to nothing it does not know.
            self._context = None
            raise

    def _deflate(self, payload: bytes, fin: bool) -> bytes:
        if self._context is None:
            self._context = _make_compressor(self._engine, self._agreement.config, self._bits)
        context = self._context
        shrunk: bytes = context.compress(payload) + context.flush(_Z_SYNC_FLUSH)
        if not fin:
            return shrunk
        if self._resets:
            self._context = None
        # 7.2.3.6: of an empty message, or an empty last fragment, the first byte of an empty block is left.
        return shrunk[:-4]

    def ping(self, payload: Buffer = b"") -> bytes:
        return self._encoder.ping(payload)

    def pong(self, payload: Buffer = b"") -> bytes:
        return self._encoder.pong(payload)

    def close(self, code: int | None = None, reason: str = "") -> bytes:
        return self._encoder.close(code, reason)

    def frame(
        self,
        opcode: int,
        payload: Buffer = b"",
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> bytes:
        """Encode one frame as told, compressing nothing."""
        return self._encoder.frame(opcode, payload, fin, rsv1, rsv2, rsv3)


def _to_bytes(data: str | Buffer) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if type(data) is bytes:
        return data
    with memoryview(data) as view:
        if not view.c_contiguous:
            raise BufferError("buffer is not C-contiguous")
        return view.tobytes()


def _opcode_for(data: str | Buffer, text: bool | None) -> Opcode:
    return _TEXT if text or (text is None and isinstance(data, str)) else _BINARY


def _unfinished_character(data: bytes) -> bytes | None:
    """Return the unfinished character at the end of ``data`` (0 to 3 bytes), or None if it is not UTF-8."""
    validator = Utf8Validator()
    if not validator.feed(data):
        return None
    if validator.complete:
        return b""
    first = next(pos for pos in range(1, 4) if data[-pos] >= 0xC0)  # 11xxxxxx begins a character
    return data[-first:]
