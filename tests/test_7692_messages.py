"""RFC 7692 6, 7.2: compressed messages, received by both codecs and sent in both roles.

zlib itself makes the received messages, or the RFC gives them; zlib itself reads the sent ones.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    Wire,
    assert_decodes,
    assert_fails,
    failure_position,
    join,
    parse_frame,
    same,
    shown,
    splits,
)

from wsfast import faults
from wsfast.codec import FrameEncoder
from wsfast.deflate import Agreement, Deflate, Deflater, Inflater, accept
from wsfast.events import Close, Event, Failure, Ping, Role

TAIL = b"\x00\x00\xff\xff"
RSV1, RSV2, RSV3 = 4, 2, 1
INFLATE_FAILED = Failure(1007, "compressed message cannot be inflated", "RFC 7692 7.2.2")
NOT_UTF8 = Failure(1007, "text message is not valid UTF-8", "8.1")

ENGINES = ["zlib", "zlib-ng", "isal"]

TAKEOVER = "permessage-deflate; server_max_window_bits=15"
NO_TAKEOVER = TAKEOVER + "; server_no_context_takeover; client_no_context_takeover"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param != "zlib":
        pytest.importorskip({"zlib-ng": "zlib_ng", "isal": "isal"}[request.param])
    return request.param


def agree(parameters: str = TAKEOVER, **config: Any) -> Agreement:
    """15 bits in both directions, unless told otherwise."""
    config = {"server_max_window_bits": 15, **config}
    agreement = accept([parameters], Deflate(**config))
    assert agreement is not None
    return agreement


class Compressor:
    """A peer's: makes payloads with zlib, as RFC 7692 7.2.1 says."""

    def __init__(self, bits: int = 15) -> None:
        self.context = zlib.compressobj(wbits=-bits)

    def flushed(self, data: bytes | str) -> bytes:
        payload = data.encode() if isinstance(data, str) else data
        return self.context.compress(payload) + self.context.flush(zlib.Z_SYNC_FLUSH)

    def payload(self, data: bytes | str) -> bytes:
        flushed = self.flushed(data)
        assert flushed.endswith(TAIL)
        return flushed[:-4]


def assert_inflates(
    codec: ModuleType,
    peer: Peer,
    stream: bytes,
    events: list[Event],
    failure: Failure | None = None,
    agreement: Agreement | None = None,
    **options: Any,
) -> None:
    """As ``assert_decodes``, with a new ``Inflater`` for each way in which the stream is cut."""
    for chunks in splits(stream):
        inflate = Inflater(peer.role, agreement or agree()).inflate
        decoder = codec.MessageDecoder(peer.role, inflate=inflate, **options)
        got = [event for chunk in chunks for event in decoder.feed(chunk)]
        assert same(got, events), f"{shown(chunks)}: {got!r:.500} instead of {events!r:.500}"
        assert decoder.failure == failure, shown(chunks)


# Receiving: the examples of the RFC

HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")

EXAMPLES = [
    ("7.2.3.1, in one frame", [HELLO]),
    ("7.2.3.1, in two fragments", [HELLO[:3], HELLO[3:]]),
    ("7.2.3.1, in empty fragments too", [b"", HELLO[:3], b"", HELLO[3:], b""]),
    ("7.2.3.3, a block without compression", [bytes.fromhex("00 05 00 fa ff 48 65 6c 6c 6f 00")]),
    ("7.2.3.4, a final block", [bytes.fromhex("f3 48 cd c9 c9 07 00 00")]),
    ("7.2.3.4, behind which the empty block is missing", [bytes.fromhex("f3 48 cd c9 c9 07 00")]),
    ("7.2.3.4, in two fragments", [bytes.fromhex("f3 48 cd c9 c9 07 00"), b"\x00"]),
    ("7.2.3.4, with an empty fragment at the end", [bytes.fromhex("f3 48 cd c9 c9 07 00"), b""]),
    ("7.2.3.5, two blocks", [bytes.fromhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00")]),
]


@pytest.mark.parametrize(
    "payloads", [payloads for _, payloads in EXAMPLES], ids=[name for name, _ in EXAMPLES]
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_examples_of_the_rfc(codec: ModuleType, peer: Peer, opcode: int, payloads: list[bytes]) -> None:
    """RFC 7692 7.2.3: "Hello", each way; twice, and then a message with a context of its own."""
    frames: list[Wire] = []
    for pos, payload in enumerate(payloads):
        fin = pos == len(payloads) - 1
        first = opcode if pos == 0 else CONTINUATION
        frames.append(peer.frame(first, payload, fin=fin, rsv=RSV1 if pos == 0 else 0))
    message: Any = "Hello" if opcode == TEXT else b"Hello"
    stream = join(*frames, *frames, peer.frame(opcode, Compressor().payload("Hello"), rsv=RSV1))
    assert_inflates(codec, peer, stream, [message] * 3)
    assert_inflates(codec, peer, stream, [message] * 3, agreement=agree(NO_TAKEOVER))


def test_example_of_a_shared_window(codec: ModuleType, peer: Peer) -> None:
    """RFC 7692 7.2.3.2: the second "Hello" refers to the first."""
    second = peer.frame(TEXT, bytes.fromhex("f2 00 11 00 00"), rsv=RSV1)
    stream = join(peer.frame(TEXT, HELLO, rsv=RSV1), second)
    assert_inflates(codec, peer, stream, ["Hello", "Hello"])
    assert_inflates(codec, peer, stream, ["Hello"], INFLATE_FAILED, agree(NO_TAKEOVER))


@pytest.mark.parametrize(
    "payload", [b"\x00", b"\x02\x00", b"\x03\x00", b"\x03\x00\x00", b"", b"\x00\x00\x00\xff\xff\x00"]
)
def test_an_empty_message(codec: ModuleType, peer: Peer, payload: bytes) -> None:
    """RFC 7692 7.2.3.6: one octet 00. Some senders have another empty block, a final one, or none."""
    compressor = Compressor()
    before, after = compressor.payload("before"), compressor.payload("before, after")
    empty = peer.frame(TEXT, payload, rsv=RSV1)
    stream = join(peer.frame(TEXT, before, rsv=RSV1), empty, peer.frame(BINARY, payload, rsv=RSV1))
    assert_inflates(codec, peer, stream, ["before", "", b""])
    if not payload.startswith(b"\x03"):  # a final block ends what the next could refer to
        assert_inflates(
            codec, peer, join(stream, peer.frame(TEXT, after, rsv=RSV1)), ["before", "", b"", "before, after"]
        )


# Receiving: messages and frames


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_messages_of_all_sizes_and_kinds(codec: ModuleType, peer: Peer, bits: int) -> None:
    """RFC 7692 7.2.2: with the context of all before; beyond the steps of 4 KiB in and 8 KiB out."""
    choose = random.Random(bits)
    compressor = Compressor(bits)
    messages: list[Any] = []
    frames: list[Wire] = []
    for size in (0, 1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 16_384, 50_000, 100_000):
        texts: list[Any] = [bytes(size), choose.randbytes(size), (b"0123456789" * size)[:size]]
        texts += ["x" * size, "".join(choose.choice("가나다라 abc\n😀é") for _ in range(size))]
        for message in texts:
            messages.append(message)
            opcode = TEXT if isinstance(message, str) else BINARY
            frames.append(peer.frame(opcode, compressor.payload(message), rsv=RSV1))
    stream = join(*frames)
    parameters = f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}"
    for chunk_size in (len(stream), 65_536, 4096, 1000, 7):
        inflate = Inflater(peer.role, agree(parameters, client_max_window_bits=bits)).inflate
        decoder = codec.MessageDecoder(peer.role, inflate=inflate)
        got: list[Event] = []
        for start in range(0, len(stream), chunk_size):
            got += decoder.feed(stream[start : start + chunk_size])
        assert decoder.failure is None
        assert got == messages


def test_each_engine_inflates(codec: ModuleType, peer: Peer, engine: str) -> None:
    """RFC 7692 7.2.2: zlib's interface is theirs."""
    compressor = Compressor()
    messages = [b"a" * 100_000, b"", random.Random(1).randbytes(20_000), b"a" * 8192, b"a" * 8193, b"b"]
    frames = [peer.frame(BINARY, compressor.payload(message), rsv=RSV1) for message in messages]
    final = peer.frame(BINARY, bytes.fromhex("f3 48 cd c9 c9 07 00 00"), rsv=RSV1)
    stream = join(*frames, final, final)
    assert_inflates(codec, peer, stream, [*messages, b"Hello", b"Hello"], agreement=agree(engine=engine))
    bad = join(frames[0], peer.frame(BINARY, b"\xff" * 10, rsv=RSV1))
    assert_inflates(codec, peer, bad, messages[:1], INFLATE_FAILED, agree(engine=engine))


def test_fragments_of_a_compressed_message_may_be_cut_anywhere(codec: ModuleType, peer: Peer) -> None:
    """RFC 7692 6.1: fragments are made of what was compressed, without regard to blocks or characters."""
    compressor = Compressor()
    message = "가나다라 " * 20 + "😀"
    for n_bytes in (1, 2, 3, 7, 50):
        payload = compressor.payload(message)
        pieces = [payload[start : start + n_bytes] for start in range(0, len(payload), n_bytes)]
        frames = [peer.frame(TEXT, pieces[0], fin=len(pieces) == 1, rsv=RSV1)]
        for pos, piece in enumerate(pieces[1:], 2):
            frames.append(peer.frame(CONTINUATION, piece, fin=pos == len(pieces)))
        compressor = Compressor()
        assert_inflates(codec, peer, join(*frames), [message])


def test_control_frames_and_plain_messages_between(codec: ModuleType, peer: Peer) -> None:
    """RFC 7692 6: a message without RSV1 is not compressed, and the context knows nothing of it (7.2.1)."""
    compressor = Compressor()
    first, second = compressor.payload("one two three"), compressor.payload("one two three four")
    stream = join(
        peer.frame(TEXT, first[:4], fin=False, rsv=RSV1),
        peer.frame(PING, b"now"),
        peer.frame(CONTINUATION, first[4:]),
        peer.frame(TEXT, "plain"),
        peer.frame(BINARY, b"pla", fin=False),
        peer.frame(CONTINUATION, b"in"),
        peer.frame(TEXT, second, rsv=RSV1),
        peer.frame(CLOSE, b"\x03\xe8"),
    )
    events: list[Event] = [
        Ping(b"now"),
        "one two three",
        "plain",
        b"plain",
        "one two three four",
        Close(1000),
    ]
    assert_inflates(codec, peer, stream, events)


def test_text_as_bytes(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1: checked, and delivered as it came."""
    compressor = Compressor()
    short, long = "가나다", "가나다" * 10_000
    frames = [peer.frame(TEXT, compressor.payload(message), rsv=RSV1) for message in (short, long)]
    assert_inflates(codec, peer, join(*frames), [short.encode(), long.encode()], text="bytes")
    bad = peer.frame(TEXT, Compressor().payload(b"\xff"), rsv=RSV1)
    assert_inflates(codec, peer, bad, [], NOT_UTF8, text="bytes")


@pytest.mark.parametrize(
    ("opcode", "rsv", "failure"),
    [
        (TEXT, RSV2, faults.reserved_bits(RSV2)),
        (BINARY, RSV1 | RSV2, faults.reserved_bits(RSV2)),
        (TEXT, RSV1 | RSV2 | RSV3, faults.reserved_bits(RSV2 | RSV3)),
        (PING, RSV1, faults.reserved_bits(RSV1)),
        (PONG, RSV1 | RSV3, faults.reserved_bits(RSV1 | RSV3)),
        (CLOSE, RSV1, faults.reserved_bits(RSV1)),
        (3, RSV1, faults.reserved_opcode(3)),
        (3, 0, faults.reserved_opcode(3)),
    ],
)
def test_bits_that_the_extension_does_not_define(
    codec: ModuleType, peer: Peer, opcode: int, rsv: int, failure: Failure
) -> None:
    """RFC 6455 5.2, RFC 7692 6: RSV1, and on data frames only."""
    good = peer.frame(TEXT, HELLO, rsv=RSV1)
    assert_inflates(codec, peer, join(good, peer.frame(opcode, b"x", rsv=rsv)), ["Hello"], failure)


@pytest.mark.parametrize("compressed", [True, False])
def test_rsv1_on_a_continuation_fails_1002(codec: ModuleType, peer: Peer, compressed: bool) -> None:
    """RFC 7692 6.1: the first frame says it, for all of the message."""
    first = peer.frame(BINARY, HELLO[:3], fin=False, rsv=RSV1 if compressed else 0)
    bad = join(first, peer.frame(CONTINUATION, HELLO[3:], rsv=RSV1))
    failure = Failure(1002, "RSV1 set on a continuation frame", "RFC 7692 6.1")
    assert_inflates(codec, peer, bad, [], failure)
    both = join(first, peer.frame(CONTINUATION, HELLO[3:], rsv=RSV1 | RSV3))
    assert_inflates(codec, peer, both, [], faults.reserved_bits(RSV3))
    assert_inflates(codec, peer, peer.frame(CONTINUATION, b"", rsv=RSV1), [], failure)


def test_without_an_inflater_rsv1_is_a_fault(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2."""
    assert_fails(codec, peer, peer.frame(TEXT, HELLO, rsv=RSV1), faults.reserved_bits(RSV1))
    stream = join(peer.frame(TEXT, "a", fin=False), peer.frame(CONTINUATION, HELLO, rsv=RSV1))
    assert_decodes(codec, peer, stream, [], faults.reserved_bits(RSV1))


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff" * 10,  # a block of type 3
        b"\x00\x05\x00\xfa\xfeHello\x00",  # a length that is not the complement of the other
        bytes.fromhex("f2 00 11 00 00"),  # refers to what never was
        Compressor().payload(b"m" * 1000)[:5] + b"\xff" * 10,
    ],
)
def test_what_is_no_deflate_fails_1007(codec: ModuleType, peer: Peer, payload: bytes) -> None:
    """RFC 7692 7.2.2, RFC 6455 7.4.1; what came before it is delivered."""
    good = peer.frame(TEXT, "ok")
    stream = join(good, peer.frame(BINARY, payload, rsv=RSV1))
    assert_inflates(codec, peer, stream, ["ok"], INFLATE_FAILED)


def test_a_window_beyond_the_agreement_fails_1007(codec: ModuleType, peer: Peer) -> None:
    """RFC 7692 7.1.2: what lies further back than the window is gone, if the peer does not keep to it."""
    compressor, data = Compressor(15), random.Random(3).randbytes(2000)
    stream = join(*(peer.frame(BINARY, compressor.payload(data), rsv=RSV1) for _ in range(2)))
    assert_inflates(codec, peer, stream, [data, data])
    agreement = agree(
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9", client_max_window_bits=9
    )
    assert_inflates(codec, peer, stream, [data], INFLATE_FAILED, agreement)


def test_a_window_of_8_bits_is_inflated(codec: ModuleType) -> None:
    """RFC 7692 7.1.2.2: zlib, which makes 9 of 8, looks back 250 bytes at most then."""
    agreement = agree("permessage-deflate; client_max_window_bits=8", client_max_window_bits=8)
    assert agreement.client_max_window_bits == 8
    peer = Peer(Role.SERVER)
    data, compressor = random.Random(3).randbytes(240) * 5, Compressor(9)
    stream = join(*(peer.frame(BINARY, compressor.payload(data), rsv=RSV1) for _ in range(3)))
    assert_inflates(codec, peer, stream, [data] * 3, agreement=agreement)


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82"])
def test_inflated_text_that_is_not_utf8_fails_1007(codec: ModuleType, peer: Peer, bad: bytes) -> None:
    """RFC 6455 8.1, RFC 7692 7.2.2: what comes out is what is checked."""
    for good in (b"", b"text " * 4000):
        payload = Compressor().payload(good + bad)
        assert_inflates(codec, peer, peer.frame(TEXT, payload, rsv=RSV1), [], NOT_UTF8)
        assert_inflates(codec, peer, peer.frame(BINARY, payload, rsv=RSV1), [good + bad])


def test_inflated_text_fails_fast(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1: at the bytes that bring it out, and not at the end of the message."""
    compressor = Compressor()
    start = compressor.flushed(b"good \xff bad")
    first = peer.frame(TEXT, start, fin=False, rsv=RSV1)
    decoder = codec.MessageDecoder(peer.role, inflate=Inflater(peer.role, agree()).inflate)
    position = failure_position(decoder, join(first, peer.frame(CONTINUATION, b"more")))
    assert decoder.failure == NOT_UTF8
    assert position is not None
    assert position <= len(first)


def test_a_character_may_end_in_the_next_piece(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1: across flushes, frames, and the steps of inflating."""
    compressor = Compressor()
    parts = [compressor.flushed(octet.to_bytes()) for octet in "😀é".encode()]
    parts[-1] = parts[-1][:-4]
    frames = [peer.frame(TEXT, parts[0], fin=False, rsv=RSV1)]
    frames += [peer.frame(CONTINUATION, part, fin=False) for part in parts[1:-1]]
    frames.append(peer.frame(CONTINUATION, parts[-1]))
    assert_inflates(codec, peer, join(*frames), ["😀é"])
    long = "x" * 8191 + "😀" * 5000
    assert_inflates(codec, peer, peer.frame(TEXT, Compressor().payload(long), rsv=RSV1), [long])


# The interface between decoder and inflater


def test_what_the_inflater_is_given(codec: ModuleType, peer: Peer) -> None:
    """Each piece of payload as it comes, unmasked, and once the end."""
    calls: list[tuple[bytes, bool]] = []

    def inflate(data: bytes, fin: bool) -> Iterator[bytes]:
        assert type(data) is bytes
        calls.append((data, fin))
        return iter([b"<", data, b">"] if data else [])

    decoder = codec.MessageDecoder(peer.role, inflate=inflate)
    first = peer.frame(TEXT, b"abc", fin=False, rsv=RSV1)
    empty, last = peer.frame(CONTINUATION, b"", fin=False), peer.frame(CONTINUATION, b"de")
    assert decoder.feed(join(peer.frame(TEXT, "plain"), first, empty, peer.frame(PING), last)) == [
        "plain",
        Ping(),
        "<abc><de>",
    ]
    assert calls == [(b"abc", False), (b"de", True)]
    calls.clear()
    whole = peer.frame(BINARY, b"fghi", rsv=RSV1)
    assert decoder.feed(whole[:-2]) == []
    assert decoder.feed(whole[-2:]) == [b"<fg><hi>"]
    assert calls == [(b"fg", False), (b"hi", True)]
    calls.clear()
    assert decoder.feed(join(peer.frame(BINARY, b"x", fin=False, rsv=RSV1), peer.frame(CONTINUATION))) == [
        b"<x>"
    ]
    assert calls == [(b"x", False), (b"", True)]


def test_what_the_inflater_raises(codec: ModuleType, peer: Peer) -> None:
    """A peer's fault becomes the failure; anything else is a bug, and the caller hears of it."""
    failure = Failure(1009, "enough", "10.4")

    def refuse(data: bytes, fin: bool) -> Iterator[bytes]:
        yield b"some"
        raise faults.PeerFault(failure)

    decoder = codec.MessageDecoder(peer.role, inflate=refuse)
    assert decoder.feed(join(peer.frame(TEXT, "ok"), peer.frame(TEXT, b"x", rsv=RSV1))) == ["ok"]
    assert decoder.failure is failure
    assert decoder.has_control

    def break_down(data: bytes, fin: bool) -> Iterator[bytes]:
        raise KeyError("a bug")

    decoder = codec.MessageDecoder(peer.role, inflate=break_down)
    with pytest.raises(KeyError, match="a bug"):
        decoder.feed(peer.frame(TEXT, b"x", rsv=RSV1))


def test_an_inflater_is_a_function(codec: ModuleType) -> None:
    with pytest.raises(TypeError, match="inflate"):
        codec.MessageDecoder(Role.SERVER, inflate="zlib")


@pytest.mark.parametrize("seed", range(40))
def test_both_codecs_agree_on_random_streams(
    codecs: tuple[ModuleType, ModuleType], peer: Peer, seed: int
) -> None:
    """RFC 7692 6, 7.2.2: in events and failures, over legal streams and such as were damaged."""
    choose = random.Random(seed)
    compressor = Compressor(choose.choice([9, 15]))
    frames: list[bytes] = []
    for _ in range(choose.randrange(1, 12)):
        data = choose.choice(
            [b"text " * choose.randrange(3000), choose.randbytes(choose.randrange(3000)), b""]
        )
        opcode = choose.choice([TEXT, BINARY, PING])
        if opcode == PING:
            frames.append(peer.frame(PING, data[:125]))
            continue
        compressed = choose.random() < 0.8
        payload = compressor.payload(data) if compressed else data
        places = sorted(choose.randrange(len(payload) + 1) for _ in range(choose.choice([0, 0, 1, 3])))
        edges = [0, *places, len(payload)]
        for pos, (start, end) in enumerate(itertools.pairwise(edges)):
            rsv = RSV1 if compressed and pos == 0 else 0
            if choose.random() < 0.02:
                rsv ^= choose.randrange(1, 8)
            frames.append(
                peer.frame(
                    opcode if pos == 0 else CONTINUATION,
                    payload[start:end],
                    fin=end is edges[-1] and pos == len(edges) - 2,
                    rsv=rsv,
                )
            )
    stream = bytearray(b"".join(frames))
    if choose.random() < 0.5 and stream:
        stream[choose.randrange(len(stream))] ^= 1 << choose.randrange(8)
    limits = {
        "max_message_size": choose.choice([None, 0, 1000, 5000, 2**20]),
        "max_fragments": choose.choice([None, 2, 100]),
    }
    agreement = agree(choose.choice([TAKEOVER, NO_TAKEOVER]))
    for chunk_size in (len(stream) or 1, 1000, 3):
        outcomes = []
        for codec in codecs:
            inflate = Inflater(peer.role, agreement).inflate
            decoder = codec.MessageDecoder(peer.role, inflate=inflate, **limits)
            got: list[Event] = []
            for start in range(0, len(stream), chunk_size):
                got += decoder.feed(stream[start : start + chunk_size])
            outcomes.append((got, decoder.failure))
        # Which of two faults close to each other is met first depends on the chunks, and not on the codec.
        assert outcomes[0] == outcomes[1], f"seed {seed}"


# Sending


@pytest.fixture
def make(codec: ModuleType) -> Any:
    def make(
        role: Role = Role.SERVER, parameters: str = TAKEOVER, random_bytes: Any = None, **config: Any
    ) -> FrameEncoder:
        deflate = Deflater(role, agree(parameters, **config))
        encoder: FrameEncoder = codec.FrameEncoder(role, random_bytes=random_bytes, deflate=deflate)
        return encoder

    return make


class Reader:
    """A peer: reads frames with the websockets package and inflates with zlib (RFC 7692 7.2.2)."""

    def __init__(self, role: Role, bits: int = 15, takeover: bool = True) -> None:
        self.role = role
        self.bits = bits
        self.takeover = takeover
        self.context = zlib.decompressobj(wbits=-bits)

    def read(self, *frames: bytes) -> tuple[int, bytes, bool]:
        """Return opcode and payload of a message, and whether it was compressed."""
        parsed = [parse_frame(data, self.role) for data in frames]
        assert [one.fin for one in parsed] == [False] * (len(parsed) - 1) + [True]
        assert not any(one.rsv1 for one in parsed[1:])  # 6.1
        assert not any(one.rsv2 or one.rsv3 for one in parsed)
        assert all(one.opcode == CONTINUATION for one in parsed[1:])
        payload = b"".join(bytes(one.data) for one in parsed)
        if parsed[0].rsv1:
            if not self.takeover:
                self.context = zlib.decompressobj(wbits=-self.bits)
            payload = self.context.decompress(payload + TAIL)
            assert not self.context.eof
        return parsed[0].opcode, payload, parsed[0].rsv1


@pytest.mark.parametrize("role", list(Role))
def test_examples_of_the_rfc_are_what_is_sent(make: Any, role: Role) -> None:
    """RFC 7692 7.2.3.1, 7.2.3.2, 7.2.3.6."""
    encoder = make(role)
    payloads = [
        bytes(parse_frame(encoder.message(text, compress=True), role).data) for text in ("Hello", "Hello", "")
    ]
    assert payloads == [HELLO, bytes.fromhex("f2 00 11 00 00"), b"\x00"]
    encoder = make(role, NO_TAKEOVER)
    payloads = [
        bytes(parse_frame(encoder.message(text, compress=True), role).data) for text in ("Hello", "Hello", "")
    ]
    assert payloads == [HELLO, HELLO, b"\x00"]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("parameters", [TAKEOVER, NO_TAKEOVER])
def test_messages_and_fragments_of_all_sizes(make: Any, engine: str, role: Role, parameters: str) -> None:
    """RFC 7692 7.2.1: whatever was sent before."""
    choose = random.Random(7)
    encoder = make(role, parameters, engine=engine)
    reader = Reader(role, takeover=parameters is TAKEOVER)
    for _ in range(150):
        size = choose.choice([0, 1, 5, 126, 3000, 8192, 16_384, 70_000])
        data = choose.choice(
            [bytes(size), choose.randbytes(size), (b'{"key":"value"},' * (size // 16 + 1))[:size]]
        )
        if choose.random() < 0.6:
            assert reader.read(encoder.message(data, compress=True)) == (BINARY, data, True)
            continue
        places = sorted(choose.randrange(size + 1) for _ in range(choose.choice([1, 2, 5])))
        edges = [0, *places, size]
        frames = [
            encoder.fragment(data[start:end], compress=True) for start, end in itertools.pairwise(edges)
        ]
        assert encoder.in_message
        frames.append(encoder.fragment(b"", fin=True))
        assert not encoder.in_message
        assert reader.read(*frames) == (BINARY, data, True)


def test_the_window_is_the_one_agreed_on(make: Any, engine: str) -> None:
    """RFC 7692 7.1.2.1: a peer with a window of 9 bits can inflate it."""
    encoder = make(parameters="permessage-deflate; server_max_window_bits=9", engine=engine)
    reader = Reader(Role.SERVER, bits=9)
    data = random.Random(1).randbytes(400)
    for _ in range(20):
        assert reader.read(encoder.message(data + data[:300])) == (BINARY, data + data[:300], True)


@pytest.mark.parametrize(
    ("data", "text", "opcode"),
    [
        ("가나다" * 50, None, TEXT),
        ("가나다" * 50, False, BINARY),
        (b"abc" * 50, None, BINARY),
        ("가나다".encode() * 50, True, TEXT),
        (bytearray(b"abc" * 50), None, BINARY),
        (memoryview(b"abc" * 50), True, TEXT),
        (memoryview(b"abcdefgh" * 50).cast("Q"), None, BINARY),
    ],
)
def test_types_of_messages(make: Any, data: Any, text: bool | None, opcode: int) -> None:
    """RFC 6455 5.6: as without compression."""
    payload = data.encode() if isinstance(data, str) else bytes(memoryview(data).cast("B"))
    encoder, reader = make(), Reader(Role.SERVER)
    assert reader.read(encoder.message(data, text)) == (opcode, payload, True)
    assert reader.read(encoder.fragment(data, True, text)) == (opcode, payload, True)


@pytest.mark.parametrize("call", ["message", "fragment"])
@pytest.mark.parametrize(
    ("data", "compress", "expected"),
    [
        (b"m" * 99, None, False),
        (b"m" * 100, None, True),
        ("é" * 49, None, False),
        ("é" * 50, None, True),  # the threshold is in bytes
        (b"", None, False),
        (b"", True, True),
        (b"m", True, True),
        (b"m" * 1000, False, False),
    ],
)
def test_what_is_compressed(make: Any, call: str, data: Any, compress: bool | None, expected: bool) -> None:
    """RFC 7692 6: a sender is free to; the threshold decides unless the caller does."""
    encoder = make(threshold=100)
    options = {"fin": True} if call == "fragment" else {}
    frame = getattr(encoder, call)(data, compress=compress, **options)
    assert Reader(Role.SERVER).read(frame)[2] is expected


def test_the_first_fragment_decides(make: Any) -> None:
    """RFC 7692 6.1."""
    encoder, reader = make(threshold=100), Reader(Role.SERVER)
    small = [encoder.fragment("a"), encoder.fragment("b" * 200), encoder.fragment("c", True, compress=True)]
    assert reader.read(*small) == (TEXT, b"a" + b"b" * 200 + b"c", False)
    large = [encoder.fragment("b" * 200), encoder.fragment("a", compress=False), encoder.fragment("", True)]
    assert reader.read(*large) == (TEXT, b"b" * 200 + b"a", True)


def test_what_does_not_shrink_is_sent_as_it_is_where_that_is_possible(make: Any) -> None:
    """RFC 7692 7.2.1: with context takeover the peer has to see it, without it need not."""
    noise = random.Random(1).randbytes(500)
    encoder, reader = make(parameters=NO_TAKEOVER), Reader(Role.SERVER, takeover=False)
    assert reader.read(encoder.message(noise)) == (BINARY, noise, False)
    assert reader.read(encoder.message(noise, compress=True)) == (BINARY, noise, True)
    encoder, reader = make(), Reader(Role.SERVER)
    assert reader.read(encoder.message(noise)) == (BINARY, noise, True)
    second = encoder.message(noise)
    assert len(second) < 100
    assert reader.read(second) == (BINARY, noise, True)


def test_messages_and_fragments_do_not_mix(make: Any) -> None:
    """RFC 6455 5.4: and a call out of order changes nothing."""
    encoder, reader = make(), Reader(Role.SERVER)
    for compress in (True, False):
        first = encoder.fragment("가"[:1], compress=compress)
        for other in (True, False, None):
            with pytest.raises(RuntimeError, match="fragmented"):
                encoder.message("x" * 1000, compress=other)
        with pytest.raises(TypeError, match="fragment"):
            encoder.fragment(b"x", compress=compress)
        assert reader.read(first, encoder.fragment("나", True)) == (TEXT, "가나".encode(), compress)


MISTAKES = [
    ("x" * 500 + "\ud800", None, UnicodeEncodeError),
    (b"x" * 500 + b"\xff", True, ValueError),
    (b"x" * 500 + "😀".encode()[:3], True, ValueError),
    (12345, None, TypeError),
    (None, None, TypeError),
    (memoryview(b"x" * 500)[::2], None, BufferError),
]


@pytest.mark.parametrize(("data", "text", "exception"), MISTAKES)
@pytest.mark.parametrize("compress", [None, True, False])
def test_mistakes_leave_the_context_as_it_was(
    make: Any, data: Any, text: bool | None, exception: type[Exception], compress: bool | None
) -> None:
    """RFC 7692 7.2.1: what was not sent must not be in the window."""
    encoder, untouched, reader = make(), make(), Reader(Role.SERVER)
    message = "x" * 500
    for _ in range(2):
        with pytest.raises(exception):
            encoder.message(data, text, compress)
        with pytest.raises(exception):
            encoder.fragment(data, True, text, compress)
        assert not encoder.in_message
        sent = encoder.message(message)
        assert sent == untouched.message(message)
        assert reader.read(sent) == (TEXT, message.encode(), True)


def test_mistakes_inside_a_message_of_fragments(make: Any) -> None:
    """RFC 6455 8.1: the bytes of a text may be cut anywhere, and a mistake can be mended."""
    encoder, reader = make(), Reader(Role.SERVER)
    octets = ("text " * 40 + "😀").encode()
    frames = [encoder.fragment(octets[:-3], text=True)]
    for _ in range(2):
        with pytest.raises(ValueError, match="UTF-8"):
            encoder.fragment(b"\xff", text=True)
        with pytest.raises(ValueError, match="UTF-8"):
            encoder.fragment("x", text=True)  # inside a character
        with pytest.raises(ValueError, match="UTF-8"):
            encoder.fragment(octets[-3:-1], True, True)  # the end is missing
        with pytest.raises(TypeError):
            encoder.fragment(12345, text=True)
    frames += [encoder.fragment(octets[-3:-2], text=True), encoder.fragment(octets[-2:], True, True)]
    assert reader.read(*frames) == (TEXT, octets, True)
    assert not encoder.in_message


def test_an_error_while_framing_leaves_nothing_in_the_window(make: Any) -> None:
    """RFC 7692 7.2.1: what was compressed and never sent would be referred to."""
    fails = False

    def random_bytes(size: int) -> bytes:
        if fails:
            raise OSError("no entropy")
        return b"\x01\x02\x03\x04"[:size]

    encoder, reader = make(Role.CLIENT, random_bytes=random_bytes), Reader(Role.CLIENT)
    known, lost = random.Random(1).randbytes(300), random.Random(2).randbytes(300)
    assert reader.read(encoder.message(known)) == (BINARY, known, True)
    fails = True
    with pytest.raises(OSError, match="entropy"):
        encoder.message(lost)
    fails = False
    for message in (lost, known, lost):
        assert reader.read(encoder.message(message)) == (BINARY, message, True)


@pytest.mark.parametrize("role", list(Role))
def test_everything_else_is_the_frame_encoders(make: Any, codec: ModuleType, role: Role) -> None:
    """RFC 7692 6: control frames are not compressed."""

    def key(size: int) -> bytes:
        return bytes(size)

    ours, theirs = make(role, random_bytes=key), codec.FrameEncoder(role, random_bytes=key)
    assert ours.role is role
    for call, arguments in [
        ("ping", (b"p" * 125,)),
        ("pong", ()),
        ("close", (1000, "bye")),
        ("close", ()),
        ("frame", (TEXT, b"m" * 1000, False, True, True, False)),
    ]:
        assert getattr(ours, call)(*arguments) == getattr(theirs, call)(*arguments)
    with pytest.raises(ValueError, match="125"):
        ours.ping(bytes(126))


def test_settings_reach_the_engine(make: Any) -> None:
    data = ("".join(chr(97 + i * i % 26) for i in range(3000))).encode()
    sizes = {level: len(make(level=level).message(data)) for level in (0, 1, 9)}
    assert sizes[0] > len(data)
    assert sizes[9] <= sizes[1] < len(data)

    calls: list[Any] = []

    class Engine:
        error = zlib.error

        def compressobj(self, *args: Any, **kwargs: Any) -> Any:
            calls.append((args, kwargs))
            return zlib.compressobj(*args, **kwargs)

        def decompressobj(self, *args: Any) -> Any:
            calls.append(args)
            return zlib.decompressobj(*args)

    agreement = agree(engine=Engine(), mem_level=3, level=2, server_max_window_bits=11)
    assert calls  # to see if the settings are right
    calls.clear()
    encoder = FrameEncoder(Role.SERVER, deflate=Deflater(Role.SERVER, agreement))
    inflater = Inflater(Role.SERVER, agreement)
    assert calls == []  # contexts are made when they are used
    encoder.message(data)
    assert calls == [((2, 8, -11, 3), {})]
    assert list(inflater.inflate(HELLO, True)) == [b"Hello"]
    assert calls[1:] == [(-15,)]
    encoder.message(data)
    list(inflater.inflate(HELLO, True))
    assert len(calls) == 2


def test_an_empty_end_is_the_first_byte_of_an_empty_block(make: Any, engine: str) -> None:
    """RFC 7692 7.2.1, 7.2.3.6: also where the fragment, or message, before it ended with a flush."""
    encoder, reader = make(engine=engine), Reader(Role.SERVER)
    for _ in range(3):
        frames = [encoder.fragment(b"m" * 200), encoder.fragment(b""), encoder.fragment(b"", fin=True)]
        assert len(parse_frame(frames[-1], Role.SERVER).data) >= 1
        assert reader.read(*frames) == (BINARY, b"m" * 200, True)
        for _ in range(2):
            assert reader.read(encoder.message(b"", compress=True)) == (BINARY, b"", True)
