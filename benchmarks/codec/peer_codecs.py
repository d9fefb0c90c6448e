"""Codecs without a socket, ours among them: for ``peers.py``.

``decode`` takes chunks of frames, ``encode`` a message. Both return an operation to time, and one to check first.
``peer_packages.py`` has the codecs of other packages.
"""

from __future__ import annotations

import time
from itertools import repeat
from typing import Any

from wsfast.events import Role

from ..common.cases import Operation, Payload, load
from ..common.machine import version_of

Pair = tuple[Operation, Operation]

N_ENCODED = 100  # messages per call of the operation that ``encode`` returns


class PeerCodec:
    """A codec. ``needs`` is its package, ``note`` says how it is used."""

    needs: str | None = None
    note = ""

    def available(self) -> bool:
        return self.needs is None or bool(version_of(self.needs))

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair | None:
        """To time: take all messages of ``chunks``. To check: the same, returning them in a list.

        None, here and below: this codec cannot do it.
        """

    def encode(self, role: Role, payload: Payload) -> Pair | None:
        """To time: encode ``payload`` N_ENCODED times. To check: the bytes of one frame."""


class Wsfast(PeerCodec):
    def __init__(self, name: str) -> None:
        self.codec: Any = load(name)

    def available(self) -> bool:
        return self.codec is not None

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair:
        feed = self.codec.MessageDecoder(role, max_message_size=None).feed

        def run() -> None:
            for chunk in chunks:
                for _message in feed(chunk):
                    pass

        return run, lambda: [message for chunk in chunks for message in feed(chunk)]

    def encode(self, role: Role, payload: Payload) -> Pair:
        message = self.codec.FrameEncoder(role).message

        def run() -> None:
            for _ in repeat(None, N_ENCODED):
                message(payload)

        return run, lambda: message(payload)


class WsfastInPlace(Wsfast):
    """Long payloads, received in place. Short ones are left out, because ``Wsfast`` handles them in the same way."""

    note = "wsfast, in place: get_buffer() and buffer_updated(); the copy into the buffer is not counted"

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair | None:
        if n_messages > 1:
            return None
        reader = InPlaceReader(self.codec.MessageDecoder(role, max_message_size=None), chunks)

        def check() -> list[Payload]:
            return [message for chunk in chunks for message in reader.receive(chunk)]

        return reader, check

    def encode(self, role: Role, payload: Payload) -> None:
        return None


class InPlaceReader:
    """The socket's copy into the buffer is not counted: the other codecs have their bytes already, too."""

    def __init__(self, decoder: Any, chunks: list[bytes]) -> None:
        self.decoder = decoder
        self.chunks = chunks
        self.seconds_excluded = 0.0

    def __call__(self) -> None:
        for chunk in self.chunks:
            for _message in self.receive(chunk):
                pass

    def receive(self, chunk: bytes) -> list[Payload]:
        messages: list[Payload] = []
        view = memoryview(chunk)
        while view:
            buffer = self.decoder.get_buffer()
            if buffer is None:
                return messages + self.decoder.feed(view)
            start = time.perf_counter()
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            view = view[size:]
            self.seconds_excluded += time.perf_counter() - start
            messages += self.decoder.buffer_updated(size)
        return messages


class WsfastBytes(Wsfast):
    note = 'wsfast, text="bytes": text messages as the bytes of their UTF-8, checked'

    def decode(self, role: Role, text: bool, chunks: list[bytes], n_messages: int) -> Pair | None:
        if not text:
            return None
        feed = self.codec.MessageDecoder(role, max_message_size=None, text="bytes").feed

        def run() -> None:
            for chunk in chunks:
                for _message in feed(chunk):
                    pass

        return run, lambda: [bytes.decode(message) for chunk in chunks for message in feed(chunk)]

    def encode(self, role: Role, payload: Payload) -> None:
        return None


OWN_CODECS: dict[str, PeerCodec] = {
    "wsfast": Wsfast("native"),
    "wsfast, in place": WsfastInPlace("native"),
    'wsfast, text="bytes"': WsfastBytes("native"),
    "wsfast fallback": Wsfast("fallback"),
}
