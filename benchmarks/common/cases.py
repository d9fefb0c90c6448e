"""Texts, frames, and cases that run over either codec.

Two rules. A case checks its result before anybody times it. Frames are built and masked without the product's code,
from RFC 6455 5.2 and 5.3 alone.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from wsfast.events import Role

CODECS = ("native", "fallback")
KIB = 1024
KEY = bytes((0x37, 0xFA, 0x21, 0x3D))  # The masking key of the examples in RFC 6455 5.7.
TEXT, BINARY = 0x1, 0x2

# For pytest-benchmark, in seconds. With its default of 5 us a round, the clock's 50 ns would show in a single call.
TIMING = {"min_time": 0.000_2, "max_time": 0.2, "disable_gc": True}

TEXTS = {
    "ASCII": "The quick brown fox jumps over the lazy dog, and does it again. ",
    "French": "Déjà vu : où naît cette forêt, là-bas, près du château gothique ? ",
    "Cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "Korean": "안녕하세요, 웹소켓으로 이야기합니다. 오늘은 날씨가 참 좋네요. ",
    "emoji": "😀🚀🌍🎉🐍💡🔥🎶",
    "JSON+Korean": '{"id": 4711, "user": "김하늘", "text": "반갑습니다", "tags": ["a", "b"], "ok": true}, ',
}

Payload = str | bytes
Operation = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """An operation that both codecs have.

    ``prepare(codec)`` checks the result and returns the operation to time. One call of it handles ``n_messages`` of
    ``size`` bytes of payload each.
    """

    name: str
    n_messages: int
    size: int
    prepare: Callable[[ModuleType], Operation]


def load(name: str) -> ModuleType | None:
    """Import one of ``CODECS``; None if it was not built. If it exists but does not load, raise."""
    try:
        return importlib.import_module(f"wsfast.{name}")
    except ModuleNotFoundError as missing:
        if missing.name != f"wsfast.{name}":
            raise
        return None


def size_name(size: int) -> str:
    for unit, name in ((KIB * KIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def repeated(unit: str, size: int) -> str:
    """Text of exactly ``size`` bytes of UTF-8. Spaces fill the end if no whole character fits there."""
    data = unit.encode()
    text = (data * (size // len(data) + 1))[:size].decode(errors="ignore")
    return text + " " * (size - len(text.encode()))


def text_of(kind: str, size: int) -> str:
    return repeated(TEXTS[kind], size)


def binary_of(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def masked(data: bytes, key: bytes) -> bytes:
    """Octet i of the result is octet i of the data XOR octet i MOD 4 of the key (RFC 6455 5.3)."""
    result = bytearray(len(data))
    for i in range(4):
        result[i::4] = data[i::4].translate(bytes(octet ^ key[i] for octet in range(256)))
    return bytes(result)


def frame(payload: Payload, key: bytes | None = None) -> bytes:
    """One whole message as one frame, masked if there is a ``key`` (RFC 6455 5.2)."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = 0x80 | (TEXT if isinstance(payload, str) else BINARY)
    mask_bit = 0 if key is None else 0x80
    if len(data) < 126:
        head = bytes((first, mask_bit | len(data)))
    elif len(data) < 65536:
        head = bytes((first, mask_bit | 126)) + len(data).to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + len(data).to_bytes(8, "big")
    return head + data if key is None else head + key + masked(data, key)


def payload_of(kind: str, size: int) -> Payload:
    return binary_of(size) if kind == "binary" else text_of(kind, size)


def check(right: bool) -> None:
    """Raise if ``right`` is False. It is no assertion, because those can be switched off."""
    if not right:
        raise ValueError("the codec gave a wrong result; there is nothing to time")


# The cases: role x kind x size


def mask_case(size: int) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        data = binary_of(size)
        check(codec.apply_mask(data, KEY) == masked(data, KEY))
        return functools.partial(codec.apply_mask, data, KEY)

    return Case(f"apply_mask {size_name(size)}", 1, size, prepare)


def mask_inplace_case(size: int) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        buffer = bytearray(binary_of(size))
        check(codec.mask_inplace(buffer, KEY) == size % 4 and buffer == masked(binary_of(size), KEY))
        return functools.partial(codec.mask_inplace, buffer, KEY)

    return Case(f"mask_inplace {size_name(size)}", 1, size, prepare)


def utf8_case(kind: str, size: int) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        data = text_of(kind, size).encode()
        check(codec.utf8_valid(data) and not codec.utf8_valid(data[:-1] + b"\xff"))
        return functools.partial(codec.utf8_valid, data)

    return Case(f"utf8_valid {kind} {size_name(size)}", 1, size, prepare)


def utf8_pieces_case(kind: str, size: int, piece_size: int) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        data = text_of(kind, size).encode()
        pieces = [data[start : start + piece_size] for start in range(0, size, piece_size)]
        validator = codec.Utf8Validator()

        def validate() -> bool:
            validator.reset()
            return all(map(validator.feed, pieces)) and bool(validator.complete)

        check(validate())
        check(not validator.feed(b"\xff"))
        return validate

    return Case(f"Utf8Validator {kind} {size_name(size)} in {size_name(piece_size)}", 1, size, prepare)


def decode_case(kind: str, size: int, n_frames: int, role: Role = Role.SERVER) -> Case:
    """``n_frames`` in one chunk: masked for a server, unmasked for a client."""

    def prepare(codec: ModuleType) -> Operation:
        payload = payload_of(kind, size)
        chunk = frame(payload, KEY if role is Role.SERVER else None) * n_frames
        decoder = codec.MessageDecoder(role, max_message_size=None)
        messages = decoder.feed(chunk)
        check(messages == [payload] * n_frames and {type(message) for message in messages} == {type(payload)})
        return functools.partial(decoder.feed, chunk)

    frames = "1 frame a feed" if n_frames == 1 else f"{n_frames} frames a feed"
    side = "masked" if role is Role.SERVER else "unmasked"
    return Case(f"decode {side} {kind} {size_name(size)}, {frames}", n_frames, size, prepare)


def decode_pieces_case(kind: str, size: int, piece_size: int) -> Case:
    """One masked frame that comes in pieces."""

    def prepare(codec: ModuleType) -> Operation:
        payload = payload_of(kind, size)
        stream = frame(payload, KEY)
        pieces = [stream[start : start + piece_size] for start in range(0, len(stream), piece_size)]
        decoder = codec.MessageDecoder(Role.SERVER, max_message_size=None)

        def decode() -> list[object]:
            return [message for piece in pieces for message in decoder.feed(piece)]

        check(decode() == [payload])
        return decode

    return Case(f"decode masked {kind} {size_name(size)} in {size_name(piece_size)}", 1, size, prepare)


def encode_case(kind: str, size: int, role: Role) -> Case:
    """One message into one frame; a client masks it, each time with a new key."""

    def prepare(codec: ModuleType) -> Operation:
        payload = payload_of(kind, size)
        fixed = KEY if role is Role.CLIENT else None
        encoder = codec.FrameEncoder(role, random_bytes=lambda _: KEY)
        check(encoder.message(payload) == frame(payload, fixed))
        encoder = codec.FrameEncoder(role)
        check(len(encoder.message(payload)) == len(frame(payload, fixed)))
        return functools.partial(encoder.message, payload)

    return Case(f"encode {role.value} {kind} {size_name(size)}", 1, size, prepare)
