"""Our FrameProtocol beside wsproto's own: the same streams, legal and not, in the same chunks; the same frames out.

What is compared after each chunk: frames with their types, the code and the text of a fault, and what extensions were
asked. Random cases print their seed.
"""

from __future__ import annotations

import gc
import random
import struct
import weakref

import pytest
import wsproto.frame_protocol as theirs
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Opcode, ParseFailed, RsvBits

import wsfast.wsproto
from wsfast.codec import apply_mask
from wsfast.wsproto.frame_protocol import FrameProtocol

CLIENT, SERVER = True, False
KEY = b"\x12\x80\xff\x01"


def frame(client, opcode, payload=b"", fin=True, rsv=0, length=None, masked=None, form=None):
    """The bytes of a frame for an endpoint that is a client or not; ``length`` and ``form`` say what is not so."""
    length = len(payload) if length is None else length
    masked = (not client) if masked is None else masked
    form = (0 if length < 126 else 2 if length < 0x10000 else 8) if form is None else form
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | {0: length, 2: 126, 8: 127}[form]])
    head += length.to_bytes(form, "big") if form else b""
    if not masked:
        return head + payload
    return head + KEY + apply_mask(payload, KEY)


def received(proto):
    """What ``received_frames`` returns, with types, and the fault at its end."""
    results = []
    try:
        for result in proto.received_frames():
            results.append((*result, type(result), type(result.opcode), type(result.payload)))
            if isinstance(result.payload, tuple):
                results.append([type(item) for item in result.payload])
    except ParseFailed as fault:
        results.append(("ParseFailed", fault.code, type(fault.code), str(fault)))
    return results


def compare(client, chunks, extensions=lambda: ([], []), after_each=True):
    """Feed ``chunks`` to both; return all that was received. ``after_each``: it is the same after each chunk."""
    pair = [
        (cls(client, extension), extension)
        for cls, extension in zip((theirs.FrameProtocol, FrameProtocol), extensions(), strict=True)
    ]
    everything, all_expected = [], []
    for chunk in chunks:
        for proto, _ in pair:
            proto.receive_bytes(chunk)
        expected, actual = [received(proto) for proto, _ in pair]
        if after_each:
            assert actual == expected
        everything += actual
        all_expected += expected
    assert everything == all_expected
    (_, expected_calls), (_, actual_calls) = pair
    assert [ext.calls for ext in actual_calls if hasattr(ext, "calls")] == [
        ext.calls for ext in expected_calls if hasattr(ext, "calls")
    ]
    return everything


def splits(stream):
    yield [stream]
    yield [stream[pos : pos + 1] for pos in range(len(stream))]
    for pos in range(min(len(stream), 40)):
        yield [stream[:pos], stream[pos:]]
    yield [stream[:-1], b"", stream[-1:]]


TEXT = "aé한😀".encode()


def streams(client):
    """Streams of each rule, legal or not."""

    def f(*args, **kwargs):
        return frame(client, *args, **kwargs)

    cases = {
        "nothing": b"",
        "text": f(1, b"hello"),
        "text of every length of character": f(1, TEXT),
        "binary": f(2, bytes(range(256))),
        "empty text": f(1),
        "empty binary": f(2),
        "125": f(2, b"x" * 125),
        "126": f(2, b"x" * 126),
        "65535": f(2, b"x" * 65535),
        "65536": f(1, b"x" * 65536),
        "many": f(1, b"one") + f(2, b"two") + f(1, TEXT) + f(9, b"ping") + f(1, b"three"),
        "5.4 fragments": f(1, b"one", fin=False) + f(0, TEXT, fin=False) + f(0, b"!"),
        "5.4 fragments of binary, empty ones too": f(2, fin=False) + f(0, fin=False) + f(0) + f(2, b"next"),
        "5.4 control between": f(1, b"one", fin=False) + f(9, b"p") + f(10) + f(0, b"two") + f(1, b"three"),
        "5.4 character in two fragments": f(1, TEXT[:4], fin=False) + f(0, TEXT[4:]),
        "5.4 nothing to continue": f(1, b"ok") + f(0, b"x"),
        "5.4 nothing to continue, empty": f(0),
        "5.4 not finished": f(1, b"one", fin=False) + f(1, b"two"),
        "5.4 not finished, other type": f(2, b"one", fin=False) + f(1, b"two"),
        "5.2 opcode 3": f(1, b"ok") + f(3, b"x"),
        "5.2 opcode 15": f(15, b"x"),
        "5.2 RSV1": f(1, b"ok") + f(1, b"x", rsv=4),
        "5.2 RSV3 on a ping": f(9, b"x", rsv=1),
        "5.2 2 bytes for 125": f(2, b"x" * 125, form=2),
        "5.2 8 bytes for 65535": f(2, b"x" * 65535, form=8),
        "5.2 8 bytes for 5": f(1, b"hello", form=8),
        "5.2 top bit": f(1, b"hello", length=1 << 63),
        "5.2 top bit and more": f(1, b"hello", length=(1 << 64) - 1),
        "5.2 huge": f(2, b"the first of many", length=1 << 62),
        "5.1 mask": f(1, b"ok") + f(1, b"hello", masked=client),
        "5.5 fragmented ping": f(9, b"x", fin=False),
        "5.5 ping of 126": f(9, b"x" * 126),
        "5.5 ping of 126 in 8 bytes": f(9, b"x" * 126, form=8),
        "5.5 ping of 125": f(9, b"x" * 125) + f(10, b"y" * 125),
        "5.5.1 empty close": f(8) + f(1, b"ignored"),
        "5.5.1 close of one byte": f(8, b"\x03"),
        "5.5.1 close": f(1, b"ok") + f(8, b"\x03\xe8" + TEXT) + f(3, b"ignored"),
        "5.5.1 reason is not UTF-8": f(8, b"\x03\xe8" + TEXT[:-1]),
        "8.1 not UTF-8": f(1, b"ok") + f(1, b"hell\xff"),
        "8.1 surrogate": f(1, b"\xed\xa0\x80"),
        "8.1 surrogate in fragments": f(1, b"\xed", fin=False) + f(0, b"\xa0", fin=False) + f(0, b"\x80"),
        "8.1 cut": f(1, TEXT[:-1]),
        "8.1 cut in the last fragment": f(1, TEXT[:-1], fin=False) + f(0) + f(1, b"ignored"),
    }
    for code in (0, 999, 1000, 1004, 1005, 1006, 1011, 1012, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535):
        cases[f"7.4 close code {code}"] = f(8, struct.pack("!H", code) + b"why")
    return cases


@pytest.mark.parametrize("client", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("name", streams(CLIENT))
def test_every_rule_in_every_chunking(client, name):
    stream = streams(client)[name]
    if len(stream) > 1000:
        for chunks in (
            [stream],
            [stream[:1000], stream[1000:]],
            [stream[:5], stream[5:60000], stream[60000:]],
        ):
            compare(client, chunks)
    else:
        for chunks in splits(stream):
            compare(client, chunks)


def test_a_chunk_never_splits_a_character():
    """RFC 6455 8.1, with the payload handed on as it comes."""
    stream = frame(SERVER, 1, TEXT)
    texts = [result[1] for result in compare(SERVER, [stream[pos : pos + 1] for pos in range(len(stream))])]
    assert "".join(text for text in texts if isinstance(text, str)) == TEXT.decode()
    assert texts[0] == "a"


def random_stream(chance, client):
    """Frames that are mostly legal, with now and then a byte changed."""
    stream = b""
    in_message = False
    for _ in range(chance.randrange(1, 9)):
        payload = chance.choice(
            (b"", b"text", TEXT, TEXT * 40, chance.randbytes(5), b"x" * chance.randrange(400))
        )
        if chance.random() < 0.3:
            opcode = chance.choice((8, 9, 9, 10, 10))
            payload = payload[:125] if opcode != 8 else struct.pack("!H", 1000) + payload[:100]
            stream += frame(client, opcode, payload)
        else:
            fin = chance.random() < 0.6
            stream += frame(client, 0 if in_message else chance.choice((1, 2)), payload, fin=fin)
            in_message = not fin
        if chance.random() < 0.02:
            stream += frame(
                client, chance.randrange(16), payload, rsv=chance.randrange(8), fin=chance.random() < 0.5
            )
    if chance.random() < 0.4:
        at = chance.randrange(len(stream))
        stream = stream[:at] + chance.randbytes(1) + stream[at + 1 :]
    return stream


def random_chunks(chance, stream):
    n_cuts = chance.choice((0, 0, 1, 2, 5, 30))
    cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(n_cuts))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@pytest.mark.parametrize("client", [CLIENT, SERVER], ids=["client", "server"])
def test_random_streams_in_random_chunks(client):
    for seed in range(2500):
        chance = random.Random(seed)
        stream = random_stream(chance, client)
        try:
            compare(client, random_chunks(chance, stream))
        except AssertionError:
            print("seed", seed)
            raise


def test_noise():
    for seed in range(1500):
        chance = random.Random(seed)
        compare(
            chance.choice((CLIENT, SERVER)), random_chunks(chance, chance.randbytes(chance.randrange(1, 40)))
        )


def test_what_was_received_before_anybody_looked_is_one_part():
    for proto in (theirs.FrameProtocol(SERVER, []), FrameProtocol(SERVER, [])):
        stream = frame(SERVER, 2, b"0123456789")
        proto.receive_bytes(stream[:8])
        proto.receive_bytes(bytearray(stream[8:10]))
        proto.receive_bytes(memoryview(stream[10:12]))
        assert [tuple(part) for part in proto.received_frames()] == [(Opcode.BINARY, b"012345", False, False)]
        proto.receive_bytes(stream[12:] + frame(SERVER, 1, b"next"))
        assert [part.payload for part in proto.received_frames()] == [b"6789", "next"]


def test_frames_that_were_not_taken_are_there_the_next_time():
    for proto in (theirs.FrameProtocol(SERVER, []), FrameProtocol(SERVER, [])):
        proto.receive_bytes(b"".join(frame(SERVER, 1, text) for text in (b"one", b"two", b"three")))
        assert next(iter(proto.received_frames())).payload == "one"
        proto.receive_bytes(frame(SERVER, 1, b"four"))
        assert [part.payload for part in proto.received_frames()] == ["two", "three", "four"]
        assert list(proto.received_frames()) == []


def test_a_chunk_that_looks_like_a_message_is_the_rest_of_one():
    # The second chunk by itself would be an empty text with a masking key.
    stream = b"\x82\x81\x80abcx"
    assert compare(SERVER, [stream[:1], stream[1:]])[0][:2] == (Opcode.BINARY, bytes([0x80 ^ ord("x")]))
    # And here it is one, inside a message that it must not interrupt (5.4).
    compare(
        SERVER, [frame(SERVER, 2, b"first", fin=False), frame(SERVER, 1, b"whole"), frame(SERVER, 0, b"last")]
    )


def test_a_buffer_may_change_after_it_was_given():
    proto = FrameProtocol(SERVER, [])
    chunk = bytearray(frame(SERVER, 1, b"hello"))
    proto.receive_bytes(chunk)
    chunk[:] = bytes(len(chunk))
    assert [part.payload for part in proto.received_frames()] == ["hello"]


@pytest.mark.parametrize("wrong", ["text", None, 5])
def test_what_is_no_buffer_is_a_type_error(wrong):
    proto = FrameProtocol(SERVER, [])
    with pytest.raises(TypeError):
        proto.receive_bytes(wrong)


@pytest.mark.parametrize("last", [frame(SERVER, 8), frame(SERVER, 3)], ids=["close", "fault"])
def test_bytes_after_the_end_are_not_kept(last):
    proto = FrameProtocol(SERVER, [])
    proto.receive_bytes(last)
    received(proto)
    proto.receive_bytes(bytes(1000))
    assert list(proto.received_frames()) == []
    assert proto._chunks == []


def test_a_connection_leaves_no_cycle():
    for role in (CLIENT, SERVER):
        proto = FrameProtocol(role, [])
        proto.receive_bytes(frame(role, 1, b"hello")[:-1])
        assert len(list(proto.received_frames())) == 1
        gone = weakref.ref(proto)
        gc.disable()
        try:
            del proto
            assert gone() is None
        finally:
            gc.enable()


# Extensions


NONE = RsvBits(False, False, False)


class Recorder(Extension):
    """Claims bits, changes payloads, and keeps what it was asked."""

    name = "recorder"

    def __init__(self, claims=NONE, tag=b"", held=b"", refuses=None, enabled=True):
        self.claims = claims
        self.tag = tag
        self.held = held
        self.refuses = refuses or {}
        self.is_enabled = enabled
        self.calls = []

    def offer(self):
        return True

    def enabled(self):
        return self.is_enabled

    def asked(self, *call):
        # wsproto asks again when a header was cut before the masking key.
        if not self.calls or self.calls[-1] != call:
            self.calls.append(call)
        return self.refuses.get(call[0])

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        return (
            self.asked("header", proto.client, opcode, type(opcode), rsv, type(rsv), payload_length)
            or self.claims
        )

    def frame_inbound_payload_data(self, proto, data):
        assert type(data) is bytes
        self.calls.append(None)
        return self.asked("payload", proto.client, data) or self.tag + data

    def frame_inbound_complete(self, proto, fin):
        self.calls.append(None)
        return self.asked("complete", proto.client, fin) or self.held or None

    def frame_outbound(self, proto, opcode, rsv, data, fin):
        assert type(data) is bytes
        self.calls.append(("outbound", proto.client, opcode, type(opcode), rsv, type(rsv), data, fin))
        return RsvBits(rsv[0], rsv[1], self.claims[2]), self.tag + data


def recorders(*kwargs):
    return lambda: ([Recorder(**each) for each in kwargs], [Recorder(**each) for each in kwargs])


ALL = RsvBits(True, True, True)
EXTENSIONS = {
    "disabled": [{"enabled": False, "tag": b"no"}],
    "claims nothing": [{}],
    "claims RSV2": [{"claims": RsvBits(False, True, False)}],
    "changes": [{"claims": ALL, "tag": b"<", "held": b">"}, {"tag": b"(", "held": b")"}],
    "refuses headers": [{"refuses": {"header": CloseReason.MANDATORY_EXT}}],
    "refuses payloads": [{"refuses": {"payload": CloseReason.POLICY_VIOLATION}}],
    "refuses the end": [{}, {"refuses": {"complete": CloseReason.ABNORMAL_CLOSURE}}],
}


@pytest.mark.parametrize("client", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions_are_asked_as_by_wsproto(client, name):
    """But when the masking key is there too, so that a bit which nobody claims is found up to 4 bytes later."""
    extensions = recorders(*EXTENSIONS[name])
    for stream in streams(client).values():
        if len(stream) < 1000:
            for chunks in splits(stream):
                compare(client, chunks, extensions, after_each=client)
    for seed in range(150):
        chance = random.Random(seed)
        stream = random_stream(chance, client) + frame(client, 1, b"bits", rsv=chance.randrange(8))
        compare(client, random_chunks(chance, stream), extensions, after_each=client)


def test_a_header_is_shown_once_in_whatever_pieces_it_comes():
    stream = frame(SERVER, 1, b"x" * 300)
    for cut in range(1, len(stream)):
        (extension,) = extensions = [Recorder()]
        proto = FrameProtocol(SERVER, extensions)
        shown = []
        extension.asked = lambda *call, shown=shown: shown.append(call)
        for chunk in (stream[:cut], stream[cut:]):
            proto.receive_bytes(chunk)
            received(proto)
        assert [call[0] for call in shown if call[0] != "payload"] == ["header", "complete"]
        assert shown[0][-1] == 300


def enabled_deflate(**kwargs):
    extension = PerMessageDeflate(**kwargs)
    extension.finalize("permessage-deflate")
    return extension


@pytest.mark.parametrize("client", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize(
    "kwargs",
    [{}, {"client_no_context_takeover": True, "server_no_context_takeover": True}],
    ids=["", "no takeover"],
)
def test_permessage_deflate_of_wsproto_works(client, kwargs):
    """RFC 7692, by wsproto's extension: what their peer compresses, ours inflates as theirs does, and back."""
    for seed in range(120):
        chance = random.Random(seed)
        peer = theirs.FrameProtocol(not client, [enabled_deflate(**kwargs)])
        ours = FrameProtocol(client, [enabled_deflate(**kwargs)])
        stream = b""
        for _ in range(chance.randrange(1, 5)):
            text = chance.random() < 0.5
            parts = [chance.choice((b"", b"abc" * 50, TEXT)) for _ in range(chance.randrange(1, 4))]
            for n, part in enumerate(parts):
                message = part.decode() if text else part
                fin = n == len(parts) - 1
                stream += peer.send_data(message, fin)
                peer.receive_bytes(ours.send_data(message, fin))
            stream += peer.ping(b"between")
        if chance.random() < 0.3:
            at = chance.randrange(len(stream))
            stream = stream[:at] + chance.randbytes(1) + stream[at + 1 :]
        sent_back = "".join(str(part.payload) for part in peer.received_frames())
        assert "ParseFailed" not in sent_back
        compare(
            client,
            random_chunks(chance, stream),
            lambda: ([enabled_deflate(**kwargs)], [enabled_deflate(**kwargs)]),
        )


# Sending


def unmasked(client, data):
    """A frame without what differs from one time to the next."""
    if not client:
        return bytes(data)
    start = {126: 4, 127: 10}.get(data[1] & 0x7F, 2)
    return bytes(data[:start]), apply_mask(bytes(data[start + 4 :]), bytes(data[start : start + 4]))


def outcome(client, call, *args):
    try:
        return unmasked(client, call(*args))
    except Exception as error:
        return type(error)


CALLS = {
    "send_data": [
        ("text",),
        ("한" * 60, True),
        (b"binary",),
        (bytearray(b"binary"), True),
        (memoryview(b"binary"),),
        (memoryview(b"b_i_n_a_r_y_")[::2],),
        (memoryview(b"b_i_n_a_r_y_")[::2], False),
        ("x" * 126,),
        (b"x" * 65536,),
        ("", False),
        ("first", False),
        ("next", True),
        (b"first", False),
        (b"next", True),
        ("\ud800",),
        (5,),
        (None,),
        (),
    ],
    "ping": [(), (b"x",), (b"x" * 125,), (b"x" * 126,), (bytearray(b"x"),), ("text",)],
    "pong": [(), (b"x",), (b"x" * 125,), (b"x" * 126,), (memoryview(b"x"),), ("text",)],
    "close": [
        (),
        (1000,),
        (1000, ""),
        (1000, "bye"),
        (CloseReason.GOING_AWAY, "bye"),
        (None, "bye"),
        (None, ""),
        (CloseReason.NO_STATUS_RCVD,),
        (CloseReason.NO_STATUS_RCVD, "bye"),
        (1005, "bye"),
        (1006, "bye"),
        (CloseReason.ABNORMAL_CLOSURE,),
        (CloseReason.TLS_HANDSHAKE_FAILED,),
        (4999, "x" * 123),
        (4999, "x" * 124),
        (1000, "x" * 122 + "한"),
        (1000, "x" * 121 + "한"),
        (1000, "x" * 120 + "한"),
        (1000, "😀" * 40),
        (0,),
        (65536,),
        (-1,),
        ("1000",),
    ],
}


@pytest.mark.parametrize("client", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("extensions", ["none", "changes"])
def test_what_is_sent_is_what_wsproto_sends(client, extensions):
    """RFC 6455 5.4, 5.5; every call once alone, and then in random order."""
    make = recorders(*([] if extensions == "none" else EXTENSIONS[extensions]))
    calls = [(name, args) for name, rows in CALLS.items() for args in rows]
    sequences = [[call] for call in calls]
    sequences += [random.Random(seed).sample(calls, 12) for seed in range(400)]
    for sequence in sequences:
        their_extensions, our_extensions = make()
        pair = [theirs.FrameProtocol(client, their_extensions), FrameProtocol(client, our_extensions)]
        for name, args in sequence:
            expected, actual = [outcome(client, getattr(proto, name), *args) for proto in pair]
            assert actual == expected, (name, args)
        for expected, actual in zip(their_extensions, our_extensions, strict=True):
            assert actual.calls == expected.calls


def test_the_names_are_wsprotos():
    public = {name for name in dir(theirs.FrameProtocol) if not name.startswith("_")}
    assert public <= set(dir(FrameProtocol))
    proto = FrameProtocol(CLIENT, [Recorder(), Recorder(enabled=False)])
    assert proto.client is True
    assert [extension.name for extension in proto.extensions] == ["recorder"]
    for module in (
        "connection",
        "events",
        "extensions",
        "frame_protocol",
        "handshake",
        "typing",
        "utilities",
    ):
        ours, other = getattr(wsfast.wsproto, module), __import__(f"wsproto.{module}", fromlist=["x"])
        for name, value in vars(other).items():
            if getattr(value, "__module__", None) == other.__name__ and not name.startswith("_"):
                assert hasattr(ours, name), (module, name)
                if name not in ("Connection", "FrameProtocol", "H11Handshake"):
                    assert getattr(ours, name) is value, (module, name)
        for name in vars(other):
            if name.isupper() and not name.startswith("_") and name != "TYPE_CHECKING":
                assert getattr(ours, name) is getattr(other, name), (module, name)
