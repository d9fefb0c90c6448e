"""For mypy, which checks this file: the names of the package after a bare ``import wsfast``, and no others.

Nothing here is called. mypy reports an ignored error that does not exist, so each line says yes or no.
"""

from __future__ import annotations

import wsfast


def names(
    connection: wsfast.connection.Connection,
    error: wsfast.exceptions.InvalidStatus,
    headers: wsfast.headers.Headers,
    client: wsfast.handshake.ClientHandshake,
    server: wsfast.asyncio.Server,
    uri: wsfast.uri.WebSocketURI,
    closed: wsfast.ConnectionClosed,
    state: wsfast.State,
    subprotocol: wsfast.Subprotocol,
    close: wsfast.frames.Close,
    request: wsfast.http11.Request,
    socket: wsfast.browser.WebSocket,
) -> object:
    amount: int = socket.bufferedAmount
    socket.onmessage = lambda event: socket.send(event.data)
    socket.addEventListener("open", print, once=True)
    socket.bufferedAmount = 0  # type: ignore[misc]
    limits: wsfast.Limits = wsfast.limits.Limits(max_queue=1)
    report: wsfast.asyncio.BroadcastReport = wsfast.broadcast(server.connections, "x", slow="wait")
    cause: wsfast.CloseCause = closed.cause
    wsfast.broadcast(server.connections, "x", slow="later")  # type: ignore[arg-type]
    wsfast.testing.pair(client={"limits": limits})
    decoder: wsfast.codec.MessageDecoder = wsfast.codec.MessageDecoder(wsfast.codec.Role.SERVER)
    deflate: wsfast.deflate.Deflate = wsfast.Deflate()
    wsfast.patch.tornado(force=True)
    wsfast.patch.wsproto()
    wsfast.unpatch("tornado")
    wsfast.patch.torndo()  # type: ignore[attr-defined]
    wsfast.wsaccel.install()
    wsfast.serve(lambda ws: ws.wait_closed(), process_request=wsfast.basic_auth(credentials=("a", "b")))
    wsfast.connect("ws://h/", proxy=None, subprotocols=[subprotocol])
    wsfast.connect("ws://h/", proxy=5)  # type: ignore[arg-type]
    wsfast.websockets.Conection  # type: ignore[attr-defined]  # noqa: B018
    return (
        amount,
        report,
        cause,
        decoder,
        deflate,
        wsfast.websockets.ServerConnection,
        wsfast.websockets.sync.ClientConnection,
    )
