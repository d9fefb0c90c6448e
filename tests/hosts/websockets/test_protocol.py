"""Our sans-I/O protocols beside those of websockets: the same bytes in, in any chunks, and all that shows compared.

What shows: events, bytes to send, the state, the Close frames, and the exception that stopped the parser.
"""

from __future__ import annotations

import logging
import random
import struct
from unittest import mock

import pytest
from websockets import exceptions
from websockets.client import ClientProtocol as TheirClient
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol as TheirServer
from websockets.uri import parse_uri

import wsfast.websockets.protocol as ours
from wsfast import codec
from wsfast.websockets import ClientProtocol, ServerProtocol

URI = parse_uri("ws://test/")
KEY = b"\x37\xfa\x21\x3d"
SIDES = {"client": (TheirClient, ClientProtocol), "server": (TheirServer, ServerProtocol)}


@pytest.fixture(params=SIDES)
def side(request):
    return request.param


@pytest.fixture(autouse=True)
def known_masking_keys(monkeypatch):
    """Let both sides mask with one key, so that what they send can be compared."""
    monkeypatch.setattr("secrets.token_bytes", lambda size: (KEY * 4)[:size])
    monkeypatch.setattr(
        ours, "_new_encoder", lambda role: codec.FrameEncoder(role, random_bytes=lambda size: KEY[:size])
    )


def open_pair(side, **options):
    """Return a protocol of theirs and one of ours, both OPEN."""
    arguments = (URI,) if side == "client" else ()
    return [protocol(*arguments, state=State.OPEN, **options) for protocol in SIDES[side]]


def frame(side, opcode, payload=b"", fin=True, rsv=0, length=None):
    """Build a frame for an endpoint on ``side``. ``length``: the 7 bits and what follows, not the right ones."""
    size = len(payload)
    if length is None:
        length = (
            struct.pack("!B", size)
            if size < 126
            else struct.pack("!BH", 126, size)
            if size < 65536
            else struct.pack("!BQ", 127, size)
        )
    masked = side == "server"
    head = bytes([fin << 7 | rsv << 4 | opcode, length[0] | masked << 7]) + length[1:]
    if masked:
        head += KEY
        payload = bytes(byte ^ KEY[pos % 4] for pos, byte in enumerate(payload))
    return head + payload


def told(error):
    return None if error is None else (type(error), str(error))


def shown(protocol):
    """Return all that shows of ``protocol`` after something was received or sent."""
    events = [
        (event.opcode, bytes(event.data), event.fin, event.rsv1, event.rsv2, event.rsv3)
        for event in protocol.events_received()
    ]
    return {
        "events": events,
        "writes": [bytes(data) for data in protocol.data_to_send()],
        "state": protocol.state,
        "close": (protocol.close_rcvd, protocol.close_sent, protocol.close_rcvd_then_sent),
        "error": told(protocol.parser_exc),
        "current_size": protocol.current_size,
        "close_expected": protocol.close_expected(),
        "eof_sent": protocol.eof_sent,
    }


def receive(protocol, chunks):
    """Feed ``chunks`` and the end of the stream; return what shows, with the events of all of them."""
    events, writes = [], []
    for chunk in chunks:
        protocol.receive_data(chunk)
        seen = shown(protocol)
        events += seen["events"]
        writes += seen["writes"]
    before_eof = seen
    protocol.receive_eof()
    after_eof = shown(protocol)
    return {**before_eof, "events": events, "writes": writes}, after_eof


def compare(side, stream, splits=("whole", "bytes", "halves"), **options):
    """Feed ``stream`` to both, in several chunkings, and see that all shows the same. Return what shows."""
    result = None
    for split in splits:
        chunks = {
            "whole": [stream],
            "bytes": [stream[pos : pos + 1] for pos in range(len(stream))],
            "halves": [stream[: len(stream) // 2], stream[len(stream) // 2 :]],
            "thirds": [stream[pos : pos + 3] for pos in range(0, len(stream), 3)],
        }[split]
        theirs, mine = open_pair(side, **options)
        expected = receive(theirs, chunks)
        result = receive(mine, [bytearray(chunk) for chunk in chunks])
        assert result == expected
    return result[0]


TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_any_size(side, opcode, size):
    seen = compare(side, frame(side, opcode, b"x" * size), splits=("whole", "halves"))
    assert seen["events"] == [(opcode, b"x" * size, True, False, False, False)]


def test_events_have_the_types_of_websockets(side):
    _, mine = open_pair(side)
    mine.receive_data(frame(side, TEXT, b"x"))
    (event,) = mine.events_received()
    assert type(event) is Frame
    assert event.opcode is TEXT


def test_fragments_with_control_frames_between(side):
    """RFC 6455 5.4."""
    stream = frame(side, TEXT, b"a", fin=False) + frame(side, PING, b"p") + frame(side, CONT, b"b", fin=False)
    seen = compare(
        side, stream + frame(side, PONG, b"q") + frame(side, CONT, b"c") + frame(side, BINARY, b"d")
    )
    assert [event[0] for event in seen["events"]] == [TEXT, PING, CONT, PONG, CONT, BINARY]
    assert len(seen["writes"]) == 1


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0" + b"r" * 123])
def test_close_is_answered(side, payload):
    """RFC 6455 5.5.1. What comes behind it is discarded."""
    stream = frame(side, TEXT, b"x") + frame(side, CLOSE, payload) + frame(side, TEXT, b"y")
    seen = compare(side, stream)
    assert [event[0] for event in seen["events"]] == [TEXT, CLOSE]
    assert seen["state"] is State.CLOSING


@pytest.mark.parametrize(
    "rest", [b"\x81", b"\x81\x7f", frame("client", TEXT, b"y"), frame("server", CONT, b"y")]
)
def test_nothing_is_taken_after_a_close(side, rest):
    """Nor in the next chunks, when the first has the start of a frame after it."""
    theirs, mine = open_pair(side)
    for chunk in (frame(side, CLOSE) + rest, rest, frame(side, TEXT, b"y"), frame(side, PING)):
        for protocol in (theirs, mine):
            protocol.receive_data(chunk)
        assert shown(mine) == shown(theirs)


def test_close_inside_a_fragmented_message(side):
    seen = compare(side, frame(side, TEXT, b"a", fin=False) + frame(side, CLOSE, b"\x03\xe8"))
    assert seen["error"] == (exceptions.ProtocolError, "incomplete fragmented message")


FAULTS = {
    "incorrect masking": lambda side: frame("client" if side == "server" else "server", TEXT, b"x"),
    "invalid opcode": lambda side: frame(side, 3, b"x"),
    "reserved bits must be 0": lambda side: frame(side, TEXT, b"x", rsv=2),
    "fragmented control frame": lambda side: frame(side, PING, b"x", fin=False),
    "control frame too long": lambda side: frame(side, PING, b"x" * 126),
    "unexpected continuation frame": lambda side: frame(side, CONT, b"x"),
    "expected a continuation frame": lambda side: (
        frame(side, TEXT, b"x", fin=False) + frame(side, TEXT, b"x")
    ),
    "close frame too short": lambda side: frame(side, CLOSE, b"x"),
    "invalid status code": lambda side: frame(side, CLOSE, b"\x03\xed"),
    "invalid start byte at position 3": lambda side: frame(side, CLOSE, b"\x03\xe8abc\xff"),
    "unexpected end of data at position 0": lambda side: frame(side, CLOSE, b"\x03\xe8\xe2\x82"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_told_in_their_words(side, fault):
    """RFC 6455 5 and 7.4. The messages before it are delivered, the bytes behind it discarded."""
    stream = frame(side, TEXT, b"before") + FAULTS[fault](side) + frame(side, TEXT, b"behind")
    seen = compare(side, stream, splits=("whole", "halves"))
    assert seen["events"][0][1] == b"before"
    assert all(event[1] != b"behind" for event in seen["events"])
    assert seen["close"][1].reason == fault


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_octet_by_octet_when_they_find_it(side, fault):
    """With the same words, and at the same octet: their own parser reads the faulty frame."""
    stream = frame(side, TEXT, b"before") + FAULTS[fault](side)
    theirs, mine = open_pair(side)
    for pos in range(len(stream)):
        for protocol in (theirs, mine):
            protocol.receive_data(stream[pos : pos + 1])
        assert shown(mine) == shown(theirs)
    assert mine.parser_exc is not None


def test_a_frame_with_several_faults(side):
    """They decide which of them counts."""
    for first in range(256):
        head = bytes([first]) + frame(side, TEXT, b"x")[1:]
        compare(side, frame(side, BINARY, b"", fin=False) + head, splits=("whole", "bytes"))
        for length in (126, 127):
            swapped = frame(side, TEXT, b"x" * length)
            compare(side, bytes([first, swapped[1] ^ 0x80]) + swapped[2:])


@pytest.mark.parametrize(
    "length", [b"\x7e\x00\x01", b"\x7f\x00\x00\x00\x00\x00\x00\x00\x01", b"\x7f\x80" + bytes(7)]
)
def test_lengths_that_they_do_not_look_at_fail(side, length):
    """RFC 6455 5.2: the shortest form, and no top bit. This is the one thing in which we are stricter."""
    _, mine = open_pair(side)
    mine.receive_data(frame(side, TEXT, b"x", length=length))
    assert isinstance(mine.parser_exc, exceptions.ProtocolError)
    assert mine.close_sent.code == 1002
    assert mine.events_received() == []


@pytest.mark.parametrize("max_size", [4, (4, None), (None, 4), (8, 4), (4, 8)])
@pytest.mark.parametrize("size", [3, 4, 5, 200, 70000])
def test_size_of_one_frame(side, max_size, size):
    """RFC 6455 10.4: an oversized frame is refused from its header."""
    stream = frame(side, BINARY, b"x" * size)
    header_size = len(stream) - size - (4 if side == "server" else 0)
    seen = compare(side, stream[:header_size], max_size=max_size)
    assert (seen["error"] is not None) == (size > 4)
    compare(side, stream, splits=("whole", "halves"), max_size=max_size)


@pytest.mark.parametrize("max_size", [4, (4, None), (6, 3), (100, 3), (4, 100), None, (None, None)])
@pytest.mark.parametrize("sizes", [(2, 2), (2, 3), (3, 1, 1), (0, 0, 4), (0, 5), (1, 3, 0, 1), (4, 130)])
def test_sizes_of_fragments_add_up(side, max_size, sizes):
    """RFC 6455 5.4, 10.4: also from the header of the fragment that is too much."""
    stream = b""
    for index, size in enumerate(sizes):
        fin = index == len(sizes) - 1
        stream += frame(side, CONT if index else TEXT, b"x" * size, fin)
        stream += frame(side, PING)  # empty: they count the payload of control frames too, and we do not
    compare(side, stream, max_size=max_size)
    for end in range(1, len(stream)):
        theirs, mine = open_pair(side, max_size=max_size)
        for protocol in (theirs, mine):
            protocol.receive_data(stream[:end])
        assert shown(mine) == shown(theirs)


@pytest.mark.parametrize("max_size", [0, -1, 2**63, 2**70, (None, 2**70)])
def test_limits_without_sense(side, max_size):
    compare(side, frame(side, TEXT, b"x"), max_size=max_size)


def test_control_frames_have_a_limit_of_their_own(side):
    """RFC 6455 5.5: 125 bytes. Theirs count them as data, ours do not."""
    _, mine = open_pair(side, max_size=4)
    stream = frame(side, TEXT, b"123", fin=False) + frame(side, PING, b"x" * 125) + frame(side, CONT, b"4")
    for pos in range(len(stream)):
        mine.receive_data(stream[pos : pos + 1])
    assert [bytes(event.data) for event in mine.events_received()] == [b"123", b"x" * 125, b"4"]
    assert mine.parser_exc is None


def test_end_of_stream_inside_a_frame(side):
    """The exception says where it ended, as theirs does."""
    for size in (0, 5, 300, 65536):
        stream = frame(side, BINARY, b"x" * size)
        for end in {*range(1, min(len(stream), 20)), len(stream) - 1, len(stream)}:
            compare(side, stream[:end], splits=("whole", "halves") if end > 1 else ("whole",))


def test_the_end_is_told_once(side):
    _, mine = open_pair(side)
    mine.receive_eof()
    mine.receive_eof()
    assert mine.data_to_send() == [b""]
    with pytest.raises(EOFError):
        mine.receive_data(b"x")


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x"), memoryview(b"xyxy")[::2]])
def test_sending(side, data):
    protocols = open_pair(side)
    for protocol in protocols:
        protocol.send_text(b"text")
        if side == "client" or memoryview(data).contiguous:  # theirs cannot write others without a mask
            protocol.send_binary(data)
        protocol.send_text(b"a", fin=False)
        protocol.send_continuation(b"b" * 70000, fin=True)
        protocol.send_ping(b"ping")
        protocol.send_pong(b"pong")
        protocol.send_close(1000, "bye")
    assert shown(protocols[1]) == shown(protocols[0])


def test_sending_a_view_with_strides(side):
    _, mine = open_pair(side)
    mine.send_binary(memoryview(b"xyxy")[::2])
    assert mine.data_to_send()[0].endswith(b"xx" if side == "server" else bytes([120 ^ KEY[0], 120 ^ KEY[1]]))


def test_mistakes_in_sending_raise_as_theirs_do(side):
    for protocol in open_pair(side):
        with pytest.raises(exceptions.ProtocolError, match="control frame too long"):
            protocol.send_ping(b"x" * 126)
        with pytest.raises(exceptions.ProtocolError, match="invalid status code"):
            protocol.send_close(999)
        with pytest.raises(exceptions.ProtocolError, match="unexpected continuation"):
            protocol.send_continuation(b"", fin=True)
        with pytest.raises(exceptions.ProtocolError, match="reserved bits"):
            protocol.send_frame(Frame(TEXT, b"", rsv1=True))
        assert protocol.data_to_send() == []


def test_failing_by_hand(side):
    """RFC 6455 7.1.7: what comes afterwards is discarded."""
    protocols = open_pair(side)
    for protocol in protocols:
        protocol.receive_data(frame(side, TEXT, b"x")[:2])
        protocol.fail(1008, "no")
        protocol.receive_data(frame(side, TEXT, b"y"))
        protocol.receive_eof()
    assert shown(protocols[1]) == shown(protocols[0])


def deflate(side):
    return PerMessageDeflate(False, False, 15, 15)


def open_deflating_pair(side, **options):
    pair = open_pair(side, **options)
    for protocol in pair:
        protocol.extensions = [deflate(side)]
    return pair


def compressed(side, payloads):
    """Return the frames of one message of ``payloads``, compressed, for an endpoint on ``side``."""
    extension = deflate(side)
    stream = b""
    for index, payload in enumerate(payloads):
        fin = index == len(payloads) - 1
        encoded = extension.encode(Frame(CONT if index else TEXT, payload, fin))
        stream += frame(side, encoded.opcode, bytes(encoded.data), fin, rsv=4 if encoded.rsv1 else 0)
    return stream


@pytest.mark.parametrize("payloads", [[b"x" * 1000], [b"a" * 500, b"b" * 500, b""], [b"", b"z" * 3000]])
@pytest.mark.parametrize("max_size", [None, 999, 1000, (1000, 400), 50])
def test_their_extensions_receive(side, payloads, max_size):
    """RFC 7692: frames pass through the extension, with the size that is left of the limit."""
    stream = frame(side, TEXT, b"plain") + compressed(side, payloads) + frame(side, PING)
    for split in (len(stream), 1, 7):
        results = []
        for protocol in open_deflating_pair(side, max_size=max_size):
            events = []
            for pos in range(0, len(stream), split):
                protocol.receive_data(stream[pos : pos + split])
                events += protocol.events_received()
            results.append((events, shown(protocol)))
        assert results[1] == results[0]


@pytest.mark.parametrize("rsv", [1, 2, 3, 6])
def test_bits_that_no_extension_defines(side, rsv):
    for opcode in (TEXT, PING):
        pair = open_deflating_pair(side)
        for protocol in pair:
            protocol.receive_data(frame(side, opcode, b"x", rsv=rsv))
        assert shown(pair[1])["error"] == shown(pair[0])["error"]


def test_an_extension_that_breaks(side, caplog):
    """Any other exception fails the connection with 1011, is logged, and tells the peer nothing."""

    class Broken:
        def decode(self, frame, *, max_size=None):
            raise ZeroDivisionError("secret")

        def encode(self, frame):
            return frame

    pair = open_pair(side)
    for protocol in pair:
        protocol.extensions = [Broken()]
        protocol.receive_data(frame(side, TEXT, b"x"))
    assert shown(pair[1]) == shown(pair[0])
    assert pair[1].close_sent == Close(1011, "")
    assert [record.message for record in caplog.records].count("parser failed") == 2


def test_their_extensions_send(side):
    pair = open_deflating_pair(side)
    for protocol in pair:
        protocol.send_text(b"x" * 5000)
        protocol.send_binary(b"a", fin=False)
        protocol.send_continuation(b"b", fin=True)
        protocol.send_ping(b"p")
    assert shown(pair[1]) == shown(pair[0])


def test_debug_logs_are_theirs(side, caplog):
    caplog.set_level(logging.DEBUG)
    logs = []
    for protocol in open_pair(side):
        caplog.clear()
        protocol.receive_data(frame(side, TEXT, b"x") + frame(side, PING, b"p") + frame(side, CLOSE))
        protocol.receive_eof()
        logs.append([record.getMessage() for record in caplog.records])
    assert logs[1] == logs[0]


def opening_handshake(make_client=TheirClient, make_server=TheirServer):
    """Return a client and a server in the middle of their handshake, and the response."""
    client, server = make_client(URI), make_server()
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    return client, server, b"".join(server.data_to_send())


@pytest.mark.parametrize("rest", [b"", b"\x81", b"\x81\x01x", b"\x81\x01x\x81\x01"])
def test_an_object_of_theirs_becomes_ours(rest):
    """``accelerate`` before the handshake is done; frames that come with the response are ours already."""
    client, _, response = opening_handshake()
    ours.accelerate(client)
    assert type(client) is ClientProtocol
    client.receive_data(response + rest)
    client.receive_data((b"\x81\x01x" * 2)[len(rest) :])
    events = client.events_received()[1:]
    assert [(event.opcode, bytes(event.data)) for event in events] == [(TEXT, b"x")] * 2
    assert client._decoder is not None


def test_an_object_of_theirs_becomes_ours_on_a_server():
    client, server = TheirClient(URI), TheirServer()
    ours.accelerate(server)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    server.receive_data(frame("server", TEXT, b"x"))
    assert [event.data for event in server.events_received()] == [b"x"]
    assert server._decoder is not None


def test_a_class_that_somebody_derived_is_left_alone():
    class Derived(TheirServer):
        pass

    server = Derived()
    ours.accelerate(server)
    assert type(server) is Derived


def test_a_handshake_that_fails():
    results = []
    for make in SIDES["server"]:
        server = make()
        server.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        (request,) = server.events_received()
        server.send_response(server.accept(request))
        server.receive_data(b"ignored")
        server.receive_eof()
        results.append((type(server.handshake_exc), len(server.data_to_send()), server.state))
    assert results[1] == results[0]


def test_nothing_is_kept_of_a_large_frame_but_its_head(side):
    _, mine = open_pair(side, max_size=None)
    stream = frame(side, BINARY, b"x" * 100_000)
    for pos in range(0, len(stream) - 1, 1000):
        mine.receive_data(stream[pos : pos + 1000])
        assert len(mine._head) <= 139
        assert len(mine.reader.buffer) == 0
    mine.receive_data(stream[100_000:])
    assert [len(event.data) for event in mine.events_received()] == [100_000]
    assert mine._head == b""


@pytest.mark.parametrize("seed", range(60))
def test_random_streams_show_the_same(side, seed):
    """Legal and illegal frames in any order, cut anywhere."""
    draw = random.Random(f"{side} {seed}")
    frames = []
    for _ in range(draw.randrange(1, 12)):
        opcode = draw.choice([TEXT, TEXT, BINARY, CONT, CONT, PING, PONG, PING, PONG, CLOSE])
        payload = draw.randbytes(draw.choice([0, 1, 5, 100, 125, 126, 300]))
        fin, rsv = draw.random() < 0.6, 0
        if opcode >= 8:
            payload, fin = payload[:125], True
        if opcode == CLOSE:
            payload = draw.choice([b"", b"x", b"\x03\xe8", b"\x03\xe7", b"\x03\xe8bye", b"\x03\xe8\xc3\x28"])
        if draw.random() < 0.1:
            # One fault a frame: which of two is told is up to the order in which they are looked for.
            fault = draw.randrange(3)
            if fault == 0:
                opcode = draw.choice([3, 7, 11, 15])
            elif fault == 1 and opcode != CONT:
                rsv = draw.choice([1, 2, 4])
            elif opcode in (PING, PONG):
                fin = False
        frames.append(frame(side, opcode, payload, fin, rsv))
    stream = b"".join(frames)
    # An unfinished fault is seen earlier by us: compare with all frames complete, in chunks of whole frames.
    options = {"max_size": draw.choice([None, 2**20])}
    pair = open_pair(side, **options)
    for data in frames:
        for protocol in pair:
            protocol.receive_data(data)
        assert shown(pair[1]) == shown(pair[0]), f"seed {seed}"
    theirs, mine = open_pair(side, **options)
    theirs.receive_data(stream)
    pos = 0
    while pos < len(stream):
        size = draw.choice([1, 2, 7, 50, 500])
        mine.receive_data(stream[pos : pos + size])
        pos += size
    assert shown(mine) == shown(theirs), f"seed {seed}"


def test_masking_keys_are_drawn_anew(monkeypatch):
    """RFC 6455 5.3, 10.3."""
    monkeypatch.undo()
    client = ClientProtocol(URI, state=State.OPEN)
    for _ in range(20):
        client.send_text(b"x")
    assert len({data[2:6] for data in client.data_to_send()}) == 20


def test_the_codec_in_use_is_ours(side):
    """What the other tests prove they prove about us."""
    _, mine = open_pair(side)
    with mock.patch.object(ours, "FrameDecoder", wraps=ours.FrameDecoder) as decoder:
        mine.receive_data(frame(side, TEXT, b"x"))
    assert decoder.called
    assert isinstance(mine._decoder, codec.FrameDecoder)
