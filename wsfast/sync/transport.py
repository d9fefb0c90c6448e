"""The verbs of a session over a socket, for threads; and who reads.

- ``_lock`` guards all of a connection, and is not held while a thread waits for the peer.
- One thread at a time reads: a caller in ``recv``, one that waits for the end, or the keeper. A caller is blocked in
  the read, without the lock, while ``_is_reading``. Others wait on ``_changed`` for its outcome.
- Bytes that the kernel does not take at once wait in ``_untaken``, for their sender to wait, or else for the keeper.
- ``shutdown`` wakes the threads that are blocked in calls of the socket. The last one closes the descriptor.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..exceptions import ConnectionClosed
from ..session import Stage
from ..session.parts import InParts
from .keeper import ACTIVE, RESTING, WATCHED, keeper
from .stream import NOW, READ, WRITE, Stream, bounded, buffer, is_ready

if TYPE_CHECKING:
    from typing_extensions import Buffer

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]

# Chunks that are read at most after a write has failed: the peer's Close may be there, before its reset.
_LAST_CHUNKS = 16

# Bytes of a chunk after which the next one may be the rest of a large frame, and is received where that will lie.
LARGE = 32_768

_NEVER = float("inf")


class PongEvent(threading.Event):
    """Set when the Pong came. With ``ack_on_close`` it is set at the end of the connection, too."""

    ack_on_close = False
    latency: float | None = None
    """Round-trip time in seconds; None before the Pong."""


class SocketSession(InParts):
    """A session whose bytes come and go through ``socket``."""

    __slots__ = (
        "__weakref__",
        "_broken",
        "_changed",
        "_connecting",
        "_cut",
        "_has_read",
        "_is_large",
        "_is_plain",
        "_is_reading",
        "_lock",
        "_n_senders",
        "_n_waiting",
        "_parts",
        "_parts_size",
        "_rate_at",
        "_shut",
        "_taps",
        "_timer_at",
        "_tls",
        "_untaken",
        "kept",
        "local_address",
        "registered",
        "remote_address",
        "socket",
    )

    def __init__(self, protocol: Protocol, stream: Stream, **options: Any) -> None:
        super().__init__(protocol, **options)
        self.socket = stream.socket
        """The socket. It may be asked, but not be read, written or closed."""
        self.local_address: Any = stream.socket.getsockname()
        """The address of our end: ``(host, port)`` for IPv4, as ``socket.getsockname`` tells it."""
        self.remote_address: Any = None
        """The address of the peer's end, as ``socket.getpeername`` tells it; None if it has left already."""
        with contextlib.suppress(OSError):
            self.remote_address = stream.socket.getpeername()
        self._tls = stream.tls
        self._connecting = protocol.ready_state is ReadyState.CONNECTING
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._n_waiting = 0  # threads that wait for a change
        self._n_senders = 0  # threads that wait until the socket takes more
        self._is_reading = False
        self._has_read = True  # a caller, since the keeper has looked
        self._is_large = False  # the last chunk was
        self._is_plain = False  # open, without TLS, and nobody looks at the bytes
        self.kept = ACTIVE
        self.registered = 0  # events that the keeper waits for
        self._untaken = bytearray()
        self._shut = False  # our half is to be closed after what is unsent
        self._cut = False
        self._broken: OSError | None = None  # the write that failed
        self._timer_at = self._rate_at = _NEVER
        self._parts = None
        self._parts_size = 0
        # Called for each chunk that was received and that is sent, for the log and the counters.
        self._taps: list[tuple[Callable[[bytes], None], Callable[[bytes], None]]] = []

    # Reading. All is called with the lock, but for the keeper's calls.

    def _advance(self, until: float | None) -> None:
        """Read a chunk and take it; or, if another thread reads or nobody may, wait for a change.

        Raises:
            TimeoutError: it is ``until``, and nothing came.
        """
        if self._decoding_scheduled:
            self._decode_at_next_turn()
            self._settle()
            return
        if self._is_reading or (self._pauses and not self._is_looking) or self._is_half_closed or self._cut:
            self._wait_for_change(until)
            return
        place = None
        if self._is_large and self._is_plain and self._waiter is not None:
            # Only for the one receiver: others may begin to receive in parts meanwhile, which would end the view.
            place = self.place_to_receive()
        view = buffer.view if place is None else place
        n, error = -1, None
        self._is_reading = self._has_read = True
        if self.kept is not ACTIVE:
            self._take_back()
        try:
            # Inside, as a signal's handler may raise as soon as it is released.
            self._lock.release()
            if until is None and NOW:
                n = self.socket.recv_into(view)
            elif is_ready(self.socket, READ, until):
                n = self.socket.recv_into(view, 0, NOW)
        except BlockingIOError:
            pass
        except OSError as exception:
            error = exception.with_traceback(None)  # it has this frame: a cycle would keep the connection
        finally:
            try:
                if not self._lock.acquire(False):
                    _acquire(self._lock)
            finally:
                self._is_reading = False
                if self.kept is not ACTIVE or self._n_waiting or self._stage is not Stage.OPEN:
                    self._read_ended()
        if n > 0 and self._is_plain and self._stage is not Stage.CLOSED:
            # The usual case, in one call less for each step.
            self._has_heard = True
            self._is_large = n > LARGE
            if place is None:
                self.take_events(self._feed(view[:n]))
            else:
                self.take_events(self._decoder.buffer_updated(n))
            if self._cut or self._broken is not None:
                self._settle()
        elif error is not None:
            self._lost_by(error)
        elif n >= 0:
            self._take(view[:n])
        elif until is not None and not time.monotonic() < until:  # nor ever, if it is no number
            raise TimeoutError("no message within the time limit")

    def _read_ended(self) -> None:
        if self.kept is not ACTIVE:
            self._take_back()
        if self._n_waiting:
            self._changed.notify_all()
        if self._stage is Stage.CLOSED:
            self._close_if_unused()

    def _wait_for_change(self, until: float | None) -> None:
        left = None if until is None else bounded(until - time.monotonic())
        self._n_waiting += 1
        try:
            if (left is not None and left <= 0) or not self._changed.wait(left):
                raise TimeoutError("the time limit is over")
        finally:
            self._n_waiting -= 1

    def _take_back(self) -> None:
        """A caller reads again, or has left its read: the keeper has to look."""
        self.kept = ACTIVE
        self._has_read = True
        keeper().post(self)

    def _have_it_read(self) -> None:
        """Let the keeper read at once, if nobody does."""
        if self.kept is ACTIVE and not self._is_reading:
            self.kept = WATCHED
            keeper().post(self)

    def _take(self, data: memoryview) -> None:
        """Take bytes of the socket; empty ones are the end of the peer's half."""
        if self._stage is Stage.CLOSED:
            return
        self._is_large = len(data) > LARGE
        has_ended = not data
        if self._tls is None:
            if data:
                self._received(data)
        else:
            has_ended = self._take_encrypted(data)
        if has_ended:
            if not self._is_half_closed:
                self.half_closed()
            if not self.keeps_half_open:
                self._close_half()
        if self._cut or self._broken is not None:
            self._settle()

    def _take_encrypted(self, data: memoryview) -> bool:
        """Take bytes of TLS; return True if the peer closed its half."""
        tls = self._tls
        assert tls is not None
        try:
            decrypted = tls.decrypted(data)
        except OSError as error:
            self._send(tls.to_send())  # the alert
            self._lost_by(error)
            return False
        self._send(tls.to_send())
        if decrypted:
            self._received(decrypted)
        return tls.has_ended

    def _received(self, data: Buffer) -> None:
        if self._connecting:  # what follows a request that was refused
            self.protocol.receive_data(data)
            return
        for received, _ in self._taps:
            received(bytes(data))
        self._has_heard = True
        self.take_events(self._feed(data))

    def _receive_now(self) -> memoryview:
        """Return the bytes that the kernel has; empty ones are the end."""
        view = buffer.view
        return view[: self.socket.recv_into(view, 0, NOW)]

    # Writing

    def _write(self, data: bytes) -> None:
        if self._is_cut():
            return
        for _, sent in self._taps:
            sent(data)
        if self._tls is not None:
            try:
                data = self._tls.encrypted(data)
            except OSError as error:
                self._broken = error.with_traceback(None)
                return
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Send bytes of the socket; the rest that the kernel does not take waits."""
        n_sent = 0
        if not data or self._broken is not None:
            return
        if not self._untaken:
            try:
                n_sent = self.socket.send(data, NOW)
            except BlockingIOError:
                pass
            except OSError as error:
                self._broken = error.with_traceback(None)
                return
        if n_sent < len(data):
            self._keep_unsent(memoryview(data)[n_sent:])

    def _keep_unsent(self, rest: Buffer) -> None:
        self._untaken += rest
        if not self._blocked:
            self.writing_blocked()
        if not self._n_senders:
            keeper().post(self)

    def _send_unsent(self) -> None:
        """Send the bytes that wait, as far as the kernel takes them."""
        unsent = self._untaken
        try:
            while unsent and self._broken is None:
                del unsent[: self.socket.send(unsent, NOW)]
        except BlockingIOError:
            return
        except OSError as error:
            self._broken = error.with_traceback(None)
            unsent.clear()
        if self._blocked:
            self.writing_resumed()  # which may write
            self._notify()
        if self._shut and not unsent:
            self._shut_half()

    def _wait_sent(self, until: float | None) -> None:
        """Wait until the peer has taken enough of what was written.

        Raises:
            TimeoutError: it is ``until``; what was written stays in line.
        """
        self._n_senders += 1
        try:
            while self._blocked and not self._is_ended():
                try:
                    self._lock.release()
                    ready = is_ready(self.socket, WRITE, until)
                finally:
                    if not self._lock.acquire(False):
                        _acquire(self._lock)
                if not ready:
                    raise TimeoutError("the peer did not read within the time limit")
                try:
                    self._send_unsent()
                except BaseException as exception:
                    self._is_torn_by(exception)
                    raise
                self._settle()
        finally:
            self._n_senders -= 1
            if self._stage is Stage.CLOSED:
                self._close_if_unused()
            elif self._untaken and not self._n_senders:
                keeper().post(self)

    def _is_torn_by(self, exception: BaseException) -> None:
        """Cut TCP if a signal interrupted a step that sends: nobody knows which bytes have left."""
        if not isinstance(exception, Exception):
            self._abort()
            self._settle()

    # The end

    def _is_ended(self) -> bool:
        return self._stage is Stage.CLOSED

    def _lost_by(self, error: OSError) -> None:
        self._broken, self._cut = error.with_traceback(None), True
        self._settle()

    def _settle(self) -> None:
        """End the session if TCP has ended meanwhile. The last act of all that may have ended it."""
        if self._broken is not None and not self._cut:
            if self._is_reading:
                self._wake_readers()  # who calls this again
                return
            for _ in range(_LAST_CHUNKS):
                if self.is_reading_paused or self._is_half_closed:
                    break
                try:
                    data = self._receive_now()
                except OSError:
                    break
                if not data:
                    break
                if self._tls is None:
                    self._received(data)
                else:
                    with contextlib.suppress(OSError):
                        self._received(self._tls.decrypted(data))
            self._cut = True
        if self._cut and self._stage is not Stage.CLOSED:
            self._untaken.clear()
            self._wake_readers()
            self.lost(self._broken)
            self.writing_resumed()
            self._notify()
            keeper().forget(self)
            self._close_if_unused()

    def _wake_readers(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def _close_if_unused(self) -> None:
        if self.registered:
            keeper().post(self)
        elif not self._is_reading and not self._n_senders:
            self.socket.close()

    def cut(self) -> None:
        """Cut TCP at once."""
        with self._lock:
            self._abort()
            self._settle()

    # The keeper's calls

    def attend(self, arrange: Callable[[SocketSession, int], None], is_tick: bool) -> None:
        """Do what nobody else does, and ``arrange`` the events of the socket to wait for."""
        with self._lock:
            if is_tick:
                if self._has_read:
                    self._has_read = False
                else:
                    self.kept = RESTING if self._is_reading else WATCHED
            if self._decoding_scheduled and self._waiter is None:
                self._decode_at_next_turn()
            if self._untaken and not self._n_senders:
                self._send_unsent()
            self._read_once()
            self._settle()
            events = selectors.EVENT_READ if self._wants_to_be_read() else 0
            if self._untaken and not self._n_senders:
                events |= selectors.EVENT_WRITE
            if events != self.registered:
                arrange(self, events)
                self.registered = events
            if self._is_ended():
                self._close_if_unused()

    def _read_once(self) -> None:
        """Read a chunk, if there is one and nobody else reads."""
        if self._wants_to_be_read():
            try:
                self._take(self._receive_now())
            except BlockingIOError:
                pass
            except OSError as error:
                self._lost_by(error)

    def _wants_to_be_read(self) -> bool:
        return (
            self.kept is WATCHED
            and not self._is_reading
            and not self.is_reading_paused
            and not self._is_half_closed
            and not self._cut
            and not self._connecting
        )

    def time_is_over(self, now: float) -> None:
        """Do what is due."""
        with self._lock:
            if self._is_ended() or now < self._timer_at:
                return  # an earlier timer was set since, and looked at all
            self._timer_at = _NEVER
            self._have_it_read()
            self._read_once()  # a peer is judged by all that it has sent
            if self._rate_at <= now:
                self._rate_at = _NEVER
                self._look_at_rate()
            self.deadline_reached(now)
            self._settle()
            self._set_timer(
                self._rate_at if self._deadline is None else min(self._deadline_at, self._rate_at)
            )

    def let_go(self) -> None:
        """After a fork, in the child: the connection is the parent's. The peer hears nothing of this."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._n_waiting = self._n_senders = 0  # the parent's threads are not here
        self._waiter, self._is_reading = None, False
        self._pings.abandon()
        with self._lock:
            self._cut = True
            self.lost(ConnectionError("the process was forked, and the connection is the parent's"))
            self.socket.close()

    # Verbs

    def _is_cut(self) -> bool:
        return self._cut or self._shut or self._broken is not None

    def _close_half(self) -> None:
        self._shut = True
        if not self._untaken:
            self._shut_half()

    def _shut_half(self) -> None:
        if self._tls is not None and self._stage is not Stage.CLOSED:
            last, tls, self._tls = self._tls.end(), self._tls, None
            self._send(last)
            self._tls = tls
        if self._is_half_closed:
            self._cut = True
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the peer's reset is there already
            self._cut = True

    def _can_half_close(self) -> bool:
        return self._tls is None

    def _abort(self) -> None:
        self._cut = True
        self._wake_readers()

    def _stop_reading(self) -> None:
        pass  # whoever reads asks first

    def _start_reading(self) -> None:
        self._notify()
        if self.kept is WATCHED:
            keeper().post(self)

    def _unsent_size(self) -> int:
        size = len(self._untaken)
        if ioctl is not None:
            # The kernel's share, up to megabytes on Linux: bytes that the peer has not acknowledged.
            with contextlib.suppress(OSError, ValueError):
                size += struct.unpack("i", ioctl(self.socket.fileno(), TIOCOUTQ, bytes(4)))[0]
        return size

    def _now(self) -> float:
        return time.monotonic()

    def _deadline_changed(self) -> None:
        if self._deadline is not None:
            self._set_timer(self._deadline_at)

    def _set_timer(self, at: float) -> None:
        if at < self._timer_at:
            self._timer_at = at
            keeper().call_at(at, self)

    def _flush_soon(self) -> None:
        pass  # a batch is written at its end

    def _decode_soon(self) -> None:
        self._notify()
        if self._waiter is None:
            keeper().post(self)

    def _look_at_rate_at(self, at: float) -> None:
        self._rate_at = at
        self._set_timer(at)

    def _wake(self) -> None:
        if self._n_waiting:
            self._changed.notify_all()

    def _notify(self) -> None:
        if self._n_waiting:
            self._changed.notify_all()

    def _pong_received(self, waiter: PongEvent | None, latency: float) -> None:
        if waiter is not None:
            waiter.latency = latency
            waiter.set()
        self._notify()

    def _pong_lost(self, waiter: PongEvent | None, exception: ConnectionClosed) -> None:
        if waiter is not None and waiter.ack_on_close:
            waiter.set()


def _acquire(lock: Any) -> None:
    """Acquire a lock, whatever the handlers of signals raise meanwhile; raise that afterwards."""
    interruption: BaseException | None = None
    while True:
        try:
            lock.acquire()
            break
        except BaseException as exception:
            interruption = exception
    if interruption is not None:
        raise interruption
