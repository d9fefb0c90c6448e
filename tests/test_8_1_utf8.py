"""RFC 6455 8.1 and RFC 3629: text is UTF-8, strictly, and a fault is found when its byte arrives.

There are two judges: Unicode's table 3-7, written down in ``helpers``, and CPython's strict decoder.
"""

from __future__ import annotations

import itertools
import random
from types import ModuleType
from typing import Any

import pytest
from helpers import (
    CONTINUATION,
    PING,
    TEXT,
    Peer,
    assert_decodes,
    assert_fails,
    cut,
    failure_position,
    is_utf8,
    join,
    splits,
    utf8_error,
)

from wsfast.events import Failure, Ping, Role

NOT_UTF8 = Failure(1007, "text message is not valid UTF-8", "8.1")

# Each first and last byte of a range in table 3-7, and its neighbours outside.
BOUNDARY = bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 f7 f8 fe ff")

VALID = [
    "cebae1bdb9cf83cebcceb5",  # Autobahn 6.2.2: κόσμε
    "c280 dfbf",  # Autobahn 6.5-6.7: the first and last sequences of each length
    "e0a080 efbfbf",
    "f0908080 f48fbfbf",
    "ed9fbf ee8080",  # Autobahn 6.22: around the surrogates
    "efbfbd efbfbe efbfbf",  # replacement character, non-characters
    "f09fbfbe f09fbfbf f3bfbfbf",
    "efbbbf",
    "00 7f",
]
INVALID = [
    "cebae1bdb9cf83cebcceb5eda080656469746564",  # Autobahn 6.3.1
    "80",  # Autobahn 6.8-6.9: continuation bytes alone
    "bf",
    "80bf80bf80bf",
    "c0af",  # Autobahn 6.15-6.17: overlong forms
    "c1bf",
    "e080af",
    "e09fbf",
    "f08080af",
    "f08fbfbf",
    "c080",
    "eda080",  # Autobahn 6.18-6.21: surrogates, alone and in pairs
    "edadbf",
    "edb080",
    "edbfbf",
    "eda080edb080",
    "edafbfedbfbf",
    "f4908080",  # above U+10FFFF
    "f5808080",
    "f7bfbfbf",
    "f888808080",  # five and six bytes
    "fc8480808080",
    "fe",
    "ff",
    "fefeffff",
    "c320",  # cut short by something else
    "e18061",
    "e1c280",
    "f09f98e4bda0",
    "c3c3a9",
]
UNFINISHED = ["c3", "e0a0", "e2", "e282", "ed9f", "f0", "f090", "f09f98", "f4", "f48f", "f48fbf", "61e282"]

# Around the words that vector code works in.
PLACES = (*range(20), 23, 24, 30, 31, 32, 33, 47, 48, 61, 62, 63, 64, 65, 66, 95, 127, 128, 129)


@pytest.mark.parametrize("data", [*map(bytes.fromhex, VALID)], ids=VALID)
def test_well_formed_text_is_delivered(codec: ModuleType, peer: Peer, data: bytes) -> None:
    """RFC 6455 8.1, Unicode table 3-7. Autobahn 6.2, 6.5-6.7, 6.22, 6.23."""
    assert is_utf8(data)
    assert_decodes(codec, peer, peer.frame(TEXT, data), [data.decode()])


@pytest.mark.parametrize("data", [*map(bytes.fromhex, INVALID)], ids=INVALID)
def test_ill_formed_text_fails_1007(codec: ModuleType, peer: Peer, data: bytes) -> None:
    """RFC 6455 8.1: at the start of a text, at its end and in its middle. Autobahn 6.3, 6.8-6.21."""
    assert not is_utf8(data)
    for payload in (data, b"text" + data, data + b"text", "한".encode() + data + "😀".encode()):
        assert_fails(codec, peer, peer.frame(TEXT, payload), NOT_UTF8, frame_level=False)


@pytest.mark.parametrize("data", [*map(bytes.fromhex, UNFINISHED)], ids=UNFINISHED)
def test_text_that_ends_inside_a_character_fails_1007(codec: ModuleType, peer: Peer, data: bytes) -> None:
    """RFC 6455 8.1: what could go on must go on before the message ends. Autobahn 6.10-6.14."""
    assert utf8_error(data) is None
    assert_fails(codec, peer, peer.frame(TEXT, data), NOT_UTF8, frame_level=False)
    for last in (b"", b"a"):
        stream = join(peer.frame(TEXT, data, fin=False), peer.frame(CONTINUATION, last))
        assert_fails(codec, peer, stream, NOT_UTF8, frame_level=False)


def test_unfinished_character_does_not_reach_into_the_next_message(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1: each message is whole by itself."""
    euro = "€".encode()
    stream = join(peer.frame(TEXT, euro[:2]), peer.frame(TEXT, euro[2:]))
    assert_decodes(codec, peer, stream, [], NOT_UTF8)


def test_every_short_sequence_as_cpython_has_it(codec: ModuleType) -> None:
    """RFC 3629: all strings of 1 to 3 bytes over the boundary bytes, one-shot and as a message."""
    for size in (1, 2, 3):
        for octets in itertools.product(BOUNDARY, repeat=size):
            data = bytes(octets)
            valid = is_utf8(data)
            if codec.utf8_valid(data) is not valid:
                pytest.fail(f"utf8_valid({data!r}) is not {valid}")
            decoder = codec.MessageDecoder(Role.CLIENT)
            events = decoder.feed(bytes((0x81, size)) + data)
            if events != ([data.decode()] if valid else []) or (decoder.failure is None) is not valid:
                pytest.fail(f"{data!r}: {events!r}, {decoder.failure}")


def test_every_sequence_of_four_bytes_as_cpython_has_it(codec: ModuleType) -> None:
    """RFC 3629: the rows F0 to F4 of table 3-7, with their neighbours."""
    for octets in itertools.product(
        b"\xef\xf0\xf1\xf3\xf4\xf5", BOUNDARY, BOUNDARY, b"\x41\x7f\x80\xbf\xc0\xf0"
    ):
        data = bytes(octets)
        if codec.utf8_valid(data) is not is_utf8(data):
            pytest.fail(f"utf8_valid({data!r}) is not {is_utf8(data)}")


def test_every_code_point_is_valid_unless_it_is_a_surrogate(codec: ModuleType) -> None:
    """RFC 3629 3: U+0000 to U+10FFFF without U+D800 to U+DFFF."""
    for start in range(0, 0x110000, 0x800):
        text = "".join(map(chr, range(start, start + 0x800)))
        data = text.encode("utf-8", "surrogatepass")
        assert codec.utf8_valid(data) is (start != 0xD800), hex(start)
    for surrogate in range(0xD800, 0xE000):
        assert codec.utf8_valid(chr(surrogate).encode("utf-8", "surrogatepass")) is False


@pytest.mark.parametrize("fill", ["a", "é", "한", "😀"])
def test_every_invalid_byte_is_found_at_every_place(codec: ModuleType, fill: str) -> None:
    """RFC 6455 8.1: in any lane of a vector, over any text around it."""
    text = (fill * 150).encode()
    for place in PLACES:
        for octet in b"\x80\xbf\xc0\xc1\xc3\xe2\xed\xf0\xf5\xff":
            data = text[:place] + bytes([octet]) + text[place:130]
            if codec.utf8_valid(data) is not is_utf8(data):
                pytest.fail(f"0x{octet:02x} at {place}")
    for place in range(40):
        data = text[: place // len(fill.encode()) * len(fill.encode())]
        for octet in range(0x80, 0x100):
            assert codec.utf8_valid(data + bytes([octet])) is False
            assert codec.utf8_valid(data + bytes([octet]) + b"plain ASCII behind it, 32 bytes.") is False


def test_ill_formed_sequences_are_found_at_every_place(codec: ModuleType) -> None:
    """RFC 6455 8.1: overlong forms and surrogates across the border of two words, short and long text."""
    for bad in map(bytes.fromhex, INVALID + UNFINISHED):
        for place in PLACES:
            for tail in (0, 1, 2, 3, 16, 65):
                data = b"a" * place + bad + b"b" * tail
                if codec.utf8_valid(data):
                    pytest.fail(f"{bad!r} at {place} with {tail} bytes behind it")


def test_random_bytes_as_cpython_has_them(codec: ModuleType) -> None:
    """RFC 3629: valid text with a few bytes changed, cut or swapped; the seed is in the message."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    for _ in range(4000):
        text = "".join(
            rng.choice("aAé߿ࠀ한\uffff😀\U0010ffff") * rng.randrange(1, 9) for _ in range(rng.randrange(8))
        )
        data = bytearray(text.encode())
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            if data:
                data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), rng.choice(BOUNDARY)))
        data = data[: rng.choice((len(data), rng.randrange(len(data) + 1)))]
        valid = is_utf8(data)
        assert codec.utf8_valid(data) is valid, f"seed {seed}: {bytes(data)!r}"
        places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(4)))
        validator = codec.Utf8Validator()
        going = [validator.feed(piece) for piece in cut(data, places)]
        assert validator.complete is valid, f"seed {seed}: {bytes(data)!r} cut at {places}"
        assert going[-1] is (utf8_error(data) is None), f"seed {seed}: {bytes(data)!r} cut at {places}"


def first_failure(decoder: Any, pieces: list[bytes]) -> int | None:
    """Return the number of the piece that failed, None if none did."""
    for number, piece in enumerate(pieces):
        decoder.feed(piece)
        if decoder.failure is not None:
            return number
    return None


@pytest.mark.parametrize("data", [*map(bytes.fromhex, INVALID)], ids=INVALID)
def test_invalid_byte_fails_when_it_arrives(codec: ModuleType, peer: Peer, data: bytes) -> None:
    """RFC 6455 8.1: in the middle of a frame, with all the rest of it still to come."""
    for start in (b"", b"a", b"a" * 70, "한".encode(), "😀".encode() * 20):
        payload = start + data
        position = utf8_error(payload)
        assert position is not None
        header = peer.header_size(len(payload) + 200)
        stream = peer.frame(TEXT, payload + b"." * 200)
        assert failure_position(codec.MessageDecoder(peer.role), stream) == header + position + 1
        # The same with the good part in one chunk, and with all up to the bad byte in one chunk.
        for pieces in (
            cut(stream, [header + position, header + position + 1]),
            cut(stream, [header, header + position, header + position + 1]),
        ):
            decoder = codec.MessageDecoder(peer.role)
            assert first_failure(decoder, pieces) == len(pieces) - 2
            assert decoder.failure == NOT_UTF8
        decoder = codec.MessageDecoder(peer.role)
        assert first_failure(decoder, [stream[: header + position + 1]]) == 0


@pytest.mark.parametrize("data", [*map(bytes.fromhex, INVALID)], ids=INVALID)
def test_invalid_byte_fails_inside_a_fragmented_message(codec: ModuleType, peer: Peer, data: bytes) -> None:
    """RFC 6455 8.1: over fragments of one byte, a Ping between each two."""
    position = utf8_error(data)
    assert position is not None
    frames = [
        peer.frame(TEXT if i == 0 else CONTINUATION, bytes([octet]), fin=False)
        for i, octet in enumerate(data)
    ]
    decoder = codec.MessageDecoder(peer.role)
    assert first_failure(decoder, frames) == position
    assert decoder.failure == NOT_UTF8
    with_pings = join(*(part for one in frames for part in (one, peer.frame(PING))))
    assert_decodes(codec, peer, with_pings, [Ping()] * position, NOT_UTF8)


KOSME = "κόσμε".encode()


@pytest.mark.parametrize(
    ("parts", "failing"),
    [
        pytest.param([KOSME, b"\xf4\x90\x80\x80", b"edited"], 1, id="6.4.1"),
        pytest.param([KOSME + b"\xf4", b"\x90", b"\x80\x80", b"edited"], 1, id="6.4.2"),
    ],
)
def test_fail_fast_across_fragments(codec: ModuleType, peer: Peer, parts: list[bytes], failing: int) -> None:
    """RFC 6455 8.1. Autobahn 6.4.1 and 6.4.2: the fragment with the bad byte, not the end of the message."""
    frames = [
        peer.frame(TEXT if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1)
        for i, part in enumerate(parts)
    ]
    decoder = codec.MessageDecoder(peer.role)
    assert first_failure(decoder, frames) == failing
    assert_decodes(codec, peer, join(*frames), [], NOT_UTF8)
    assert_decodes(codec, peer, join(*frames[: failing + 1]), [], NOT_UTF8)
    assert_decodes(codec, peer, join(*frames[:failing]), [])


@pytest.mark.parametrize(
    ("parts", "failing"),
    [
        pytest.param([KOSME, b"\xf4\x90\x80\x80", b"edited"], 1, id="6.4.3"),
        pytest.param([KOSME + b"\xf4", b"\x90", b"edited"], 1, id="6.4.4"),
    ],
)
def test_fail_fast_inside_a_frame(codec: ModuleType, peer: Peer, parts: list[bytes], failing: int) -> None:
    """RFC 6455 8.1. Autobahn 6.4.3 and 6.4.4: one frame in chops, failed before the last of them."""
    payload = b"".join(parts)
    header = peer.header_size(len(payload))
    places = itertools.accumulate((len(part) for part in parts[:-1]), initial=header)
    header_and_parts = cut(peer.frame(TEXT, payload), places)
    decoder = codec.MessageDecoder(peer.role)
    assert first_failure(decoder, header_and_parts) == 1 + failing
    assert decoder.failure == NOT_UTF8


def test_text_is_checked_over_every_cut_of_a_long_text(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1: widths in turn, cut at every place, none of them in error."""
    text = "aé한😀" * 12 + "z" * 40 + "😀한éa" * 3
    stream = peer.frame(TEXT, text)
    for place in range(1, len(stream)):
        decoder = codec.MessageDecoder(peer.role)
        first, second = cut(stream, [place])
        assert decoder.feed(first) + decoder.feed(second) == [text]


def test_only_text_is_checked(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1 and 5.6: a binary message after a text, or a Ping, may be any bytes."""
    bad = b"\xff\x80\xc3"
    stream = join(
        peer.frame(TEXT, "é"),
        peer.frame(2, bad),
        peer.frame(PING, bad),
        peer.frame(2, bad, fin=False),
        peer.frame(CONTINUATION, bad),
        peer.frame(TEXT, "ok"),
    )
    assert_decodes(codec, peer, stream, ["é", bad, Ping(bad), bad + bad, "ok"])


def test_validator_over_every_cut(codec: ModuleType) -> None:
    """RFC 6455 8.1: True while a valid end is possible, False from the first byte that rules it out."""
    for data in map(bytes.fromhex, VALID + INVALID + UNFINISHED):
        error = utf8_error(data)
        for chunks in splits(data):
            validator = codec.Utf8Validator()
            n_fed = 0
            for chunk in chunks:
                n_fed += len(chunk)
                expected = error is None or n_fed <= error
                assert validator.feed(chunk) is expected, (data, chunks)
                assert validator.complete is is_utf8(data[:n_fed]), (data, chunks)


def test_validator_stays_false_until_it_is_reset(codec: ModuleType) -> None:
    """RFC 6455 8.1: nothing that follows mends an invalid byte."""
    validator = codec.Utf8Validator()
    assert validator.complete is True
    assert validator.feed(b"a\xff") is False
    for data in (b"", b"a", "é".encode()):
        assert validator.feed(data) is False
        assert validator.complete is False
    validator.reset()
    assert validator.complete is True
    assert validator.feed("é".encode()[:1]) is True
    assert validator.complete is False
    validator.reset()
    assert validator.feed("é".encode()[1:]) is False
    validator.reset()
    assert validator.feed("é".encode()) is True
    assert validator.complete is True


def test_validators_do_not_share_their_state(codec: ModuleType) -> None:
    """RFC 6455 8.1: one validator, one text."""
    one, two = codec.Utf8Validator(), codec.Utf8Validator()
    assert one.feed(b"\xe2\x82") is True
    assert two.feed(b"\xac") is False
    assert one.feed(b"\xac") is True
    assert one.complete is True
    assert two.complete is False


def test_one_shot_answer_is_a_bool(codec: ModuleType) -> None:
    """RFC 3629: no bytes are valid text; an unfinished character is none."""
    assert codec.utf8_valid(b"") is True
    assert codec.utf8_valid(b"plain") is True
    assert codec.utf8_valid("한국어".encode()) is True
    assert codec.utf8_valid("한국어".encode()[:-1]) is False
