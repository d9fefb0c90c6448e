"""Check the wsfast that is installed: ``python smoke.py native`` (or ``fallback``). Needs nothing but wsfast.

Run over every wheel, also where a CPU is emulated, so it is quick. What it knows is in RFC 6455 5.7; beyond
that the two codecs judge each other.
"""

from __future__ import annotations

import random
import sys
import sysconfig

from wsfast import codec, fallback
from wsfast.events import Close, Ping, Role

HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
KEY = bytes.fromhex("37fa213d")
TEXTS = ["", "Hello", "하나 둘 셋 " * 30, "\N{PILE OF POO}" * 500, "x" * 70_000]


def stream_of(encoder: fallback.FrameEncoder) -> bytes:
    """Frames of all kinds and sizes (RFC 6455 5.2), at the end one that no role accepts (5.5)."""
    parts = [encoder.message(text) for text in TEXTS]
    parts += [encoder.message(text.encode()) for text in TEXTS]
    parts += [encoder.fragment("half "), encoder.ping(b"now?"), encoder.fragment("and half", fin=True)]
    return b"".join(parts) + b"\x09\x80"


def decode(module: object, role: Role, stream: bytes, size: int) -> tuple[object, object]:
    decoder = module.MessageDecoder(role)  # type: ignore[attr-defined]
    events = [
        event for pos in range(0, len(stream), size) for event in decoder.feed(stream[pos : pos + size])
    ]
    return events, decoder.failure


def main(expected: str) -> None:
    assert expected == codec.IMPLEMENTATION, f"the codec is {codec.IMPLEMENTATION}, not {expected}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled(), "importing wsfast turned the GIL on"

    server, client = codec.MessageDecoder(Role.SERVER), codec.MessageDecoder(Role.CLIENT)
    assert server.feed(HELLO) == ["Hello"]
    assert client.feed(b"\x81\x05Hello\x89\x05Hello\x88\x02\x03\xe8") == [
        "Hello",
        Ping(b"Hello"),
        Close(1000),
    ]
    assert codec.FrameEncoder(Role.CLIENT, random_bytes=lambda size: KEY[:size]).message("Hello") == HELLO
    assert codec.FrameEncoder(Role.SERVER).message("Hello") == HELLO[:1] + b"\x05Hello"

    data = random.Random(6455).randbytes(300)
    for size in range(260):
        assert codec.apply_mask(data[:size], KEY) == fallback.apply_mask(data[:size], KEY)
        for phase in range(4):
            ours, theirs = bytearray(data[:size]), bytearray(data[:size])
            assert codec.mask_inplace(ours, KEY, phase) == fallback.mask_inplace(theirs, KEY, phase)
            assert ours == theirs
    for text in TEXTS[:4]:
        whole = text.encode()
        for end in range(min(len(whole), 70) + 1):
            assert codec.utf8_valid(whole[:end]) == fallback.utf8_valid(whole[:end])

    for role, peer in ((Role.SERVER, Role.CLIENT), (Role.CLIENT, Role.SERVER)):
        stream = stream_of(fallback.FrameEncoder(peer, random_bytes=lambda size: KEY[:size]))
        assert stream_of(codec.FrameEncoder(peer, random_bytes=lambda size: KEY[:size])) == stream
        events, failure = decode(fallback, role, stream, len(stream))
        assert [event for event in events if isinstance(event, str)] == [*TEXTS, "half and half"]
        assert failure is not None
        for size in (len(stream), 4096, 7, 1):
            assert decode(codec, role, stream, size) == (events, failure)

    print(f"wsfast: {codec.IMPLEMENTATION} ({codec.KERNEL}) works on Python {sys.version.split()[0]}")


main(sys.argv[1])
