"""RFC 6455 7 (with 5.5.1 to 5.5.3): the sans-I/O connection, row by row of its closing table."""

from __future__ import annotations

from types import ModuleType

import pytest
from helpers import CLOSE, CONTINUATION, PING, TEXT, Peer, frame, join, parse_frame

from wsfast.connection import Connection, ReadyState
from wsfast.events import Close, Failure, Ping, Pong, Role
from wsfast.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidState


@pytest.fixture(autouse=True)
def use_codec(connection_codec: ModuleType) -> None:
    """Each test runs on both codecs."""


@pytest.fixture
def connection(peer: Peer) -> Connection:
    return Connection(peer.role)


def sent(connection: Connection) -> list[tuple[int, bytes]]:
    """What the connection wants to send, as (opcode, payload), read by an independent parser."""
    frames = []
    data = connection.data_to_send()
    while data:
        assert data[1] & 0x7F < 126, "short frames only"
        end = 2 + (4 if connection.role is Role.CLIENT else 0) + (data[1] & 0x7F)
        parsed = parse_frame(data[:end], connection.role)
        frames.append((int(parsed.opcode), bytes(parsed.data)))
        data = data[end:]
    return frames


def close_payload(code: int, reason: str = "") -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


def test_connection_without_handshake_starts_open(connection: Connection) -> None:
    assert connection.ready_state is ReadyState.OPEN
    assert [int(state) for state in ReadyState] == [0, 1, 2, 3]


def test_close_sends_close_and_waits_for_the_peers(connection: Connection, peer: Peer) -> None:
    """7.1.2, 5.5.1."""
    connection.close(1001, "bye")
    assert sent(connection) == [(CLOSE, close_payload(1001, "bye"))]
    assert connection.ready_state is ReadyState.CLOSING
    assert not connection.closing_done
    assert connection.receive_data(peer.frame(CLOSE, close_payload(1001, "bye"))) == [Close(1001, "bye")]
    assert connection.closing_done
    assert connection.data_to_send() == b"", "a Close is answered once, and ours was first"
    assert connection.peer_closed_first is False


def test_close_of_peer_is_answered_with_its_code_and_reason(connection: Connection, peer: Peer) -> None:
    """5.5.1: the answer typically echoes the code; browsers show the reason of the answer to the page."""
    assert connection.receive_data(peer.frame(CLOSE, close_payload(3999, "done"))) == [Close(3999, "done")]
    assert connection.data_to_send() == b""
    assert connection.ready_state is ReadyState.OPEN, "messages before the Close can still be answered"
    connection.answer()
    assert sent(connection) == [(CLOSE, close_payload(3999, "done"))]
    assert connection.ready_state is ReadyState.CLOSING
    assert connection.closing_done
    assert (connection.close_code, connection.close_reason) == (3999, "done")
    assert connection.peer_closed_first is True


def test_empty_close_is_answered_with_an_empty_one(connection: Connection, peer: Peer) -> None:
    """5.5.1, 7.1.5: 1005 stands for no code, and is never on the wire."""
    assert connection.receive_data(peer.frame(CLOSE)) == [Close(1005, "")]
    connection.answer()
    assert sent(connection) == [(CLOSE, b"")]
    assert connection.close_code == 1005


def test_messages_before_close_can_be_answered(connection: Connection, peer: Peer) -> None:
    """5.5.1: an endpoint may delay its Close until what it is about to send is sent."""
    stream = join(peer.frame(TEXT, "question"), peer.frame(CLOSE, close_payload(1000)))
    assert connection.receive_data(stream) == ["question", Close(1000)]
    connection.send("answer")
    connection.answer()
    assert sent(connection) == [(TEXT, b"answer"), (CLOSE, close_payload(1000))]


def test_answer_is_given_once(connection: Connection, peer: Peer) -> None:
    connection.answer()
    assert connection.data_to_send() == b"", "nothing is owed yet"
    connection.receive_data(peer.frame(CLOSE))
    connection.answer()
    connection.answer()
    assert sent(connection) == [(CLOSE, b"")]


def test_close_while_the_peers_is_unanswered_answers_it(connection: Connection, peer: Peer) -> None:
    connection.receive_data(peer.frame(CLOSE, close_payload(1000)))
    connection.close(1001, "going")
    connection.answer()
    assert sent(connection) == [(CLOSE, close_payload(1001, "going"))]
    assert connection.closing_done


def test_second_close_sends_nothing(connection: Connection) -> None:
    """5.5.1: no frames after a Close."""
    connection.close()
    connection.close(1001)
    connection.fail(1011)
    assert sent(connection) == [(CLOSE, close_payload(1000))]


@pytest.mark.parametrize("call", ["send", "send_fragment", "ping", "pong"])
def test_nothing_is_sent_after_close(connection: Connection, call: str) -> None:
    """5.5.1: the application MUST NOT send any more data frames after sending a Close frame."""
    connection.close()
    connection.data_to_send()
    with pytest.raises(InvalidState, match="CLOSING"):
        getattr(connection, call)(b"x")
    assert connection.data_to_send() == b""


def test_messages_are_received_until_the_peer_closes(connection: Connection, peer: Peer) -> None:
    """7.1.2 asks for nothing else: data of the peer may be under way."""
    connection.close()
    connection.data_to_send()
    stream = join(peer.frame(TEXT, "late"), peer.frame(PING, "?"), peer.frame(CLOSE, close_payload(1000)))
    assert connection.receive_data(stream) == ["late", Ping(b"?"), Close(1000)]
    assert connection.data_to_send() == b"", "5.5.2: a Ping after our Close is not answered"
    assert connection.closing_done


def test_bytes_after_the_peers_close_are_ignored(connection: Connection, peer: Peer) -> None:
    """5.5.1: after both Close frames nothing is meaningful. Autobahn 7.1.2 to 7.1.5."""
    assert connection.receive_data(join(peer.frame(CLOSE), peer.frame(TEXT, "no"), b"\xff")) == [Close()]
    assert connection.receive_data(peer.frame(TEXT, "no")) == []
    assert connection.failure is None


def test_ping_is_answered_at_once(connection: Connection, peer: Peer) -> None:
    """5.5.2, 5.5.3: with its payload; and in the middle of a fragmented message (5.4)."""
    stream = join(
        peer.frame(TEXT, "a", fin=False),
        peer.frame(PING, "1"),
        peer.frame(CONTINUATION, "b"),
        peer.frame(PING),
    )
    assert connection.receive_data(stream) == [Ping(b"1"), "ab", Ping()]
    assert sent(connection) == [(10, b"1"), (10, b"")]


def test_pong_is_reported_and_owes_nothing(connection: Connection, peer: Peer) -> None:
    """5.5.3: an unsolicited Pong is legal."""
    assert connection.receive_data(peer.frame(10, "x")) == [Pong(b"x")]
    assert connection.data_to_send() == b""


def test_fault_of_peer_comes_last_and_fails_the_connection(connection: Connection, peer: Peer) -> None:
    """7.1.7; the message before it is delivered, and can be answered. Autobahn 3.2."""
    fault = Failure(1002, "reserved opcode 0x3", "5.2")
    assert connection.receive_data(join(peer.frame(TEXT, "good"), peer.frame(3))) == ["good", fault]
    connection.send("good")
    connection.answer()
    assert sent(connection) == [(TEXT, b"good"), (CLOSE, close_payload(1002, "reserved opcode 0x3"))]
    assert connection.closing_done, "7.1.7: the peer's Close is not waited for"
    assert connection.failure == fault
    assert connection.receive_data(peer.frame(TEXT, "more")) == []


def test_fault_of_peer_while_closing_owes_nothing(connection: Connection, peer: Peer) -> None:
    connection.close()
    connection.data_to_send()
    assert connection.receive_data(peer.frame(3)) == [Failure(1002, "reserved opcode 0x3", "5.2")]
    connection.answer()
    assert connection.data_to_send() == b""
    assert connection.closing_done


def test_server_closes_tcp_first(peer: Peer) -> None:
    """7.1.1: the server closes TCP when both Close frames are there; the client waits for it."""
    connection = Connection(peer.role)
    connection.close()
    assert not connection.wants_transport_closed
    connection.receive_data(peer.frame(CLOSE, close_payload(1000)))
    assert connection.wants_transport_closed is (peer.role is Role.SERVER)


def test_failing_does_not_wait_for_the_peers_close(connection: Connection) -> None:
    """7.1.7."""
    connection.fail(1011, "keepalive ping timeout")
    assert connection.closing_done


def test_end_of_tcp_without_close_is_abnormal(connection: Connection) -> None:
    """7.1.5: 1006, which is never on the wire."""
    assert connection.close_code is None
    assert connection.close_reason is None
    connection.receive_eof()
    assert connection.ready_state is ReadyState.CLOSED
    assert (connection.close_code, connection.close_reason) == (1006, "")
    exception = connection.closed_exception()
    assert isinstance(exception, ConnectionClosedError)
    assert exception.rcvd is None
    assert exception.sent is None
    assert exception.rcvd_then_sent is None


def test_nothing_happens_after_the_end(connection: Connection) -> None:
    connection.receive_eof()
    connection.close()
    connection.answer()
    connection.receive_eof()
    assert connection.data_to_send() == b""
    with pytest.raises(InvalidState, match="CLOSED"):
        connection.send("x")


@pytest.mark.parametrize("code", [999, 1004, 1006, 1015, 1016, 2999, 5000])
def test_code_that_must_not_be_sent_is_refused_in_every_state(connection: Connection, code: int) -> None:
    """7.4. Our caller's mistake changes nothing, and is not found only when timing is bad."""
    with pytest.raises(ValueError, match="close code"):
        connection.close(code)
    assert connection.ready_state is ReadyState.OPEN
    connection.receive_eof()
    with pytest.raises(ValueError, match="close code"):
        connection.close(code)


def test_close_frame_of_peer_in_a_fragmented_message_drops_it(connection: Connection, peer: Peer) -> None:
    """5.4: control frames may come between fragments; a Close then ends the message too."""
    stream = join(peer.frame(TEXT, "half", fin=False), peer.frame(CLOSE, close_payload(1001)))
    assert connection.receive_data(stream) == [Close(1001)]


@pytest.mark.parametrize(
    ("received", "answered", "expected"),
    [
        (1000, 1000, ConnectionClosedOK),
        (1001, 1001, ConnectionClosedOK),
        (1005, 1005, ConnectionClosedOK),
        (1000, 1011, ConnectionClosedError),
        (1008, 1008, ConnectionClosedError),
        (3000, 3000, ConnectionClosedError),
    ],
)
def test_exception_tells_an_orderly_end_from_others(
    peer: Peer, received: int, answered: int, expected: type[Exception]
) -> None:
    connection = Connection(peer.role)
    payload = b"" if received == 1005 else close_payload(received, "why")
    connection.receive_data(frame(CLOSE, payload, key=peer.key))
    connection.close(answered)
    exception = connection.closed_exception()
    assert type(exception) is expected
    assert exception.rcvd == Close(received, "" if received == 1005 else "why")
    assert exception.sent == Close(answered)
    assert exception.rcvd_then_sent is True


def test_exception_names_the_fault_and_its_section(connection: Connection, peer: Peer) -> None:
    connection.receive_data(peer.frame(3))
    connection.answer()
    exception = connection.closed_exception()
    assert isinstance(exception, ConnectionClosedError)
    assert exception.failure == Failure(1002, "reserved opcode 0x3", "5.2")
    assert "5.2" in str(exception)


def test_unsent_pongs_are_bounded_to_the_most_recent(connection: Connection, peer: Peer) -> None:
    """5.5.3: an endpoint may answer only the most recent Pings; ours keeps 64 of them."""
    for n in range(1000):
        assert connection.receive_data(peer.frame(PING, str(n))) == [Ping(str(n).encode())]
    assert sent(connection) == [(10, str(n).encode()) for n in range(1000 - 64, 1000)]


def test_pongs_go_out_before_close(connection: Connection, peer: Peer) -> None:
    """5.5.1: nothing is sent after Close."""
    connection.receive_data(peer.frame(PING, "1"))
    connection.close()
    assert sent(connection) == [(10, b"1"), (CLOSE, close_payload(1000))]
