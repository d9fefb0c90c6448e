"""Our caller's mistakes: both codecs raise the same type with the same text, and change nothing.

The texts are in ``wsfast/mistakes.py``. Left out are the interpreter's own: a missing or surplus argument.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wsfast
from wsfast import mistakes
from wsfast.events import Role

Call = Callable[[ModuleType], Any]


def nothing(data: bytes, fin: bool) -> Iterator[bytes]:
    return iter(())


def not_bytes(data: bytes, fin: bool) -> Iterator[Any]:
    yield "text"


class Deflates:
    """Stands in for ``wsfast.deflate.Deflater``."""

    threshold = 0

    def __init__(self, result: Any = b"") -> None:
        self.result = result
        self.n_forgotten = 0

    def deflate(self, payload: bytes, fin: bool, may_choose: bool) -> Any:
        return self.result

    def forget(self) -> None:
        self.n_forgotten += 1


def client(codec: ModuleType, **options: Any) -> Any:
    return codec.FrameEncoder(Role.CLIENT, **options)


def server(codec: ModuleType, **options: Any) -> Any:
    return codec.FrameEncoder(Role.SERVER, **options)


def receiving(codec: ModuleType) -> Any:
    """A decoder inside a large frame, which has given away a buffer."""
    decoder = codec.MessageDecoder(Role.CLIENT)
    decoder.feed(b"\x82\x7f" + (200_000).to_bytes(8, "big"))
    assert decoder.get_buffer() is not None
    return decoder


def in_text(codec: ModuleType, **options: Any) -> Any:
    encoder = server(codec, **options)
    encoder.fragment("a")
    return encoder


ODD = memoryview(b"abcdefgh")[::2]

WRONG: dict[str, Call] = {
    "apply_mask of an int": lambda codec: codec.apply_mask(1, bytes(4)),
    "apply_mask of a str": lambda codec: codec.apply_mask("a", bytes(4)),
    "apply_mask, not contiguous": lambda codec: codec.apply_mask(ODD, bytes(4)),
    "apply_mask, key of 3": lambda codec: codec.apply_mask(b"a", b"key"),
    "apply_mask, key of 5": lambda codec: codec.apply_mask(b"a", bytearray(5)),
    "apply_mask, no key": lambda codec: codec.apply_mask(b"a", None),
    "apply_mask, both": lambda codec: codec.apply_mask(None, b"key"),
    "mask_inplace of bytes": lambda codec: codec.mask_inplace(b"a", bytes(4)),
    "mask_inplace, read-only view": lambda codec: codec.mask_inplace(memoryview(b"a"), bytes(4)),
    "mask_inplace, not contiguous": lambda codec: codec.mask_inplace(memoryview(bytearray(8))[::2], bytes(4)),
    "mask_inplace of an int": lambda codec: codec.mask_inplace(1, bytes(4)),
    "mask_inplace, key of 3": lambda codec: codec.mask_inplace(bytearray(1), b"key"),
    "mask_inplace, phase of 4": lambda codec: codec.mask_inplace(bytearray(1), bytes(4), 4),
    "mask_inplace, phase below 0": lambda codec: codec.mask_inplace(bytearray(1), bytes(4), -1),
    "mask_inplace, huge phase": lambda codec: codec.mask_inplace(bytearray(1), bytes(4), 2**70),
    "mask_inplace, phase of str": lambda codec: codec.mask_inplace(bytearray(1), bytes(4), "1"),
    "mask_inplace, all": lambda codec: codec.mask_inplace(b"", b"key", 4),
    "utf8_valid of a str": lambda codec: codec.utf8_valid("a"),
    "utf8_valid, not contiguous": lambda codec: codec.utf8_valid(ODD),
    "Utf8Validator of None": lambda codec: codec.Utf8Validator().feed(None),
    "Utf8Validator, not contiguous": lambda codec: codec.Utf8Validator().feed(ODD),
    "role of a decoder": lambda codec: codec.MessageDecoder("proxy"),
    "role of frames": lambda codec: codec.FrameDecoder(None),
    "role of an encoder": lambda codec: codec.FrameEncoder(1),
    "text": lambda codec: codec.MessageDecoder(Role.CLIENT, text="utf-8"),
    "text of None": lambda codec: codec.MessageDecoder(Role.CLIENT, text=None),
    "inflate": lambda codec: codec.MessageDecoder(Role.CLIENT, inflate=1),
    "text and inflate": lambda codec: codec.MessageDecoder(Role.CLIENT, text=1, inflate=1),
    "inflate yields str": lambda codec: codec.MessageDecoder(Role.CLIENT, inflate=not_bytes).feed(
        b"\xc1\x01a"
    ),
    "allowed_rsv of 8": lambda codec: codec.FrameDecoder(Role.CLIENT, allowed_rsv=8),
    "allowed_rsv below 0": lambda codec: codec.FrameDecoder(Role.CLIENT, allowed_rsv=-1),
    "allowed_rsv of None": lambda codec: codec.FrameDecoder(Role.CLIENT, allowed_rsv=None),
    "allowed_rsv of bool": lambda codec: codec.FrameDecoder(Role.CLIENT, allowed_rsv=True),
    "feed of a str": lambda codec: codec.MessageDecoder(Role.CLIENT).feed("a"),
    "feed, not contiguous": lambda codec: codec.MessageDecoder(Role.CLIENT).feed(ODD),
    "frames, feed of None": lambda codec: codec.FrameDecoder(Role.CLIENT).feed(None),
    "sizehint": lambda codec: codec.MessageDecoder(Role.CLIENT).get_buffer("1"),
    "no buffer": lambda codec: codec.MessageDecoder(Role.CLIENT).buffer_updated(1),
    "more than the buffer": lambda codec: receiving(codec).buffer_updated(65_537),
    "less than nothing": lambda codec: receiving(codec).buffer_updated(-1),
    "nbytes": lambda codec: receiving(codec).buffer_updated("1"),
    "random_bytes": lambda codec: client(codec, random_bytes=b"key!"),
    "random_bytes of the wrong size": lambda codec: client(codec, random_bytes=lambda size: b"key").message(
        "a"
    ),
    "random_bytes of the wrong type": lambda codec: client(codec, random_bytes=lambda size: "keys").message(
        "a"
    ),
    "deflate": lambda codec: server(codec, deflate=nothing),
    "deflate returns str": lambda codec: server(codec, deflate=Deflates("a")).message(b"a"),
    "deflate returns str, of a fragment": lambda codec: server(codec, deflate=Deflates("a")).fragment(b"a"),
    "message of an int": lambda codec: server(codec).message(1),
    "message of None as text": lambda codec: server(codec).message(None, True),
    "message, not contiguous": lambda codec: server(codec).message(ODD),
    "message of a surrogate": lambda codec: server(codec).message("\ud800"),
    "fragment of an int": lambda codec: server(codec).fragment(1),
    "fragment of the other type": lambda codec: in_text(codec).fragment(b"a"),
    "fragment of no type at all": lambda codec: in_text(codec).fragment(1),
    "message inside a message": lambda codec: in_text(codec).message("a"),
    "bytes that are not text": lambda codec: server(codec).message(b"\xff", True),
    "fragment that is not text": lambda codec: server(codec).fragment(b"\xff", True, True),
    "fragment that ends inside a character": lambda codec: server(codec).fragment(b"\xc3", True, True),
    "ping of 126": lambda codec: server(codec).ping(bytes(126)),
    "pong of 126": lambda codec: server(codec).pong(bytes(126)),
    "ping of a str": lambda codec: server(codec).ping("a"),
    "pong, not contiguous": lambda codec: server(codec).pong(ODD),
    "close code": lambda codec: server(codec).close(1006),
    "close code of a str": lambda codec: server(codec).close("1000"),
    "huge close code": lambda codec: server(codec).close(2**70),
    "close reason without a code": lambda codec: server(codec).close(None, "a"),
    "close reason of bytes": lambda codec: server(codec).close(1000, b"a"),
    "close reason of 124": lambda codec: server(codec).close(1000, "é" * 62),
    "close reason of a surrogate": lambda codec: server(codec).close(1000, "\ud800"),
    "reserved opcode": lambda codec: server(codec).frame(3),
    "huge opcode": lambda codec: server(codec).frame(2**70),
    "opcode of a str": lambda codec: server(codec).frame("1"),
    "control frame without FIN": lambda codec: server(codec).frame(9, b"", False),
    "control frame of 126": lambda codec: server(codec).frame(10, bytes(126)),
    "frame of a str": lambda codec: server(codec).frame(1, "a"),
}
for limit in ("max_message_size", "max_frame_size", "max_fragments", "max_feed_events", "max_feed_size"):
    for value in (-1, 1.5, "1", True, b"", *([0] if "feed" in limit else [])):
        WRONG[f"{limit} of {value!r}"] = lambda codec, limit=limit, value=value: (  # type: ignore[misc]
            codec.MessageDecoder(Role.SERVER, **{limit: value})
        )

# Each of these has the same text if the message could be compressed.
ENCODING = {name: call for name, call in WRONG.items() if name.startswith(("message", "fragment", "bytes"))}


def outcome(call: Call, codec: ModuleType) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the comparison is the check
        call(codec)
    return caught.type, str(caught.value)


@pytest.mark.parametrize("name", WRONG)
def test_both_codecs_say_the_same(codecs: tuple[ModuleType, ModuleType], name: str) -> None:
    native, fallback = codecs
    assert outcome(WRONG[name], native) == outcome(WRONG[name], fallback)


class Deflating:
    """A codec whose encoders compress."""

    def __init__(self, codec: ModuleType) -> None:
        self.codec = codec

    def FrameEncoder(self, role: Role) -> Any:
        return self.codec.FrameEncoder(role, deflate=Deflates())


@pytest.mark.parametrize("name", ENCODING)
def test_compressing_encoders_say_the_same(codec: ModuleType, name: str) -> None:
    """A mistake in a message is found before it is compressed (RFC 7692 7.2.1)."""
    deflating: Any = Deflating(codec)
    assert outcome(WRONG[name], deflating) == outcome(WRONG[name], codec)


def test_what_was_not_framed_is_forgotten(codec: ModuleType) -> None:
    """RFC 7692 7.2.1: the peer's context must not miss a message, in a message and in a fragment."""
    for call in ("message", "fragment"):
        deflate = Deflates("not bytes")
        encoder = codec.FrameEncoder(Role.SERVER, deflate=deflate)
        with pytest.raises(TypeError, match="deflate has to return bytes, not str"):
            getattr(encoder, call)(b"a")
        assert (deflate.n_forgotten, encoder.in_message) == (1, False)


def test_encoder_is_busy_while_it_deflates(codec: ModuleType) -> None:
    """RFC 7692 7.2.1: two messages in one context would be garbled; control frames are not compressed."""
    pings = []

    class Calls(Deflates):
        def deflate(self, payload: bytes, fin: bool, may_choose: bool) -> Any:
            pings.append(encoder.ping(b"p"))
            expected = mistakes.MESSAGE_UNFINISHED if encoder.in_message else mistakes.ENCODER_BUSY
            with pytest.raises(RuntimeError, match=expected):
                encoder.message(b"inner")
            with pytest.raises(RuntimeError, match=mistakes.ENCODER_BUSY):
                encoder.fragment(b"inner")
            return b"\x00"

    encoder = codec.FrameEncoder(Role.SERVER, deflate=Calls())
    assert encoder.message(b"outer") == b"\xc2\x01\x00"
    assert encoder.fragment(b"outer") == b"\x42\x01\x00"
    assert encoder.fragment(b"outer", True) == b"\x80\x01\x00"
    assert pings == [b"\x89\x01p"] * 3


# help() and inspect.signature()


def stubs() -> dict[str, ast.FunctionDef]:
    """The functions of native.pyi, of a class as ``Class.method``; of overloads the last."""
    found = {}
    tree = ast.parse((Path(wsfast.__file__).parent / "native.pyi").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.decorator_list:
                    found[f"{node.name}.{method.name}"] = method
                elif isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    found[f"{node.name}.__init__"] = method
    return found


STUBS = stubs()


def told(parameters: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in parameters if one.name != "self"]


def stub_parameters(node: ast.FunctionDef) -> list[tuple[str, Any, Any]]:
    """The parameters with their defaults, as ``inspect`` has them."""
    arguments, parameter = node.args, inspect.Parameter
    listed: list[tuple[str, Any, Any]] = []
    required = len(arguments.args) - len(arguments.defaults)
    for position, one in enumerate(arguments.args):
        default = arguments.defaults[position - required] if position >= required else None
        listed.append((one.arg, parameter.POSITIONAL_OR_KEYWORD, value_of(default)))
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        listed.append((one.arg, parameter.KEYWORD_ONLY, value_of(default)))
    return [entry for entry in listed if entry[0] != "self"]


def value_of(default: ast.expr | None) -> Any:
    return inspect.Parameter.empty if default is None else ast.literal_eval(default)


@pytest.mark.parametrize("name", STUBS)
def test_signatures_are_those_of_the_interface(codec: ModuleType, name: str) -> None:
    """``inspect.signature`` and ``help`` work, on compiled classes too."""
    owner, _, method = name.partition(".")
    found = getattr(codec, owner)
    if method and method != "__init__":
        found = getattr(found, method)
    expected = stub_parameters(STUBS[name])
    if name == "FrameDecoder.__init__":  # its last overload has `headers` without a default
        expected = [(one, kind, False if one == "headers" else value) for one, kind, value in expected]
    assert told(inspect.signature(found).parameters.values()) == expected


@pytest.mark.parametrize("name", [name for name in STUBS if not re.search("Decoder|__init__", name)])
def test_docstrings_begin_as_those_of_the_interface(codec: ModuleType, name: str) -> None:
    owner, _, method = name.partition(".")
    found = getattr(getattr(codec, owner), method) if method else getattr(codec, owner)
    [first, *_] = (inspect.getdoc(found) or "").splitlines()
    assert first == (ast.get_docstring(STUBS[name]) or "").splitlines()[0]


@pytest.mark.parametrize("name", ["MessageDecoder", "FrameDecoder", "FrameEncoder", "Utf8Validator"])
def test_classes_have_the_same_docstring(codecs: tuple[ModuleType, ModuleType], name: str) -> None:
    """And the signature is no part of it."""
    native, fallback = (inspect.getdoc(getattr(codec, name)) for codec in codecs)
    assert native == fallback
    assert name not in (native or "")
