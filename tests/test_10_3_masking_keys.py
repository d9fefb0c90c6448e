"""RFC 6455 10.3 and 5.3: masking keys cannot be predicted, and each frame has a new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from helpers import BINARY, run_python

from wsfast.events import Role


def test_each_frame_has_a_new_key(codec: ModuleType) -> None:
    """RFC 6455 5.3: "the masking key needs to be unpredictable"; of 2000 keys hardly two are the same."""
    encoder = codec.FrameEncoder(Role.CLIENT)
    keys = [encoder.message(b"")[2:6] for _ in range(2000)]
    assert len(set(keys)) >= 1995
    assert len({key[0] for key in keys}) > 200
    assert len({key[3] for key in keys}) > 200


def test_two_encoders_do_not_share_their_keys(codec: ModuleType) -> None:
    """RFC 6455 10.3: knowing one connection's keys tells nothing of another's."""
    one, two = codec.FrameEncoder(Role.CLIENT), codec.FrameEncoder(Role.CLIENT)
    keys = [encoder.ping()[2:6] for _ in range(100) for encoder in (one, two)]
    assert len(set(keys)) >= 199


def test_keys_are_bytes_of_os_urandom_used_once() -> None:
    """RFC 6455 10.3: "a strong source of entropy", here counted, to see where each key comes from."""
    result = run_python(
        """
import importlib, itertools, os
given = bytearray()
counter = itertools.count(1)
def urandom(size):
    block = b"".join(next(counter).to_bytes(4, "big") for _ in range(-(-size // 4)))[:size]
    given.extend(block)
    return block
os.urandom = urandom
from wsfast.events import Role
for name in ("native", "fallback"):
    try:
        codec = importlib.import_module(f"wsfast.{name}")
    except ModuleNotFoundError:
        continue
    one, two = codec.FrameEncoder(Role.CLIENT), codec.FrameEncoder(Role.CLIENT)
    keys = [encoder.message(b"x" * 3)[2:6] for _ in range(5000) for encoder in (one, two)]
    assert len(set(keys)) == len(keys), f"{name}: a key was used twice"
    whole = {bytes(given[i : i + 4]) for i in range(0, len(given), 4)}
    assert whole.issuperset(keys), f"{name}: keys that os.urandom did not make"
"""
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_keys_after_a_fork_differ(codec: ModuleType) -> None:
    """RFC 6455 10.3: a child that inherits an encoder does not send the keys of its parent."""
    result = run_python(
        f"""
import os
from wsfast import {codec.IMPLEMENTATION} as codec
from wsfast.events import Role
encoder = codec.FrameEncoder(Role.CLIENT)
keys = [encoder.ping()[2:6]]
def take():
    return b"".join(encoder.ping()[2:6] for _ in range(200))
children = []
for _ in range(2):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with open(writer, "wb") as pipe:
            pipe.write(take())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        children.append(pipe.read())
    assert os.waitpid(pid, 0)[1] == 0
streams = [take(), *children]
keys += [stream[i : i + 4] for stream in streams for i in range(0, 800, 4)]
assert len(keys) == 601, len(keys)
assert len(set(keys)) >= 599, f"{{601 - len(set(keys))}} keys in common"
"""
    )
    assert (result.returncode, result.stderr) == (0, "")


def counting_keys(sizes: list[int]) -> Callable[[int], bytes]:
    """A key function for tests: 00000001, 00000002, ..., noting the sizes asked for."""

    def random_bytes(size: int) -> bytes:
        sizes.append(size)
        return len(sizes).to_bytes(4, "big")

    return random_bytes


def test_key_function_is_called_once_a_frame(codec: ModuleType) -> None:
    """RFC 6455 5.3: for 4 bytes, by every method that makes a frame, in the order of the calls."""
    sizes: list[int] = []
    encoder = codec.FrameEncoder(Role.CLIENT, random_bytes=counting_keys(sizes))
    frames = [
        encoder.message("a"),
        encoder.message(b"a" * 3),
        encoder.fragment("a"),
        encoder.ping(),
        encoder.fragment("b", fin=True),
        encoder.pong(b"p"),
        encoder.frame(BINARY),
        encoder.close(1000),
        encoder.message(b""),
    ]
    assert [one[2:6] for one in frames] == [number.to_bytes(4, "big") for number in range(1, 10)]
    assert sizes == [4] * 9
    large = encoder.message(bytes(70000))
    assert large[10:14] == (10).to_bytes(4, "big")


def test_server_asks_for_no_key(codec: ModuleType) -> None:
    """RFC 6455 5.1: a server does not mask, and wastes no entropy."""
    sizes: list[int] = []
    encoder = codec.FrameEncoder(Role.SERVER, random_bytes=counting_keys(sizes))
    for one in (encoder.message("a"), encoder.ping(), encoder.close(), encoder.fragment(b"", fin=True)):
        assert one[1] & 0x80 == 0
    assert sizes == []


def test_key_function_that_raises_changes_nothing(codec: ModuleType) -> None:
    """RFC 6455 5.4: its exception comes through, and the message is where it was."""
    fail = False

    def random_bytes(size: int) -> bytes:
        if fail:
            raise OSError("no entropy")
        return bytes(size)

    encoder = codec.FrameEncoder(Role.CLIENT, random_bytes=random_bytes)
    fail = True
    with pytest.raises(OSError, match="no entropy"):
        encoder.fragment("a")
    assert encoder.in_message is False
    fail = False
    encoder.fragment(b"\xe2\x82", text=True)
    fail = True
    for fin, rest in ((True, b"\xac"), (False, b"\xac")):
        with pytest.raises(OSError, match="no entropy"):
            encoder.fragment(rest, fin=fin, text=True)
        assert encoder.in_message is True
    fail = False
    assert encoder.fragment(b"\xac", fin=True, text=True)[:2] == b"\x80\x81"
    assert encoder.in_message is False


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"], ids=len)
def test_key_function_that_returns_another_size_is_a_value_error(codec: ModuleType, key: bytes) -> None:
    """RFC 6455 5.3: a key has 4 bytes, and no frame goes out with another."""
    encoder = codec.FrameEncoder(Role.CLIENT, random_bytes=lambda size: key)
    calls: list[Callable[[], Any]] = [
        lambda: encoder.message("a"),
        lambda: encoder.ping(),
        lambda: encoder.fragment("a"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="4"):
            call()
    assert encoder.in_message is False


@pytest.mark.parametrize("key", [4, None, "1234", [1, 2, 3, 4]], ids=repr)
def test_key_function_that_returns_no_bytes_is_a_type_error(codec: ModuleType, key: Any) -> None:
    """RFC 6455 5.3: ``bytes(4)`` would be a key of zeros, which hides nothing."""
    encoder = codec.FrameEncoder(Role.CLIENT, random_bytes=lambda size: key)
    with pytest.raises(TypeError):
        print(encoder.message("a"))
    with pytest.raises(TypeError):
        print(encoder.fragment("a"))
    assert encoder.in_message is False
