"""The codecs of other packages, with the same work as ours and without a socket: for ``peers.py``.

Each codec is used as its package uses it. The callbacks of picows and autobahn are called, the queue of aiohttp is
read, the sans-I/O classes of websockets and wsproto are asked for events. Each returns a ``str`` or a ``bytes``. If a
package needs a transport, it gets one that keeps the last writes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import Any

from wsfast.events import Role

from ..common.cases import Payload
from ..common.client import REQUEST, answer
from .peer_codecs import N_ENCODED, Pair, PeerCodec


class MemoryTransport(asyncio.Transport):
    """Keeps the last writes. It reports unsent bytes, because picows would otherwise write to the socket by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = socket.socket()
        self.sent: deque[Any] = deque(maxlen=4)
        self.write = self.writelines = self.sent.append

    def __del__(self) -> None:
        self.socket.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self.socket, "peername": ("localhost", 0)}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return 1

    def is_closing(self) -> bool:
        return False

    def take_sent(self) -> bytes:
        parts = [part for item in self.sent for part in (item if isinstance(item, list) else [item])]
        self.sent.clear()
        return b"".join(map(bytes, parts))


# --- picows ---


class CatchingLoop(asyncio.SelectorEventLoop):
    """Keeps the protocol factory that it gets, and opens no connection."""

    factory: Callable[[], Any]

    async def create_server(self, factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        self.factory = factory

    async def create_connection(self, factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        self.factory = factory
        raise ConnectionAbortedError  # ws_connect() would wait for an answer


class Picows(PeerCodec):
    """``kind_known``: the callback does not read the frame's type, because that costs more than all the rest."""

    needs = "picows"
    note = (
        "picows: its protocol object, as ws_create_server() and ws_connect() make it, between get_buffer() and "
        "buffer_updated(); the copy into its buffer, a socket's work, is not counted"
    )

    def __init__(self, kind_known: bool = False) -> None:
        self.kind_known = kind_known

    def connect(self, role: Role, listener: Callable[[], Any]) -> tuple[Any, MemoryTransport]:
        import picows

        options: dict[str, Any] = {
            "max_frame_size": 1 << 30,
            "read_buffer_init_size": 1 << 18,  # so that a read of 64 KiB always has room
            "use_aiofastnet": False,
            "logger_name": "picows",
        }

        async def connect() -> tuple[Any, MemoryTransport]:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, CatchingLoop)
            if role is Role.SERVER:
                await picows.ws_create_server(lambda request: listener(), "localhost", 0, **options)
            else:
                try:
                    await picows.ws_connect(listener, "ws://localhost/", **options)
                except ConnectionAbortedError:
                    pass
            protocol, transport = loop.factory(), MemoryTransport()
            protocol.connection_made(transport)
            self.receive(protocol, REQUEST if role is Role.SERVER else answer(transport.take_sent()))
            transport.sent.clear()
            return protocol, transport

        logging.getLogger("picows").setLevel(logging.WARNING)
        with asyncio.Runner(loop_factory=CatchingLoop) as runner:
            return runner.run(connect())

    @staticmethod
    def receive(protocol: Any, data: bytes) -> float:
        """Copy as a socket would, into the available room; return the seconds that the copy took."""
        seconds = 0.0
        view = memoryview(data)
        while view:
            buffer = protocol.get_buffer(-1)
            start = time.perf_counter()
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            view = view[size:]
            seconds += time.perf_counter() - start
            protocol.buffer_updated(size)
        return seconds

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair:
        from picows import WSListener, WSMsgType

        text_type, binary_type = WSMsgType.TEXT, WSMsgType.BINARY

        class Listener(WSListener):
            message: Payload

            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                kind = frame.msg_type
                if kind is text_type:
                    self.message = frame.get_payload_as_utf8_text()
                elif kind is binary_type:
                    self.message = frame.get_payload_as_bytes()

        class TextListener(WSListener):
            message: Payload

            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                self.message = frame.get_payload_as_utf8_text()

        class BinaryListener(WSListener):
            message: Payload

            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                self.message = frame.get_payload_as_bytes()

        base = Listener if not self.kind_known else TextListener if text else BinaryListener
        messages: list[Payload] = []

        class CheckedListener(base):  # type: ignore[misc, valid-type]
            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                super().on_ws_frame(transport, frame)
                messages.append(self.message)

        timed, _ = self.connect(role, base)
        checked, _ = self.connect(role, CheckedListener)

        def check() -> list[Payload]:
            messages.clear()
            for chunk in chunks:
                self.receive(checked, chunk)
            return messages

        return PicowsReader(self.receive, timed, chunks), check

    def encode(self, role: Role, payload: Payload) -> Pair | None:
        if self.kind_known:
            return None
        from picows import WSListener, WSMsgType

        protocol, transport = self.connect(role, WSListener)
        kind = WSMsgType.TEXT if isinstance(payload, str) else WSMsgType.BINARY
        send = protocol.transport.send

        def run() -> None:
            for _ in repeat(None, N_ENCODED):
                send(kind, payload)

        def check() -> bytes:
            transport.sent.clear()
            send(kind, payload)
            return transport.take_sent()

        return run, check


class PicowsReader:
    """Like InPlaceReader."""

    def __init__(self, receive: Callable[[Any, bytes], float], protocol: Any, chunks: list[bytes]) -> None:
        self.receive = receive
        self.protocol = protocol
        self.chunks = chunks
        self.seconds_excluded = 0.0

    def __call__(self) -> None:
        for chunk in self.chunks:
            self.seconds_excluded += self.receive(self.protocol, chunk)


# --- aiohttp ---


class Aiohttp(PeerCodec):
    needs = "aiohttp"
    note = (
        "aiohttp: WebSocketReader and its queue, read by a coroutine that never has to wait; WebSocketWriter"
    )

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair:
        from aiohttp._websocket.reader import WebSocketDataQueue
        from aiohttp.base_protocol import BaseProtocol
        from aiohttp.http_websocket import WebSocketReader

        loop = asyncio.new_event_loop()
        queue = WebSocketDataQueue(BaseProtocol(loop), 1 << 30, loop=loop)
        reader = WebSocketReader(queue, 1 << 30, False, True)
        loop.close()
        # The number of messages that each chunk completes: the reader tells it when it has to wait.
        counts = []
        for chunk in chunks:
            reader.feed_data(chunk)
            counts.append(len(queue._buffer))
            queue._buffer.clear()
        plan = list(zip(chunks, counts, strict=True))

        async def take(messages: list[Payload] | None = None) -> None:
            feed_data, read = reader.feed_data, queue.read
            for chunk, n_complete in plan:
                feed_data(chunk)
                for _ in repeat(None, n_complete):
                    message = (await read()).data
                    if messages is not None:
                        messages.append(message)

        def check() -> list[Payload]:
            messages: list[Payload] = []
            complete(take(messages))
            return messages

        return lambda: complete(take()), check

    def encode(self, role: Role, payload: Payload) -> Pair:
        from aiohttp import WSMsgType
        from aiohttp.base_protocol import BaseProtocol
        from aiohttp.http_websocket import WebSocketWriter

        loop = asyncio.new_event_loop()
        protocol, transport = BaseProtocol(loop), MemoryTransport()
        send_frame = WebSocketWriter(protocol, transport, use_mask=role is Role.CLIENT).send_frame
        loop.close()

        async def send(n_messages: int) -> None:
            if isinstance(payload, str):
                for _ in repeat(None, n_messages):
                    await send_frame(payload.encode(), WSMsgType.TEXT)
            else:
                for _ in repeat(None, n_messages):
                    await send_frame(payload, WSMsgType.BINARY)

        def check() -> bytes:
            transport.sent.clear()
            complete(send(1))
            return transport.take_sent()

        return lambda: complete(send(N_ENCODED)), check


def complete(coroutine: Any) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the coroutine waits")


# --- websockets, wsproto ---


class Websockets(PeerCodec):
    needs = "websockets"
    note = "websockets: ServerProtocol and ClientProtocol"

    def protocol(self, role: Role) -> Any:
        from websockets.client import ClientProtocol
        from websockets.protocol import OPEN
        from websockets.server import ServerProtocol
        from websockets.uri import parse_uri

        if role is Role.SERVER:
            return ServerProtocol(state=OPEN, max_size=None)
        return ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair:
        protocol = self.protocol(role)
        receive_data, events_received = protocol.receive_data, protocol.events_received

        def run() -> None:
            for chunk in chunks:
                receive_data(chunk)
                for frame in events_received():
                    frame.data.decode() if text else frame.data

        def check() -> list[Payload]:
            messages = []
            for chunk in chunks:
                receive_data(chunk)
                messages += [
                    frame.data.decode() if text else bytes(frame.data) for frame in events_received()
                ]
            return messages

        return run, check

    def encode(self, role: Role, payload: Payload) -> Pair:
        protocol = self.protocol(role)
        send_text, send_binary, data_to_send = protocol.send_text, protocol.send_binary, protocol.data_to_send

        def run() -> None:
            if isinstance(payload, str):
                for _ in repeat(None, N_ENCODED):
                    send_text(payload.encode())
                    data_to_send()
            else:
                for _ in repeat(None, N_ENCODED):
                    send_binary(payload)
                    data_to_send()

        def check() -> bytes:
            if isinstance(payload, str):
                send_text(payload.encode())
            else:
                send_binary(payload)
            return b"".join(data_to_send())

        return run, check


class Wsproto(PeerCodec):
    needs = "wsproto"
    note = "wsproto: Connection"

    def connection(self, role: Role) -> Any:
        from wsproto.connection import Connection, ConnectionType

        return Connection(ConnectionType.SERVER if role is Role.SERVER else ConnectionType.CLIENT)

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair:
        connection = self.connection(role)
        empty: Payload = "" if text else b""

        def take(messages: list[Payload] | None = None) -> None:
            parts: list[Payload] = []
            for chunk in chunks:
                connection.receive_data(chunk)
                for event in connection.events():
                    if event.message_finished and not parts:
                        message = event.data if text else bytes(event.data)
                    else:
                        parts.append(event.data)
                        if not event.message_finished:
                            continue
                        message = empty.join(parts)
                        parts = []
                    if messages is not None:
                        messages.append(message)

        def check() -> list[Payload]:
            messages: list[Payload] = []
            take(messages)
            return messages

        return take, check

    def encode(self, role: Role, payload: Payload) -> Pair:
        from wsproto.events import BytesMessage, TextMessage

        send, event_class = (
            self.connection(role).send,
            TextMessage if isinstance(payload, str) else BytesMessage,
        )

        def run() -> None:
            for _ in repeat(None, N_ENCODED):
                send(event_class(data=payload))

        return run, lambda: send(event_class(data=payload))


# --- autobahn ---


class Autobahn(PeerCodec):
    needs = "autobahn"
    note = "autobahn: its asyncio protocol and onMessage(), without the turn of the loop that it waits for; with NVX"

    def connect(
        self, role: Role, on_message: Callable[[Any, bytes, bool], None]
    ) -> tuple[Any, MemoryTransport]:
        import txaio

        txaio.use_asyncio()
        from autobahn.asyncio import websocket

        base, factory_class = (
            (websocket.WebSocketServerProtocol, websocket.WebSocketServerFactory)
            if role is Role.SERVER
            else (websocket.WebSocketClientProtocol, websocket.WebSocketClientFactory)
        )
        opened = asyncio.Event()
        methods = {"onMessage": on_message, "onOpen": lambda self: opened.set()}
        protocol_class = type("Protocol", (base,), methods)

        async def connect() -> tuple[Any, MemoryTransport]:
            factory = factory_class("ws://localhost:80", loop=asyncio.get_running_loop())
            factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
            factory.protocol = protocol_class
            protocol, transport = factory(), MemoryTransport()
            protocol.connection_made(transport)
            while role is Role.CLIENT and not transport.sent:
                await asyncio.sleep(0)
            protocol._dataReceived(REQUEST if role is Role.SERVER else answer(transport.take_sent()))
            await asyncio.wait_for(opened.wait(), 5)
            transport.sent.clear()
            return protocol, transport

        return asyncio.run(connect())

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair:
        messages: list[Payload] = []

        def on_message(self: Any, payload: bytes, is_binary: bool) -> None:
            self.message = payload if is_binary else payload.decode()

        def on_checked_message(self: Any, payload: bytes, is_binary: bool) -> None:
            on_message(self, payload, is_binary)
            messages.append(self.message)

        timed, _ = self.connect(role, on_message)
        checked, _ = self.connect(role, on_checked_message)

        def run() -> None:
            receive = timed._dataReceived
            for chunk in chunks:
                receive(chunk)

        def check() -> list[Payload]:
            messages.clear()
            for chunk in chunks:
                checked._dataReceived(chunk)
            return messages

        return run, check

    def encode(self, role: Role, payload: Payload) -> Pair:
        protocol, transport = self.connect(role, lambda self, payload, is_binary: None)
        send = protocol.sendMessage

        def run() -> None:
            if isinstance(payload, str):
                for _ in repeat(None, N_ENCODED):
                    send(payload.encode(), False)
            else:
                for _ in repeat(None, N_ENCODED):
                    send(payload, True)

        def check() -> bytes:
            transport.sent.clear()
            send(payload.encode() if isinstance(payload, str) else payload, isinstance(payload, bytes))
            return transport.take_sent()

        return run, check


PEER_CODECS: dict[str, PeerCodec] = {
    "picows": Picows(),
    "picows, kind known": Picows(kind_known=True),
    "aiohttp": Aiohttp(),
    "websockets": Websockets(),
    "autobahn": Autobahn(),
    "wsproto": Wsproto(),
}
