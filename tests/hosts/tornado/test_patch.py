"""``wsfast.patch.tornado()`` with tornado: what it puts in place beside what was there, and a server and a client."""

from __future__ import annotations

import asyncio
import os

import pytest
import tornado.httpserver
import tornado.testing
import tornado.util
import tornado.web
import tornado.websocket

from wsfast import patch, unpatch

THEIRS = {tornado.util._websocket_mask, tornado.util._websocket_mask_python}


@pytest.fixture(autouse=True)
def unpatched():
    yield
    unpatch("tornado")


def ours():
    patch.tornado(force=True)
    return tornado.websocket._websocket_mask


def test_on_off_and_on_again():
    before = tornado.websocket._websocket_mask
    patched = ours()
    assert patched is not before
    assert tornado.util._websocket_mask is patched
    unpatch("tornado")
    assert tornado.websocket._websocket_mask is tornado.util._websocket_mask is before
    assert ours() is patched


@pytest.mark.parametrize("size", [*range(70), 125, 126, 65535, 65536, 1_000_003])
def test_the_same_bytes(size):
    key, data = os.urandom(4), os.urandom(size)
    mine = ours()(key, data)
    assert type(mine) is bytes
    for mask in THEIRS:
        if size < 100_000:
            assert mine == mask(key, data)
    assert ours()(key, mine) == data


@pytest.mark.parametrize(
    "arguments", [(b"abc", b"x"), (b"", b"x"), (b"abcde", b"x"), (b"abcd", 5), (b"abcd", None)]
)
def test_the_same_errors(arguments):
    raised = []
    # Before 6.6 theirs did not look at the length of the key.
    for mask in (*(THEIRS if tornado.version_info >= (6, 6) else ()), ours()):
        with pytest.raises((TypeError, ValueError)) as caught:
            mask(*arguments)
        raised.append((caught.type, str(caught.value) if caught.type is ValueError else ""))
    assert len(set(raised)) == 1


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


@pytest.mark.parametrize("compression", [None, {}])
def test_an_echo(compression):
    class CompressingEcho(Echo):
        def get_compression_options(self):
            return compression

    async def run():
        server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", CompressingEcho)]))
        sock, port = tornado.testing.bind_unused_port()
        server.add_sockets([sock])
        client = await tornado.websocket.websocket_connect(
            f"ws://127.0.0.1:{port}/", compression_options=compression
        )
        for message in ("", "text", "한국어" * 100, "a" * 70000, b"", os.urandom(300), os.urandom(70001)):
            await client.write_message(message, binary=isinstance(message, bytes))
            assert await client.read_message() == message
        client.close(4000, "done")
        assert await client.read_message() is None
        server.stop()
        await server.close_all_connections()

    ours()
    asyncio.run(run())
