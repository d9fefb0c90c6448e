"""The tests' own tools work: a broken builder or splitter would hide broken codecs."""

from __future__ import annotations

import re
from pathlib import Path

from helpers import KEY, Wire, cut, frame, is_utf8, join, parse_frame, splits, utf8_error, xor
from quick import QUICK

from wsfast.events import Role


def test_builder_agrees_with_another_parser() -> None:
    """RFC 6455 5.2, as the websockets package reads it."""
    for size in (0, 1, 125, 126, 65535, 65536):
        payload = bytes(i % 251 for i in range(size))
        for key in (None, KEY):
            for fin in (True, False):
                sender = Role.CLIENT if key else Role.SERVER
                parsed = parse_frame(frame(2, payload, fin=fin, rsv=5, key=key), sender)
                assert bytes(parsed.data) == payload
                assert (parsed.fin, parsed.rsv1, parsed.rsv2, parsed.rsv3) == (fin, True, False, True)


def test_builder_breaks_rules_when_told() -> None:
    """RFC 6455 5.2: each field says what it was told to say."""
    assert frame(0xF, fin=False, rsv=7, length=5) == b"\x7f\x05"
    assert frame(2, length=5, length_bits=16) == b"\x82\x7e\x00\x05"
    assert frame(2, length=5, length_bits=64, key=KEY) == b"\x82\xff" + bytes(7) + b"\x05" + KEY
    assert frame(2, length=2**64 - 1) == b"\x82\x7f" + b"\xff" * 8


def test_xor_is_the_rfc_s_formula() -> None:
    """RFC 6455 5.3."""
    data = bytes(range(200))
    assert xor(data, KEY) == bytes(octet ^ KEY[i % 4] for i, octet in enumerate(data))


def test_splits_lose_nothing_and_cut_everywhere() -> None:
    """Each way to cut gives the same stream; a short one is cut at every place."""
    for stream in (b"", b"x", frame(1, "héllo", key=KEY), frame(2, bytes(300)), frame(2, bytes(70000))):
        ways = list(splits(stream))
        assert all(b"".join(chunks) == stream for chunks in ways)
        if 1 < len(stream) < 64:
            assert {len(chunks[0]) for chunks in ways} >= set(range(1, len(stream)))
    text = frame(1, "a" * 50 + "é" + "b" * 100, key=KEY)
    assert {1, 2, 3, 5, 7, 8, 8 + 51} <= set(text.marks)  # header, length, key, payload, character


def test_joined_frames_keep_their_marks() -> None:
    """Where a frame begins is a mark, and its own marks move with it."""
    assert join(b"abc", Wire(b"defg", [2]), b"h").marks == (3, 5, 7)
    assert cut(b"abcdef", [1, 3]) == [b"a", b"bc", b"def"]


def test_utf8_table_agrees_with_cpython() -> None:
    """Unicode table 3-7 against the strict decoder, for all sequences of two bytes."""
    for first in range(256):
        for second in range(256):
            data = bytes((first, second))
            if is_utf8(data):
                assert utf8_error(data) is None
            # A valid prefix is one that some continuation makes valid.
            tails = (b"", b"\x80", b"\x80\x80", b"\xa0\x80", b"\x80\x80\x80", b"\x90\x80\x80")
            mendable = any(is_utf8(data + tail) for tail in tails)
            assert (utf8_error(data) is None) is mendable


def test_quick_tests_exist() -> None:
    """A test that was renamed would be left out without a word."""
    for module, names in QUICK.items():
        text = Path(__file__).with_name(f"{module}.py").read_text("utf-8")
        found = set(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))
        assert found >= set(names), module
        assert found
