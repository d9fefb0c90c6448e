"""gevent-websocket with ``wsfast.wsaccel.install()``: that it is found, and that the same messages and errors come out.

In new processes, as gevent-websocket looks for wsaccel when it is imported.
"""

from __future__ import annotations

import subprocess
import sys

RECEIVE = """
import io
from types import SimpleNamespace
from geventwebsocket import utf8validator, websocket

class Stream(io.BytesIO):
    def write(self, data):
        pass

def frame(opcode, payload, fin=True):
    key = b"abcd"
    masked = bytes(byte ^ key[pos % 4] for pos, byte in enumerate(payload))
    return bytes([fin << 7 | opcode, 0x80 | len(payload)]) + key + masked

text = "h\\u00e9 \\ud55c\\uad6d\\uc5b4".encode()
print("wsfast" if utf8validator.Utf8Validator.__module__.startswith("wsfast") else "pure")
for stream in (
    frame(1, text),
    frame(1, text[:5], fin=False) + frame(0, text[5:]),
    frame(1, text[:2], fin=False) + frame(9, b"ping") + frame(0, text[2:6], fin=False) + frame(0, text[6:]),
    frame(2, b"\\xff\\xfe"),
    frame(1, b"ab\\xffcd"),
    frame(1, text, fin=False) + frame(0, b"ab\\xed\\xa0\\x80"),
    frame(1, text[:2], fin=False) + frame(0, b"cd"),
    frame(1, text[:-1]),
    frame(8, b"\\x03\\xe8" + text),
    frame(8, b"\\x03\\xe8" + text[:-1] + b"x"),
):
    connection = websocket.WebSocket({}, Stream(stream), SimpleNamespace())
    try:
        print(repr(connection.read_message()), connection.utf8validate_last)
    except Exception as error:
        print(repr(error))
"""


def lines(code):
    # Warnings of gevent's own are not errors here.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_same_messages_and_errors():
    """RFC 6455 8.1."""
    expected = lines(RECEIVE)
    actual = lines("import wsfast.wsaccel; wsfast.wsaccel.install()" + RECEIVE)
    assert (expected[0], actual[0]) == ("pure", "wsfast")
    assert actual[1:] == expected[1:]
    assert "payload octet index 2" in "".join(actual)


def test_too_late_is_refused():
    lines(
        "import geventwebsocket, wsfast.wsaccel\n"
        "try: wsfast.wsaccel.install()\n"
        "except RuntimeError as error: assert 'wsfast.patch.gevent_websocket()' in str(error)\n"
        "else: raise AssertionError('installed')"
    )
