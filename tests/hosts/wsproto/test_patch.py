"""``wsfast.patch.wsproto()`` with wsproto: on, off, and a conversation between both ends."""

from __future__ import annotations

import pytest
import wsproto.connection
import wsproto.frame_protocol
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from wsfast import patch, unpatch
from wsfast.wsproto import FrameProtocol

THEIRS = wsproto.frame_protocol.FrameProtocol


@pytest.fixture(autouse=True)
def patched():
    patch.wsproto()
    yield
    unpatch("wsproto")
    assert wsproto.connection.FrameProtocol is THEIRS


def test_on_off_and_on_again():
    assert wsproto.connection.FrameProtocol is FrameProtocol
    assert type(wsproto.connection.Connection(ConnectionType.CLIENT)._proto) is FrameProtocol
    unpatch("wsproto")
    assert type(wsproto.connection.Connection(ConnectionType.CLIENT)._proto) is THEIRS
    patch.wsproto()
    assert type(wsproto.connection.Connection(ConnectionType.CLIENT)._proto) is FrameProtocol


@pytest.mark.parametrize("compress", [False, True])
def test_a_conversation(compress):
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
    offer = [PerMessageDeflate()] if compress else []
    server.receive_data(client.send(Request(host="x", target="/", extensions=offer)))
    list(server.events())
    accept = [PerMessageDeflate()] if compress else []
    client.receive_data(server.send(AcceptConnection(extensions=accept)))
    list(client.events())
    for sender, receiver in ((client, server), (server, client)):
        for event in (TextMessage("한국어 " * 1000), BytesMessage(b"b" * 70000), Ping(b"p")):
            receiver.receive_data(sender.send(event))
            received = list(receiver.events())
            if isinstance(event, Ping):
                assert [bytes(each.payload) for each in received] == [b"p"]
            else:
                assert type(received[0]) is type(event)
                assert type(event.data)().join(each.data for each in received) == event.data
    server.receive_data(client.send(CloseConnection(4000, "done")))
    (close,) = server.events()
    assert (close.code, close.reason) == (4000, "done")
