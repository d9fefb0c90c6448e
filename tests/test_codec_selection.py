"""The choice of the codec, and the modules that importing it loads. Both codecs have the same names.

The rules are those of ``wsfast/codec.py``. The other files test the behaviour of these names (RFC 6455 5).
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers import KEY, load_codec, run_python

import wsfast.codec
from wsfast.events import Role

NAMES = (
    "FrameDecoder",
    "FrameEncoder",
    "IMPLEMENTATION",
    "KERNEL",
    "MessageDecoder",
    "Utf8Validator",
    "apply_mask",
    "mask_inplace",
    "utf8_valid",
)
TELL = "import wsfast.codec as codec; print(codec.IMPLEMENTATION, codec.FrameDecoder.__module__)"


def test_each_codec_says_what_it_is(codec: ModuleType) -> None:
    """Neither passes for the other, and both name their kernels."""
    assert f"wsfast.{codec.IMPLEMENTATION}" == codec.__name__
    assert type(codec.KERNEL) is str
    assert codec.KERNEL


def test_native_codec_is_compiled() -> None:
    """What is called native is an extension module, not a file of Python in its place."""
    native = load_codec("native")
    assert Path(str(native.__file__)).suffix in (".so", ".pyd")


@pytest.mark.parametrize("value", ["1", "yes", "true"])
def test_wsfast_pure_forces_the_fallback(value: str) -> None:
    """``WSFAST_PURE=1``: read when ``wsfast.codec`` is imported."""
    result = run_python(TELL, WSFAST_PURE=value)
    assert (result.stdout.split(), result.stderr) == (["fallback", "wsfast.fallback.decoding"], "")


@pytest.mark.parametrize("kind", ["legacy", "isolated"] if sys.version_info >= (3, 13) else ["legacy"])
def test_a_second_interpreter_has_a_codec(kind: str) -> None:
    """Applications in interpreters of their own (mod_wsgi, ``concurrent.interpreters``) get the fallback."""
    load_codec("native")
    here = "import wsfast.codec; print(wsfast.codec.IMPLEMENTATION, flush=True)"
    there = f"import warnings; warnings.simplefilter('error'); {here}"
    if sys.version_info >= (3, 13):
        run = (
            f"import _interpreters as i; other = i.create({kind!r}); error = i.exec(other, {there!r}); "
            "i.destroy(other); assert error is None, error"
        )
    else:
        run = f"import _xxsubinterpreters as i; i.run_string(i.create(isolated=False), {there!r})"
    result = run_python(f"{here}; {run}")
    assert result.stdout.split() == ["native", "fallback"], result.stderr
    ours = [line for line in result.stderr.splitlines() if line.startswith("wsfast ")]
    assert len(ours) == 1, result.stderr
    assert ours[0].startswith(
        "wsfast runs on its pure-Python codec, the slow one: wsfast.native works in one interpreter"
    )


@pytest.mark.parametrize("value", ["", "0"])
def test_native_codec_is_used_where_it_was_built(value: str) -> None:
    """An empty ``WSFAST_PURE``, or 0, is the same as none."""
    load_codec("native")
    for result in (run_python(TELL, WSFAST_PURE=value), run_python(TELL)):
        assert (result.stdout.split(), result.stderr) == (["native", "wsfast.native"], "")


# An interpreter in which the extension was not built.
NOT_BUILT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "wsfast.native":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def test_missing_extension_falls_back() -> None:
    """Without the extension the package works, and says which codec it uses."""
    result = run_python(NOT_BUILT + TELL)
    assert (result.returncode, result.stdout.split()) == (0, ["fallback", "wsfast.fallback.decoding"])


def test_fallback_that_nobody_asked_for_is_logged_once() -> None:
    """In one line with the reason. It is no warning: ``-W error``, which is set here, must not break a program."""
    result = run_python(NOT_BUILT + TELL + "; import wsfast.connection, wsfast.patch.byte_hosts")
    [line] = result.stderr.splitlines()
    assert line.startswith("wsfast runs on its pure-Python codec, the slow one: the ")
    assert line.endswith("(WSFAST_PURE=1 says that this is meant)")
    assert result.stdout.split()[0] == "fallback"


@pytest.mark.parametrize(
    "prelude",
    [
        "import os; os.environ['WSFAST_PURE'] = '1'",
        "import types; sys.modules['wsfast._built'] = types.SimpleNamespace(ON_PURPOSE=True, REASON='')",
        "import logging; logging.getLogger('wsfast').setLevel(logging.ERROR)",
        "sys.platform = 'emscripten'",
        "import types; sys.implementation = types.SimpleNamespace(**{**vars(sys.implementation), 'name': 'pypy'})",
    ],
    ids=["WSFAST_PURE", "built on purpose", "logger", "browser", "PyPy"],
)
def test_fallback_that_is_meant_is_not_logged(prelude: str) -> None:
    """Nor is one where there is no native codec to have, nor what the user does not want to read."""
    result = run_python(f"{NOT_BUILT}\n{prelude}\n{TELL}")
    assert (result.stdout.split()[:1], result.stderr) == (["fallback"], "")


def test_reason_that_the_build_left_is_told() -> None:
    """setup.py writes it down, and it comes with a command that helps."""
    code = f"""{NOT_BUILT}
import types
sys.modules["wsfast._built"] = types.SimpleNamespace(ON_PURPOSE=False, REASON="no cc")
import wsfast._origin
wsfast._origin.ROOT = "/nowhere"
import wsfast.codec
"""
    advice = "pip install --no-cache-dir --force-reinstall --no-binary wsfast wsfast"
    assert re.search(rf": no cc; try: .*WSFAST_BUILD=native.* {advice} ", run_python(code).stderr)


def test_broken_extension_is_heard_of() -> None:
    """An extension that is there and does not load is an error, not a slow program."""
    for error in ('ImportError("undefined symbol")', 'ModuleNotFoundError("other", name="other")'):
        blocked = f"""
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "wsfast.native":
            raise {error}
sys.meta_path.insert(0, Broken())
"""
        result = run_python(blocked + TELL)
        assert result.returncode != 0
        assert error.split("(")[0] in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize("pure", ["0", "1"])
def test_codec_imports_nothing_but_the_codec(pure: str) -> None:
    """Other servers embed it: no h11, no asyncio, none of our own connection."""
    result = run_python(
        """
import sys
for name in ("h11", "asyncio", "ssl", "socket", "websockets", "aiohttp"):
    sys.modules[name] = None  # importing it is an ImportError
import wsfast.codec
from wsfast.codec import Role
decoder = wsfast.codec.MessageDecoder(Role.CLIENT)
assert decoder.feed(b"\\x81\\x02ok") == ["ok"]
names = {name for name in sys.modules if name.split(".")[0] == "wsfast"}
allowed = {"codec", "events", "faults", "mistakes", "native", "fallback", "_version"}
print(*sorted(name for name in names - {"wsfast"} if name.split(".")[1] not in allowed))
""",
        WSFAST_PURE=pure,
    )
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "", "")


def test_names_of_the_selector() -> None:
    """What ``wsfast.codec`` exports is there, and comes from one of the two."""
    chosen = load_codec(wsfast.codec.IMPLEMENTATION)
    for name in wsfast.codec.__all__:
        assert hasattr(wsfast.codec, name), name
    for name in NAMES:
        assert getattr(wsfast.codec, name) is getattr(chosen, name), name
        assert name in wsfast.codec.__all__


def test_arguments_may_be_named(codec: ModuleType) -> None:
    """Each argument has the name that ``native.pyi`` gives it, in both codecs."""
    assert codec.apply_mask(data=b"a", masking_key=bytes(4)) == b"a"
    assert codec.mask_inplace(buffer=bytearray(b"a"), masking_key=bytes(4), phase=1) == 2
    assert codec.utf8_valid(data=b"a") is True
    assert codec.Utf8Validator().feed(data=b"a") is True
    decoder = codec.MessageDecoder(
        role=Role.CLIENT, max_message_size=1, max_frame_size=1, max_fragments=1, text="str"
    )
    assert decoder.feed(chunk=b"\x81\x00") == [""]
    frames = codec.FrameDecoder(
        role=Role.CLIENT, max_frame_size=1, max_fragments=1, partial=False, allowed_rsv=0
    )
    assert len(frames.feed(chunk=b"\x81\x00")) == 1
    encoder = codec.FrameEncoder(role=Role.SERVER, random_bytes=None)
    assert encoder.message(data="a", text=True) == b"\x81\x01a"
    assert encoder.fragment(data=b"a", fin=True, text=False) == b"\x82\x01a"
    assert encoder.ping(payload=b"a") == b"\x89\x01a"
    assert encoder.pong(payload=b"a") == b"\x8a\x01a"
    assert encoder.close(code=1000, reason="a") == b"\x88\x03\x03\xe8a"


def test_classes_have_the_names_of_the_interface(codec: ModuleType) -> None:
    """Those of ``native.pyi`` and no other: what one codec alone has, a program must not come to rely on."""
    limits = {"max_frame_size", "max_fragments"}
    expected = {
        codec.MessageDecoder: {
            "feed",
            "get_buffer",
            "buffer_updated",
            "failure",
            "has_control",
            "has_waiting",
            "max_feed_events",
            "max_feed_size",
            "role",
            "stream_message",
            "text",
        }
        | {"max_message_size"}
        | limits,
        codec.FrameDecoder: {"feed", "failure", "missing_size", "role", "unfinished_header"},
        codec.FrameEncoder: {
            "role",
            "deflate",
            "in_message",
            "message",
            "fragment",
            "ping",
            "pong",
            "close",
            "frame",
            "header",
        },
        codec.Utf8Validator: {"feed", "complete", "reset"},
    }
    for cls, names in expected.items():
        assert {name for name in dir(cls) if not name.startswith("_")} == names, cls.__name__


def test_options_are_named_alone(codec: ModuleType) -> None:
    """Limits in a row of bare numbers would be read wrongly; nor is there an option that does not exist."""
    for cls in (codec.MessageDecoder, codec.FrameDecoder, codec.FrameEncoder):
        with pytest.raises(TypeError):
            cls(Role.CLIENT, 1000)
        with pytest.raises(TypeError):
            cls(Role.CLIENT, surprise=1)
        with pytest.raises(TypeError):
            cls()


@pytest.mark.parametrize("role", [None, "proxy", "SERVER", 1, True, Role], ids=str)
def test_role_is_a_role(codec: ModuleType, role: object) -> None:
    """RFC 6455 5.1: a mistake here would turn the rule of masking round."""
    for cls in (codec.MessageDecoder, codec.FrameDecoder, codec.FrameEncoder):
        with pytest.raises(ValueError, match="Role"):
            cls(role)


def test_properties_are_read_only(codec: ModuleType) -> None:
    """RFC 6455 7.1.7: a failure is not taken back, nor is a limit raised behind the decoder's back."""
    decoder = codec.MessageDecoder(Role.CLIENT)
    for name in ("failure", "has_control", "role", "max_message_size", "max_frame_size", "max_fragments"):
        with pytest.raises(AttributeError):
            setattr(decoder, name, getattr(decoder, name))
    frames, encoder = codec.FrameDecoder(Role.CLIENT), codec.FrameEncoder(Role.CLIENT)
    for owner, name in ((frames, "failure"), (frames, "role"), (encoder, "role"), (encoder, "in_message")):
        with pytest.raises(AttributeError):
            setattr(owner, name, getattr(owner, name))
    with pytest.raises(AttributeError):
        codec.Utf8Validator().complete = True


def test_public_names_have_docstrings(codec: ModuleType) -> None:
    """Whoever asks ``help`` gets an answer from either codec."""
    for name in NAMES:
        value = getattr(codec, name)
        if not isinstance(value, str):
            assert inspect.getdoc(value), name
    for cls in (codec.MessageDecoder, codec.FrameDecoder, codec.FrameEncoder, codec.Utf8Validator):
        for name, value in vars(cls).items():
            if not name.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{cls.__name__}.{name}"


def test_rfc_example_in_the_codec_in_use() -> None:
    """RFC 6455 5.7, through the names that everybody imports."""
    assert wsfast.codec.MessageDecoder(Role.SERVER).feed(
        bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
    ) == ["Hello"]
    assert wsfast.codec.apply_mask(b"Hello", KEY) == bytes.fromhex("7f 9f 4d 51 58")
