"""wsfast.wsaccel beside wsaccel itself: every buffer type, every split point, every byte after every other."""

from __future__ import annotations

import array
import ctypes
import mmap
import random
import sys

import pytest
import wsaccel.utf8validator
import wsaccel.xormask

import wsfast.wsaccel.utf8validator
import wsfast.wsaccel.xormask

KEY = b"\x01\x82\xff\x04"

# 1 to 4 bytes a character, the edges of each range of table 3-7, and what lies just outside of them.
TEXTS = {
    "empty": b"",
    "ascii": b"plain text of one byte each",
    "every length": "aé한😀z".encode(),
    "edges": "\x00\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode(),
    "only 4 bytes": "😀😀😀".encode(),
    "cut after 1 of 2": b"ab\xc3",
    "cut after 2 of 3": b"ab\xed\x95",
    "cut after 3 of 4": b"ab\xf0\x9f\x98",
    "overlong 2": b"ab\xc0\x80cd",
    "overlong 3": b"ab\xe0\x9f\xbfcd",
    "overlong 4": b"ab\xf0\x8f\xbf\xbfcd",
    "surrogate": b"ab\xed\xa0\x80cd",
    "surrogate cut": b"ab\xed\xa0",
    "above 10FFFF": b"ab\xf4\x90\x80\x80cd",
    "byte that never stands": b"ab\xf5cd",
    "FF": b"\xff",
    "continuation first": b"\x80abcd",
    "continuation too many": "é".encode() + b"\x80\x80\x80\x80\x80",
    "4 continuations too many": "한".encode() + b"\x80" * 4,
    "missing continuation": b"ab\xe2\x82cd",
    "missing at the end": b"ab\xe2\x28",
    "long, bad at the start": b"\xff" + b"x" * 300,
    "long, bad in the middle": b"x" * 150 + b"\xe2\x28" + b"x" * 150,
    "long, bad before the end": "한".encode() * 100 + b"\xa0x",
}


def buffers() -> dict[str, object]:
    """Everything that could be given as a buffer of 4 bytes, and much that could not."""
    memory = mmap.mmap(-1, 4)
    memory[:] = KEY
    words = array.array("I", [0x01020304])
    return {
        "bytes": KEY,
        "bytes subclass": type("Bytes", (bytes,), {})(KEY),
        "bytearray": bytearray(KEY),
        "memoryview": memoryview(KEY),
        "memoryview of bytearray": memoryview(bytearray(KEY)),
        "memoryview of c": memoryview(KEY).cast("c"),
        "memoryview of ?": memoryview(KEY).cast("?"),
        "memoryview of b": memoryview(KEY).cast("b"),
        "memoryview of I": memoryview(words),
        "memoryview, 2 dimensions": memoryview(KEY).cast("B", (2, 2)),
        "memoryview, every second": memoryview(b"a\x00b\x00c\x00d\x00")[::2],
        "memoryview, backwards": memoryview(KEY)[::-1],
        "array B": array.array("B", KEY),
        "array b": array.array("b", [1, 2, 3, 4]),
        "array H": array.array("H", [1, 2]),
        "array I": words,
        "ctypes ubyte": (ctypes.c_ubyte * 4)(*KEY),
        "ctypes char": (ctypes.c_char * 4)(*KEY),
        "mmap": memory,
        "empty": b"",
        "empty array": array.array("B"),
        "3 bytes": b"abc",
        "5 bytes": b"abcde",
        "str": "abcd",
        "int": 4,
        "float": 4.0,
        "list": [1, 2, 3, 4],
        "tuple": (1, 2, 3, 4),
        "object": object(),
    }


def outcome(function, *arguments):
    """What a call returns, or the class of what it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("name", buffers())
def test_each_buffer_type_does_what_it_does_with_wsaccel(name):
    data = buffers()[name]
    assert outcome(lambda: wsfast.wsaccel.xormask.XorMaskerSimple(data).process(b"12345")) == outcome(
        lambda: wsaccel.xormask.XorMaskerSimple(data).process(b"12345")
    )
    assert outcome(wsfast.wsaccel.xormask.XorMaskerSimple(KEY).process, data) == outcome(
        wsaccel.xormask.XorMaskerSimple(KEY).process, data
    )
    assert outcome(wsfast.wsaccel.utf8validator.Utf8Validator().validate, data) == outcome(
        wsaccel.utf8validator.Utf8Validator().validate, data
    )


@pytest.mark.parametrize("key", [None, b"", b"abc", b"abcde", 1, "abcd"])
def test_wrong_key_is_refused_as_by_wsaccel(key):
    for name in ("XorMaskerSimple", "createXorMasker"):
        ours, theirs = getattr(wsfast.wsaccel.xormask, name), getattr(wsaccel.xormask, name)
        with pytest.raises((ValueError, TypeError)) as expected:
            theirs(key)
        with pytest.raises(expected.type) as raised:
            ours(key)
        assert str(raised.value) == str(expected.value)


def test_nothing_is_masked_to_nothing():
    assert wsfast.wsaccel.xormask.XorMaskerSimple(KEY).process(None) == b""
    assert wsaccel.xormask.XorMaskerSimple(KEY).process(None) == b""


def test_arguments_have_wsaccels_names():
    for xormask, utf8validator in (
        (wsaccel.xormask, wsaccel.utf8validator),
        (wsfast.wsaccel.xormask, wsfast.wsaccel.utf8validator),
    ):
        assert xormask.XorMaskerSimple(mask=KEY).process(data=KEY) == bytes(4)
        assert xormask.createXorMasker(mask=KEY, len=4).process(data=KEY) == bytes(4)
        assert xormask.XorMaskerNull(mask=KEY).process(data=KEY) is KEY
        assert utf8validator.Utf8Validator().validate(buf=b"a") == (True, True, 1, 1)
        assert utf8validator.Utf8Validator().decode(b=1) == 0
        for call in (
            xormask.XorMaskerSimple,
            xormask.XorMaskerSimple(KEY).process,
            lambda module=utf8validator: module.Utf8Validator(1),
            utf8validator.Utf8Validator().validate,
            utf8validator.Utf8Validator().decode,
        ):
            with pytest.raises(TypeError):
                call()


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda piece: array.array("B", piece)])
def test_masker_continues_at_every_split_point(kind):
    data = bytes(range(256))
    for first in range(14):
        for second in range(first, 29):
            ours, theirs = (
                module.createXorMasker(KEY, 256) for module in (wsfast.wsaccel.xormask, wsaccel.xormask)
            )
            for piece in (data[:first], data[first:second], data[second:]):
                masked = ours.process(kind(piece))
                assert type(masked) is bytes
                assert masked == theirs.process(kind(piece))
                assert ours.pointer() == theirs.pointer()
            assert ours.reset() is None
            assert ours.pointer() == 0
            theirs.reset()
            assert ours.process(data) == theirs.process(data)


def test_null_masker_returns_the_object_and_counts():
    for module in (wsaccel.xormask, wsfast.wsaccel.xormask):
        masker = module.XorMaskerNull()
        for data in (b"abc", bytearray(b"de"), "text", [1, 2]):
            assert masker.process(data) is data
        assert masker.pointer() == 11
        masker.reset()
        assert masker.pointer() == 0
        with pytest.raises(TypeError):
            masker.process(5)
        assert module.XorMaskerNull(KEY).pointer() == module.XorMaskerNull(mask=None).pointer() == 0


def validate_both(pieces):
    ours, theirs = wsfast.wsaccel.utf8validator.Utf8Validator(), wsaccel.utf8validator.Utf8Validator()
    for piece in pieces:
        assert ours.validate(piece) == theirs.validate(piece), pieces
        assert (ours.i, ours.state, ours.codepoint) == (theirs.i, theirs.state, theirs.codepoint), pieces
    ours.reset()
    assert (ours.i, ours.state, ours.codepoint) == (0, ours.UTF8_ACCEPT, 0)


@pytest.mark.parametrize("name", TEXTS)
def test_validator_says_the_same_at_every_split_point(name):
    """RFC 6455 8.1."""
    data = TEXTS[name]
    for first in range(len(data) + 1):
        validate_both([data[:first], data[first:], b"", b"more"])
        validate_both([data[:first], b"", bytearray(data[first:])])
        if len(data) < 30:
            for second in range(first, len(data) + 1):
                validate_both([data[:first], data[first:second], data[second:]])
    validate_both([data[pos : pos + 1] for pos in range(len(data))])


def test_validator_says_the_same_of_random_pieces():
    """RFC 6455 8.1: characters, sometimes with a byte changed, cut anywhere."""
    for seed in range(600):
        chance = random.Random(seed)
        text = "".join(chance.choice("aé한😀\u07ff\ud7ff\U0010ffff") for _ in range(chance.randrange(60)))
        data = bytearray(text.encode())
        for _ in range(chance.choice((0, 0, 1, 2))):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))
        validate_both([bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])


def test_every_sequence_of_bytes_has_wsaccels_states():
    """Every byte in every state, by decode() and by validate(): states, code points, indexes."""
    prefixes = [
        b"",
        b"\xc2",
        b"\xe1",
        b"\xe1\x80",
        b"\xe0",
        b"\xed",
        b"\xf0",
        b"\xf1",
        b"\xf1\x80",
        b"\xf4",
        b"\xff",
    ]
    for prefix in prefixes:
        for byte in range(256):
            sequence = prefix + bytes([byte])
            validate_both([sequence, b"\x80"])
            ours, theirs = wsfast.wsaccel.utf8validator.Utf8Validator(), wsaccel.utf8validator.Utf8Validator()
            for value in sequence:
                assert ours.decode(value) == theirs.decode(value)
                assert (ours.i, ours.state) == (theirs.i, theirs.state)
                # After a byte that is rejected, wsaccel's code point is of no meaning.
                if ours.state != ours.UTF8_REJECT:
                    assert ours.codepoint == theirs.codepoint
            # The two ways to give bytes can be mixed.
            assert ours.validate(b"\x80\x80") == theirs.validate(b"\x80\x80")


def test_every_character_is_decoded():
    validator = wsfast.wsaccel.utf8validator.Utf8Validator()
    for point in (*range(0x80), *range(0x80, 0x1100), *range(0xD700, 0xD800), *range(0xE000, 0x11_0000, 977)):
        *others, last = chr(point).encode()
        for byte in others:
            assert validator.decode(byte) not in (validator.UTF8_ACCEPT, validator.UTF8_REJECT)
        assert validator.decode(last) == validator.UTF8_ACCEPT
        assert validator.codepoint == point


def test_wrong_bytes_are_refused_by_decode():
    validator = wsfast.wsaccel.utf8validator.Utf8Validator()
    for wrong in ("a", b"a", None, 1.0):
        with pytest.raises(TypeError):
            validator.decode(wrong)
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match=str(wrong)):
            validator.decode(wrong)
    validator.decode(0xE1)
    assert validator.validate(b"\x80\x80") == (True, True, 2, 2)


def test_state_can_be_set():
    for module in (wsaccel.utf8validator, wsfast.wsaccel.utf8validator):
        validator = module.Utf8Validator()
        validator.state = 3
        validator.i = 10
        assert validator.validate(b"\x82\xac") == (True, True, 2, 12)
        validator.state = validator.UTF8_REJECT
        assert validator.validate(b"abc") == (False, False, 0, 12)
        assert validator.validate(b"") == (True, False, 0, 12)
    for state in (-1, 9):
        validator.state = state
        with pytest.raises(ValueError, match=f"state is {state}"):
            validator.validate(b"a")


def test_names_are_wsaccels():
    for ours, theirs in (
        (wsfast.wsaccel.xormask, wsaccel.xormask),
        (wsfast.wsaccel.utf8validator, wsaccel.utf8validator),
    ):
        public = {name for name in dir(theirs) if not name.startswith("_")}
        assert public <= set(dir(ours))
        for cls in (getattr(theirs, name) for name in public if name != "createXorMasker"):
            members = {member for member in dir(cls) if not member.startswith("_")}
            assert members <= set(dir(getattr(ours, cls.__name__)))
    assert wsfast.wsaccel.utf8validator.Utf8Validator.UTF8_ACCEPT == 0
    assert wsfast.wsaccel.utf8validator.Utf8Validator.UTF8_REJECT == 1
    assert "wsaccel" in sys.modules
