"""``wsfast connect``: a client for the terminal, and for scripts.

On a terminal the user edits lines, and messages appear above the line that is being typed. In a pipe only messages go
to standard output. The end of the input does not end the connection, because replies are on their way (``--wait``).

A thread reads the input: on Windows, and for a regular file, the event loop cannot wait for input.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..asyncio.client import ClientConnection, connect
from ..codec import CloseCode, Event, Failure, Ping
from ..connection import Connection
from ..exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
)
from ..uri import WebSocketURI, parse_uri
from .consoles import Console, Message, Pipe, Terminal
from .outcome import FAILURE, OK, USAGE, CommandError

__all__ = ["run"]

OPEN_TIMEOUT: Final = 10.0  # Seconds for all of connecting.
CLOSE_TIMEOUT: Final = 3.0  # Seconds that the peer has for the closing handshake.
QUIET_SECONDS: Final = 2.0  # Seconds to wait for the next missing reply, unless --wait is given.

_BATCHES_AHEAD: Final = 4  # Batches of input that may be read before they can be sent.


def run(arguments: argparse.Namespace) -> int:
    try:
        uri = parse_uri(arguments.url)
    except InvalidURI as error:
        raise CommandError(str(error), USAGE) from None
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    console: Console = Terminal() if interactive else Pipe()
    try:
        return asyncio.run(_converse(arguments, uri, console))
    finally:
        console.close()


async def _converse(arguments: argparse.Namespace, uri: WebSocketURI, console: Console) -> int:
    connection = await _connect(arguments, uri)
    console.opened(f"connected to {_shown(uri)}{_handshake_note(connection)}")
    connection.report_pings(lambda payload: console.status(_ping_note(payload)))
    conversation = Conversation(connection, console, arguments.binary, arguments.wait)
    receiving = asyncio.create_task(conversation.receive())
    sending = asyncio.create_task(conversation.send())
    try:
        await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        await asyncio.wait({sending})
        await connection.close()
        closed = await receiving
    except asyncio.CancelledError:  # Ctrl-C
        await connection.close(CloseCode.GOING_AWAY)
        console.ended("closed")
        raise
    console.ended(_closing_note(closed))
    if not sending.cancelled() and (problem := sending.exception()) is not None:
        raise problem
    if conversation.cut_short:
        raise CommandError("the server closed the connection before all lines were sent")
    return FAILURE if isinstance(closed, ConnectionClosedError) else OK


async def _connect(arguments: argparse.Namespace, uri: WebSocketURI) -> _ReportingConnection:
    options: dict[str, Any] = {}
    if uri.secure and arguments.insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        options["ssl"] = context
    try:
        connection = await connect(
            arguments.url,
            origin=arguments.origin,
            subprotocols=arguments.subprotocol or None,
            additional_headers=arguments.header,
            compression="deflate" if arguments.compression else None,
            max_size=arguments.max_size,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            create_connection=_ReportingConnection,
            **options,
        )
    except (OSError, InvalidHandshake) as error:
        raise CommandError(_connect_problem(error, uri)) from None
    except InvalidURI as error:  # A redirect leads to it; the user's URI was valid.
        raise CommandError(str(error)) from None
    except ValueError as error:  # A header or a subprotocol that cannot be written.
        raise CommandError(str(error).replace("additional_headers", "--header"), USAGE) from None
    assert isinstance(connection, _ReportingConnection)
    return connection


class _ReportingConnection(ClientConnection):
    """A connection that reports the Pings it answers."""

    def __init__(self, protocol: Connection, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._early_pings: list[bytes] = []
        self._on_ping: Callable[[bytes], object] = self._early_pings.append

    def report_pings(self, on_ping: Callable[[bytes], object]) -> None:
        """Call ``on_ping`` with the payload of each Ping, including Pings that came with the handshake."""
        self._on_ping = on_ping
        for payload in self._early_pings:
            on_ping(payload)

    def control_received(self, event: Event | Failure) -> None:
        super().control_received(event)
        if isinstance(event, Ping):
            self._on_ping(event.payload)


class Conversation:
    """Send lines and show messages, until one side ends the connection."""

    def __init__(
        self, connection: ClientConnection, console: Console, binary: bool, wait: float | None
    ) -> None:
        self.cut_short = False
        """True if the connection was closed before all lines were sent."""
        self._connection = connection
        self._console = console
        self._binary = binary
        self._wait = wait
        self._n_sent = 0
        self._n_received = 0
        self._news = asyncio.Event()

    async def receive(self) -> ConnectionClosed:
        """Show messages until the connection is closed; return the exception that tells how it ended."""
        try:
            while True:
                self._console.message(await self._connection.recv())
                self._n_received += 1
                self._news.set()
        except ConnectionClosed as closed:
            return closed

    async def send(self) -> None:
        """Send lines until the input ends; then wait for the replies."""
        reader = _InputReader(self._console)
        while (lines := await reader.next_batch()) is not None:
            for line in lines:
                try:
                    await self._connection.send(self._as_message(line))
                except ConnectionClosed:
                    self.cut_short = True
                    return
                self._n_sent += 1
        if self._console.interactive:
            return
        patience = QUIET_SECONDS if self._wait is None else self._wait
        while self._wait is not None or self._n_received < self._n_sent:
            self._news.clear()
            try:
                async with asyncio.timeout(patience if patience < float("inf") else None):
                    await self._news.wait()
            except TimeoutError:
                return

    def _as_message(self, line: Message) -> Message:
        if self._binary:
            return line.encode(errors="surrogateescape") if isinstance(line, str) else line
        try:
            if isinstance(line, bytes):
                return line.removesuffix(b"\r").decode()
            line.encode()
        except UnicodeError:
            raise CommandError(
                f"line {self._n_sent + 1} of the input is not UTF-8, which text has to be; "
                "--binary sends it as it is"
            ) from None
        return line


class _InputReader:
    """Reads the console in a thread, at most a few batches ahead of the sending."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[Sequence[Message] | None] = asyncio.Queue()
        self._permits = threading.Semaphore(_BATCHES_AHEAD)
        # A daemon thread, for which the exit does not wait: nothing can interrupt a thread that reads input.
        threading.Thread(target=self._read, daemon=True).start()

    async def next_batch(self) -> Sequence[Message] | None:
        """Return the next lines, or None at the end of the input."""
        batch = await self._batches.get()
        self._permits.release()
        return batch

    def _read(self) -> None:
        batch: Sequence[Message] | None = ()
        while batch is not None:
            self._permits.acquire()
            batch = self._console.read()
            try:
                self._loop.call_soon_threadsafe(self._batches.put_nowait, batch)
            except RuntimeError:  # The loop is closed: the program ends.
                return


def _shown(uri: WebSocketURI) -> str:
    # Without the password: terminals and logs must not show it.
    return f"{'wss' if uri.secure else 'ws'}://{uri.host_header}{uri.resource_name}"


def _handshake_note(connection: ClientConnection) -> str:
    notes = [] if connection.subprotocol is None else [f"subprotocol {connection.subprotocol}"]
    notes += [] if connection.compression is None else ["compressed"]
    return f" ({', '.join(notes)})" if notes else ""


def _ping_note(payload: bytes) -> str:
    return "ping from the server" + (f" ({payload.hex(' ')})" if payload else "")


def _closing_note(closed: ConnectionClosed) -> str:
    """Say how the connection ended: by which side, with which code and reason."""
    close = closed.rcvd
    if close is None:
        if closed.sent is None:
            return "the connection was lost without a closing handshake (1006)"
        return f"the connection failed: {closed}"
    by = " by the server" if closed.rcvd_then_sent is not False else ""
    try:
        name = f" ({CloseCode(close.code).name.lower().replace('_', ' ')})"
    except ValueError:
        name = ""
    return f"closed{by}: {close.code:d}{name} {close.reason}".rstrip()


def _connect_problem(error: Exception, uri: WebSocketURI) -> str:
    """Return one line that says why there is no connection, and how to mend it."""
    where = _shown(uri)
    if isinstance(error, HandshakeTimeout):
        text = f"no answer from {where} within {OPEN_TIMEOUT:g} seconds; is it a WebSocket server?"
    elif isinstance(error, InvalidHandshake):
        text = str(error)
        if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
            text += "; try --origin or --header"
    elif isinstance(error, ssl.SSLCertVerificationError):
        text = (
            f"the certificate of {where} is not trusted ({error.verify_message}); --insecure skips the check"
        )
    elif isinstance(error, ssl.SSLError):
        text = f"no TLS connection to {where} ({error.reason}); is it a ws:// server?"
    else:
        assert isinstance(error, OSError)
        text = f"cannot connect to {where}: {_reason(error)}"
    return " ".join(text.split())


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown host name; is it spelled right?"
    # If asyncio has tried several addresses, it joins the texts of their errors.
    codes = {int(code) for code in re.findall(r"\[Errno (\d+)\]", str(error))}
    if error.errno is not None:
        codes = {error.errno}
    if codes == {errno.ECONNREFUSED}:
        return "nothing listens there; is the server running, and is the port right?"
    return ", ".join(os.strerror(code).lower() for code in sorted(codes)) or str(error)
