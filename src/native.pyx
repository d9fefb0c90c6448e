# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The compiled codec: objects around the kernels in src/kernels (RFC 6455 5 and 8.1).

C knows bytes, Cython knows objects. Here a chunk is walked once; a data message costs one object. The rules of
framing are judged in kernels/frame_header.h, their texts are in wsfast/faults.py, the interface with its
docstrings is in wsfast/native.pyi. Nothing here does I/O, reads a clock or draws a random number while decoding.

Memory follows bytes received: a frame that lies whole in a chunk goes straight into its final object; of any
other the payload is collected in an object that grows with what arrives and becomes the message: a ``bytes``, or a
``str`` as long as text is ASCII.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.list cimport PyList_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_Check
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from c_api cimport *

from os import urandom
import os
from operator import index

from wsfast import faults, mistakes
from wsfast.events import Close, Failure, Frame, FrameHeader, Opcode, Ping, Pong, Role, is_sendable_close_code

IMPLEMENTATION = "native"

# The kernels for text that is not ASCII; NULL where there are none for this CPU. WSFAST_KERNEL in the environment
# names the best one to use: "avx512", "avx2", "sse4", or "baseline" for none.
cdef const wsfast_text_kernels* text_kernels = NULL


cdef str choose_kernels():
    global text_kernels
    cdef bytes at_most = os.environ.get("WSFAST_KERNEL", "").encode()
    text_kernels = wsfast_choose_text_kernels(<const char*>at_most if at_most else NULL)
    baseline = (<bytes>WSFAST_KERNEL).decode()
    chosen = baseline if text_kernels is NULL else (<bytes>text_kernels.name).decode()
    return baseline if chosen == baseline else f"{baseline}+{chosen}"  # NEON is both


KERNEL = choose_kernels()

# Members looked up by number: an enum call costs more than the frame.
cdef dict OPCODES = {int(opcode): opcode for opcode in Opcode}


# --- masking and UTF-8, one call each ----------------------------------------------------------------------


cdef inline uint32_t read_key(object masking_key) except? 0:
    """The key as the kernels take it (RFC 6455 5.3)."""
    cdef Py_buffer key
    if type(masking_key) is bytes and PyBytes_GET_SIZE(masking_key) == 4:
        return wsfast_load32(<const uint8_t*>PyBytes_AS_STRING(masking_key))
    PyObject_GetBuffer(masking_key, &key, PyBUF_SIMPLE)
    try:
        if key.len != 4:
            raise ValueError(f"masking key must have 4 bytes, not {key.len}")
        return wsfast_load32(<const uint8_t*>key.buf)
    finally:
        PyBuffer_Release(&key)


def apply_mask(data, masking_key):
    """Mask or unmask ``data``: XOR with the 4-byte ``masking_key``, repeated (RFC 6455 5.3)."""
    cdef Py_buffer source
    cdef uint32_t key
    cdef bytes masked
    PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
    try:
        key = read_key(masking_key)
        masked = PyBytes_FromStringAndSize(NULL, source.len)
        wsfast_mask(<uint8_t*>PyBytes_AS_STRING(masked), <const uint8_t*>source.buf, source.len, key)
        return masked
    finally:
        PyBuffer_Release(&source)


def mask_inplace(buffer, masking_key, phase=0):
    """Mask or unmask a writable ``buffer`` in place, from ``phase`` in the key on (RFC 6455 5.3)."""
    cdef Py_buffer target
    cdef uint32_t key
    cdef int start
    PyObject_GetBuffer(buffer, &target, PyBUF_WRITABLE)
    try:
        key = read_key(masking_key)
        if type(phase) is not int:
            phase = index(phase)
        if not 0 <= phase <= 3:
            raise ValueError(f"phase must be 0 to 3, not {phase}")
        start = phase
        wsfast_mask(<uint8_t*>target.buf, <const uint8_t*>target.buf, target.len, wsfast_rotate_key(key, start))
        return (start + target.len) & 3
    finally:
        PyBuffer_Release(&target)


def utf8_valid(data):
    """Tell whether ``data`` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)."""
    cdef Py_buffer source
    PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
    try:
        return utf8_valid_memory(<const unsigned char*>source.buf, source.len) != 0
    finally:
        PyBuffer_Release(&source)


cdef class Utf8Validator:
    """Check UTF-8 as it arrives, in pieces cut anywhere (RFC 6455 8.1)."""

    cdef wsfast_utf8 state
    cdef wsfast_measure measure     # nobody asks; it is part of the check
    cdef bint valid

    def __cinit__(self):
        self.valid = True

    @cython.critical_section
    def feed(self, data):
        """Check the next piece. False from the first byte that no continuation could mend, and ever after."""
        cdef Py_buffer source
        PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
        try:
            if self.valid:
                self.valid = wsfast_utf8_feed_by(
                    text_kernels, &self.state, <const uint8_t*>source.buf, source.len, &self.measure)
            return self.valid
        finally:
            PyBuffer_Release(&source)

    @property
    def complete(self):
        """True when all that was fed is valid and does not end inside a character."""
        return self.valid and self.state.n_due == 0

    @cython.critical_section
    def reset(self):
        """Start anew, as after construction."""
        self.valid = True
        self.state = wsfast_utf8(n_due=0)


# --- decoding ----------------------------------------------------------------------------------------------


cdef uint64_t bound_of(object bound, str name) except? 0:
    """A bound of one feed: a limit that lets something through."""
    cdef uint64_t value = limit_of(bound, name)
    if value == 0:
        raise ValueError(mistakes.no_bound(name))
    return value


cdef uint64_t limit_of(object limit, str name) except? 0:
    """A limit as the rules hold it: None is no limit, and so is more than a length can say."""
    if limit is None:
        return UINT64_MAX
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"{name} must be an int or None, not {type(limit).__name__}")
    if limit < 0:
        raise ValueError(f"{name} must not be negative, and is {limit}")
    return <uint64_t>min(limit, UINT64_MAX)


# By verdict. Those with numbers in their text are functions of them.
cdef tuple FAULTS = (
    None,
    faults.reserved_bits,
    faults.reserved_opcode,
    faults.NOT_MASKED,
    faults.MASKED,
    faults.CONTROL_FRAGMENTED,
    faults.CONTROL_TOO_LONG,
    faults.NOTHING_TO_CONTINUE,
    faults.MESSAGE_UNFINISHED,
    faults.too_many_fragments,
    faults.LENGTH_TOP_BIT,
    faults.length_not_minimal,
    faults.frame_too_big,
    faults.message_too_big,
    faults.COMPRESSED_CONTINUATION,
    faults.compressed_message_too_big,
)


cdef object fault_of(wsfast_verdict verdict, const wsfast_rules* rules, const wsfast_header* header):
    """The failure that a verdict stands for, with its numbers."""
    cdef uint64_t* numbers = [0, 0]
    cdef int n_numbers = wsfast_fault_numbers(verdict, rules, header, numbers)
    fault = FAULTS[<int>verdict]
    if n_numbers == 0:
        return fault
    return fault(numbers[0]) if n_numbers == 1 else fault(numbers[0], numbers[1])


cdef object parse_close(bytes payload):
    """The Close event, or the failure, that the body of a Close frame is (RFC 6455 5.5.1, 7.4)."""
    cdef int code
    if not payload:
        return Close()
    if len(payload) == 1:
        return faults.CLOSE_PAYLOAD_OF_ONE_BYTE
    code = payload[0] << 8 | payload[1]
    if not is_sendable_close_code(code):
        return faults.invalid_close_code(code)
    if not utf8_valid_memory(<const unsigned char*>PyBytes_AS_STRING(payload) + 2, len(payload) - 2):
        return faults.CLOSE_REASON_NOT_UTF8
    return Close(code, payload[2:].decode())


cdef inline bytes text_bytes_of(const uint8_t* payload, Py_ssize_t size, uint32_t masking_key):
    """The UTF-8 of a whole text, or None if it is not UTF-8."""
    cdef bytes text = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t* start = <uint8_t*>PyBytes_AS_STRING(text)
    if wsfast_mask_to_ascii(start, payload, size, masking_key) or utf8_valid_memory(start, size):
        return text
    return None


cdef inline object owned(PyObject* new):
    """The object of a new reference from C."""
    result = <object>new
    Py_XDECREF(new)
    return result


cdef bytes checked_piece(object piece):
    if type(piece) is not bytes:
        raise TypeError(mistakes.not_bytes_inflated(piece))
    return piece


cdef inline object text_of(const uint8_t* payload, Py_ssize_t size, uint32_t masking_key, uint8_t* expects_ascii):
    """The str of a whole text, or None if it is not UTF-8."""
    cdef PyObject* text = wsfast_text_to_str(text_kernels, payload, size, masking_key, expects_ascii)
    return None if text is NULL else owned(text)


@cython.final
cdef class _Room:
    """Memory after the collected bytes, to receive into; a view of it keeps that alive."""

    cdef PyObject* owner
    cdef char* start
    cdef Py_ssize_t size
    cdef Py_ssize_t n_views
    cdef bint closed                # the received bytes are in use: nobody else may write here any more

    def __dealloc__(self):
        Py_XDECREF(self.owner)

    def __getbuffer__(self, Py_buffer* view, int flags):
        if self.closed:
            raise BufferError(mistakes.BUFFER_USED)
        # Not by PyBuffer_FillInfo(): it would lose the reference to None that Cython has put into view.obj.
        view.obj = self
        view.buf = self.start
        view.len = self.size
        view.itemsize = 1
        view.readonly = 0
        view.ndim = 1
        view.format = <char*>"B" if flags & PyBUF_FORMAT else NULL
        view.shape = &view.len if flags & PyBUF_ND else NULL
        view.strides = &view.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        view.internal = NULL
        self.n_views += 1

    def __releasebuffer__(self, Py_buffer* view):
        self.n_views -= 1


cdef enum:
    BUSY = 1        # in a call, which can come back to Python: to inflate(), a finalizer, a signal handler
    WAITING = 2     # bytes wait that came before the next chunk
    VIEW = 4        # get_buffer() has given away a view


# Bytes of a frame that have to be missing before it is received in place; and the room that is offered then,
# unless more than that was received already.
cdef Py_ssize_t LARGE_SIZE = 65_536


# Bytes of a payload that are unmasked before they are looked at again. Text stays in the fastest cache; and what is
# compressed takes no memory to speak of beside what comes out of it.
cdef Py_ssize_t BLOCK_SIZE = 16_384
cdef Py_ssize_t DEFLATED_BLOCK_SIZE = 2048


cdef uint64_t max_deflated_size(uint64_t max_message_size) noexcept:
    """Bytes that a compressed message of `max_message_size` may have (10.4): no encoder needs an eighth more."""
    cdef uint64_t more = max_message_size // 8 + 1024
    return UINT64_MAX if max_message_size > UINT64_MAX - more else max_message_size + more


cdef class _Decoder:
    """The parser under both decoders: headers, control frames, and collecting what came in pieces."""

    cdef readonly object role
    cdef readonly object failure
    cdef uint8_t hindrance          # BUSY, WAITING, VIEW: what feed() has to look at first
    cdef bint control_seen          # by the last feed(): a control frame, or a failure
    cdef bint headers               # each header is an event
    cdef bint bounded               # one feed completes `max_events` or `max_size` bytes; then the rest of a chunk waits
    cdef uint64_t max_events
    cdef uint64_t max_size
    cdef uint64_t fed_size          # bytes that this feed has completed, if that is bounded
    cdef bytes waiting              # that rest, or None; it is used from `waiting_pos` on
    cdef Py_ssize_t waiting_pos
    cdef bint finished              # a Close or a failure came: what follows is ignored (5.5.1, 7.1.7)
    cdef bint in_frame              # the header is read, the payload is not complete
    cdef uint8_t n_held             # bytes of an unfinished header, in `held`
    cdef uint8_t control_size
    cdef uint8_t held[WSFAST_MAX_HEADER_SIZE]
    cdef uint8_t control[WSFAST_MAX_CONTROL_SIZE]
    cdef wsfast_rules rules
    cdef wsfast_header header       # of the frame we are in
    cdef uint32_t masking_key       # rotated to the next byte of its payload
    cdef uint64_t n_missing         # payload bytes of the frame that have not come yet
    cdef PyObject* collected        # bytes, or str, larger than what is in it; NULL while there is nothing
    cdef bint collects_str          # ... it is a str, all ASCII
    cdef Py_ssize_t n_collected
    cdef _Room room                 # the memory that get_buffer() gave away, until `collected` has to move
    cdef object view                # of it, until the next call
    cdef Py_ssize_t n_offered       # its size, in bytes

    def __dealloc__(self):
        Py_XDECREF(self.collected)

    @cython.critical_section
    def feed(self, chunk):
        """Decode the next ``chunk``, of any size, and return what it completed, in order."""
        cdef Py_buffer source
        PyObject_GetBuffer(chunk, &source, PyBUF_SIMPLE)
        try:
            return self.decode(<const uint8_t*>source.buf, source.len)
        finally:
            PyBuffer_Release(&source)

    @cython.final
    cdef list decode(self, const uint8_t* data, Py_ssize_t size):
        cdef list events
        cdef Py_ssize_t n_used
        if self.hindrance:
            return self.decode_hindered(data, size)
        events = []
        self.hindrance = BUSY
        n_used = self.walk(data, size, events)
        self.hindrance = 0
        if n_used < size:
            self.keep_rest(data + n_used, size - n_used)
        return events

    cdef int keep_rest(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Keep the bytes that come after what one feed may complete."""
        if not self.finished:
            self.waiting = PyBytes_FromStringAndSize(<const char*>data, size)
            self.waiting_pos = 0
            self.hindrance = WAITING
        return 0

    cdef list decode_hindered(self, const uint8_t* data, Py_ssize_t size):
        cdef list events = []
        cdef bytes waiting
        self.enter()
        if self.view is not None:
            self.take_back()
        if self.waiting is None:
            self.hindrance = 0
            return self.decode(data, size)
        waiting, self.waiting = self.waiting, None
        if size:
            waiting = waiting[self.waiting_pos:] + PyBytes_FromStringAndSize(<const char*>data, size)
            self.waiting_pos = 0
        data = <const uint8_t*>PyBytes_AS_STRING(waiting) + self.waiting_pos
        size = PyBytes_GET_SIZE(waiting) - self.waiting_pos
        n_used = self.walk(data, size, events)
        self.hindrance = 0
        if n_used < size and not self.finished:
            self.waiting = waiting
            self.waiting_pos += n_used
            self.hindrance = WAITING
        return events

    @cython.final
    cdef inline Py_ssize_t walk(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        """Decode the bytes there, up to the bound of a feed. Returns how many were used."""
        cdef Py_ssize_t pos = 0, n_payload
        self.control_seen = False
        self.fed_size = 0
        while not self.finished:
            if not self.in_frame:
                if self.bounded and self.is_full(events):
                    break
                if not self.n_held:
                    pos += self.take_small_messages(data + pos, size - pos, events)
                if pos == size or self.bounded and self.is_full(events):
                    break
                pos += self.start_frame(data + pos, size - pos)
                if not self.in_frame:
                    break
                if self.headers:
                    events.append(self.frame_header())
            n_payload = size - pos
            if self.n_missing <= <uint64_t>n_payload:
                n_payload = <Py_ssize_t>self.n_missing
            elif n_payload == 0:
                break
            if self.header.first & 0x08:
                self.take_control(data + pos, n_payload, events)
            else:
                self.take_payload(data + pos, n_payload, events)
            pos += n_payload
        return pos

    @cython.final
    cdef bint is_full(self, list events) noexcept:
        """True when one feed has completed as much as it may."""
        return <uint64_t>PyList_GET_SIZE(events) >= self.max_events or self.fed_size >= self.max_size

    @cython.final
    cdef int enter(self) except -1:
        """Begin a call. Its end takes BUSY back. An exception leaves it, as the rest of a chunk is lost then."""
        if self.hindrance & BUSY:
            raise RuntimeError(mistakes.DECODER_BUSY)
        self.hindrance |= BUSY
        return 0

    cdef int take_back(self) except -1:
        """End the view of get_buffer(), of which nothing is used."""
        self.close_view(0)
        if self.n_collected == 0:
            self.drop()
        return 0

    cdef int close_view(self, Py_ssize_t n_received) except -1:
        """Let nobody write to the view of get_buffer() any more; `n_received` bytes came into it."""
        view, self.view = self.view, None
        self.hindrance &= ~VIEW
        self.room.closed = True
        wsfast_release_view(view)
        if self.room.n_views:
            # Somebody has a part of the view and may go on writing: that memory is theirs from now on.
            self.resize(self.collected_room(), self.n_collected + n_received)
        return 0

    cdef Py_ssize_t take_small_messages(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        """Take a shorter way through what begins with a frame, if there is one. Returns the bytes used."""
        return 0

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        """Take what is there of a data frame's payload: all that is missing, or the rest of the chunk."""
        raise NotImplementedError

    cdef int end_control(self, int opcode, bytes payload, list events) except -1:
        """Make the event of a control frame that is complete."""
        raise NotImplementedError

    cdef object frame_header(self):
        cdef uint8_t first = self.header.first
        return FrameHeader(
            OPCODES[first & 0x0F], self.header.payload_length, first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0,
            first & 0x10 != 0)

    cdef int set_role(self, object role) except -1:
        self.role = Role(role)
        self.rules.masked = 0x80 if self.role is Role.SERVER else 0
        return 0

    cdef int fail(self, object failure) except -1:
        """Fail the connection (7.1.7): what was incomplete is dropped, what comes is ignored."""
        self.failure = failure
        self.control_seen = True
        self.finished = True
        self.drop()
        return 0

    cdef void drop(self) noexcept:
        Py_XDECREF(self.collected)
        self.forget()

    cdef inline void forget(self) noexcept:
        """Begin to collect anew; what was collected belongs to somebody else now."""
        self.collected = NULL
        self.collects_str = False
        self.n_collected = 0
        self.room = None

    cdef Py_ssize_t start_frame(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Read a header at the start of `data`. Returns the bytes used; `in_frame` tells if it is complete."""
        cdef wsfast_verdict verdict
        cdef Py_ssize_t n_taken = 0, n_used
        if self.n_held:
            n_taken = min(<Py_ssize_t>(WSFAST_MAX_HEADER_SIZE - self.n_held), size)
            memcpy(self.held + self.n_held, data, n_taken)
            verdict = wsfast_read_header(&self.rules, self.held, self.n_held + n_taken, &self.header)
        else:
            verdict = wsfast_read_header(&self.rules, data, size, &self.header)
        if verdict == WSFAST_COMPLETE:
            n_used = self.header.size - self.n_held
            self.n_held = 0
            self.in_frame = True
            self.n_missing = self.header.payload_length
            self.masking_key = self.header.masking_key
            if not self.header.first & 0x08:
                self.rules.n_fragments += 1
                if self.header.first & 0x0F != WSFAST_CONTINUATION:
                    self.rules.message = <wsfast_message>(self.header.first & 0x0F)
                    self.rules.compressed = self.rules.inflates and self.header.first & WSFAST_RSV1  # RFC 7692 6
            return n_used
        if verdict == WSFAST_INCOMPLETE:
            # Fewer than 14 bytes are there in all, so `held` has room for each of them.
            if not self.n_held:
                memcpy(self.held, data, size)
                n_taken = size
            self.n_held += n_taken
            return size
        self.fail(fault_of(verdict, &self.rules, &self.header))
        return size

    cdef inline uint8_t* collected_end(self) noexcept:
        """Where the next bytes belong."""
        cdef void* start = str_data(self.collected) if self.collects_str else <void*>bytes_data(self.collected)
        return <uint8_t*>start + self.n_collected

    cdef inline Py_ssize_t collected_room(self) noexcept:
        """Bytes that have room in `collected`, those that are in it included."""
        if self.collected == NULL:
            return 0
        return str_length(self.collected) if self.collects_str else bytes_size(self.collected)

    cdef int make_room(self, Py_ssize_t size, uint64_t rest) except -1:
        """Make room for `size` bytes, of which there are some; no more than `rest` bytes can come behind them."""
        cdef Py_ssize_t needed = self.n_collected + size
        if needed > self.collected_room():
            # As much again as there is, so that many small pieces are not copied each time.
            self.resize(needed + <Py_ssize_t>min(rest, <uint64_t>needed), self.n_collected)
        return 0

    cdef int resize(self, Py_ssize_t size, Py_ssize_t n_used) except -1:
        cdef PyObject* moved
        cdef const char* old
        cdef int status
        self.room = None  # views of it, if there are any, keep what they need
        if self.collected == NULL or n_references(self.collected) > 1:
            moved = new_str(size, 0x7F) if self.collects_str else new_bytes(NULL, size)
            if self.collected != NULL:
                # Somebody still holds a view of it, and may have it.
                old = <const char*>(str_data(self.collected) if self.collects_str else bytes_data(self.collected))
                memcpy(str_data(moved) if self.collects_str else bytes_data(moved), old, n_used)
                Py_XDECREF(self.collected)
            self.collected = moved
            return 0
        if self.collects_str:
            status = PyUnicode_Resize(&self.collected, size)
        else:
            status = _PyBytes_Resize(&self.collected, size)
        return status

    cdef int collect(self, const uint8_t* data, Py_ssize_t size, uint64_t rest) except -1:
        """Unmask `size` bytes of the frame's payload to the end of what was collected; `rest` as in make_room()."""
        self.make_room(size, rest)
        self.masking_key = wsfast_mask(self.collected_end(), data, size, self.masking_key)
        self.n_collected += size
        return 0

    cdef object take_collected(self):
        """What was collected, as an object that is the caller's; ours is gone."""
        if self.collected == NULL:
            return b""
        if self.collected_room() != self.n_collected:
            self.resize(self.n_collected, self.n_collected)
        whole = <object>self.collected
        self.drop()
        return whole

    cdef int take_control(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        cdef bytes payload
        self.masking_key = wsfast_mask(self.control + self.control_size, data, size, self.masking_key)
        self.control_size += size
        self.n_missing -= size
        if self.n_missing == 0:
            self.in_frame = False
            payload = PyBytes_FromStringAndSize(<char*>self.control, self.control_size)
            self.fed_size += self.control_size
            self.control_size = 0
            self.control_seen = True
            self.end_control(self.header.first & 0x0F, payload, events)
        return 0

    cdef object end_close(self, bytes payload):
        """The Close event, or None when its body is a fault; in either case what follows is ignored."""
        event = parse_close(payload)
        if type(event) is Failure:
            self.fail(event)
            return None
        self.finished = True
        self.drop()
        return event


cdef class MessageDecoder(_Decoder):
    """Bytes in, messages out (RFC 6455 5 and 8.1). ``native.pyi`` says what each argument means."""

    cdef readonly object max_message_size
    cdef readonly object max_frame_size
    cdef readonly object max_fragments
    cdef readonly object max_feed_events
    cdef readonly object max_feed_size
    cdef bint text_as_bytes
    cdef int small_size             # payload bytes of a frame that may go the shorter way
    cdef object inflate             # of compressed messages (RFC 7692); None: there are none
    cdef wsfast_utf8 utf8           # of the text message that is being collected, unless all of it is ASCII
    cdef wsfast_measure measure     # the same
    cdef Py_ssize_t n_ascii         # bytes at its beginning that are ASCII
    cdef uint8_t expects_ascii      # the last text was; a guess for the next one

    def __cinit__(
        self, role, *, max_message_size=1_048_576, max_frame_size=None, max_fragments=131_072, max_feed_events=None,
        max_feed_size=None, text="str", inflate=None
    ):
        self.set_role(role)
        self.rules.max_message_size = limit_of(max_message_size, "max_message_size")
        self.rules.max_frame_size = limit_of(max_frame_size, "max_frame_size")
        self.rules.max_fragments = limit_of(max_fragments, "max_fragments")
        self.max_message_size = max_message_size
        self.max_frame_size = max_frame_size
        self.max_fragments = max_fragments
        self.max_events = bound_of(max_feed_events, "max_feed_events")
        self.max_size = bound_of(max_feed_size, "max_feed_size")
        self.bounded = max_feed_events is not None or max_feed_size is not None
        self.max_feed_events = max_feed_events
        self.max_feed_size = max_feed_size
        if text not in ("str", "bytes"):
            raise ValueError(f"text must be 'str' or 'bytes', not {text!r}")
        self.text_as_bytes = text == "bytes"
        self.small_size = -1 if self.rules.max_fragments == 0 else <int>min(
            <uint64_t>WSFAST_MAX_CONTROL_SIZE, self.rules.max_message_size, self.rules.max_frame_size)
        self.expects_ascii = 1
        if inflate is not None:
            if not callable(inflate):
                raise TypeError(f"inflate must be a function, not {type(inflate).__name__}")
            self.inflate = inflate
            self.rules.inflates = 1
            self.rules.allowed_rsv = WSFAST_RSV1
            self.rules.max_deflated_size = max_deflated_size(self.rules.max_message_size)

    @property
    def text(self):
        """``"str"`` or ``"bytes"``: what a text message is delivered as."""
        return "bytes" if self.text_as_bytes else "str"

    @property
    def has_control(self):
        """True if the last ``feed`` met a Ping, a Pong, a Close or a failure, or bytes wait: else it was data alone."""
        return self.control_seen or self.waiting is not None

    @property
    def has_waiting(self):
        """True while received bytes wait, as the last ``feed`` had completed as much as it may."""
        return self.waiting is not None

    @cython.critical_section
    def get_buffer(self, sizehint=-1):
        """Return a view to receive the next bytes into, in place, or None when ``feed`` has to be used."""
        index(sizehint)
        self.enter()
        view = self.offer()
        self.hindrance &= ~BUSY
        return view

    cdef object offer(self):
        cdef Py_ssize_t size
        if self.view is not None:
            self.take_back()
        if (
            self.finished or not self.in_frame or self.header.first & 0x08 or self.rules.compressed
            or self.n_missing < <uint64_t>LARGE_SIZE
        ):
            return None
        if self.collected_room() - self.n_collected < LARGE_SIZE:
            if self.collected == NULL:
                self.begin_text(self.rules.message == WSFAST_TEXT_MESSAGE and not self.text_as_bytes)
            # As much again as was received: memory follows that, and not what a header declares.
            size = max(LARGE_SIZE, self.n_collected)
            if <uint64_t>size > self.n_missing:
                size = self.n_missing
            self.resize(self.n_collected + size, self.n_collected)
        self.room = _Room()
        Py_INCREF(<object>self.collected)
        self.room.owner = self.collected
        self.room.start = <char*>self.collected_end()
        self.n_offered = self.room.size = <Py_ssize_t>min(
            <uint64_t>(self.collected_room() - self.n_collected), self.n_missing)
        self.view = PyMemoryView_FromObject(self.room)
        self.hindrance |= VIEW
        return self.view

    @cython.critical_section
    def buffer_updated(self, nbytes):
        """Decode what was received into the buffer that ``get_buffer`` returned last."""
        return self.decode_received(index(nbytes))

    cdef list decode_received(self, nbytes):
        cdef list events = []
        if self.hindrance & BUSY == 0:
            if self.view is None:
                raise RuntimeError(mistakes.NO_BUFFER)
            if not 0 <= nbytes <= self.n_offered:
                raise ValueError(mistakes.more_than_the_buffer(nbytes, self.n_offered))
        self.enter()
        self.control_seen = False
        self.take_received(nbytes, events)
        self.hindrance &= ~BUSY
        return events

    cdef int take_received(self, Py_ssize_t size, list events) except -1:
        cdef object message, keep = None
        self.close_view(size)
        if size:
            if self.room is None:
                keep = <object>self.collected  # it has moved; and leave_ascii() must not free it while it is read
            message = self.piece_of_message(self.collected_end(), size)
            if message is not None:
                events.append(message)
        elif self.n_collected == 0:
            self.drop()
        return 0

    cdef Py_ssize_t take_small_messages(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        # Messages of one small frame that is all here and breaks no rule of headers: most of what chats and feeds send.
        # Anything else is judged by start_frame(). 64 of 32 bytes take 0.85 of the time (ratios.py).
        cdef Py_ssize_t pos = 0, n_header = 6 if self.rules.masked else 2, n_payload
        cdef const uint8_t* payload
        cdef uint32_t masking_key
        cdef object message
        if self.rules.message != WSFAST_NO_MESSAGE:
            return 0
        while size - pos >= n_header and (data[pos] == 0x80 | WSFAST_TEXT or data[pos] == 0x80 | WSFAST_BINARY):
            n_payload = data[pos + 1] ^ self.rules.masked  # above 127 if it is not masked as it has to be (5.1)
            if n_payload > self.small_size or n_payload > size - pos - n_header:
                break
            payload = data + pos + n_header
            masking_key = wsfast_load32(payload - 4) if self.rules.masked else 0
            message = self.whole_message(data[pos] == 0x80 | WSFAST_TEXT, payload, n_payload, masking_key)
            pos += n_header + n_payload
            if message is None:
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1
                return size
            events.append(message)
            if self.bounded:
                self.fed_size += n_payload
                if self.is_full(events):
                    break
        return pos

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        cdef object message
        if self.rules.compressed:
            message = self.piece_of_compressed_message(payload, size)
        elif (
            self.header.first & 0x80 and <uint64_t>size == self.header.payload_length
            and self.rules.n_fragments == 1
        ):
            message = self.whole_message(
                self.rules.message == WSFAST_TEXT_MESSAGE, payload, size, self.masking_key)
            self.fed_size += size
            self.in_frame = False
            self.end_message()
            if message is None:
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1
        else:
            message = self.piece_of_message(payload, size)
        if message is not None:
            events.append(message)
        return 0

    cdef int end_control(self, int opcode, bytes payload, list events) except -1:
        cdef object event
        if opcode == WSFAST_PING:
            event = Ping(payload)
        elif opcode == WSFAST_PONG:
            event = Pong(payload)
        else:
            event = self.end_close(payload)
        if event is not None:
            events.append(event)
        return 0

    cdef inline void end_message(self) noexcept:
        self.rules.message = WSFAST_NO_MESSAGE
        self.rules.message_size = 0
        self.rules.n_fragments = 0
        self.rules.compressed = 0

    cdef inline object whole_message(
        self, bint is_text, const uint8_t* payload, Py_ssize_t size, uint32_t masking_key
    ):
        """The message of one frame that lies whole in the chunk, or None for text that is not UTF-8."""
        cdef bytes binary
        if is_text:
            if self.text_as_bytes:
                return text_bytes_of(payload, size, masking_key)
            return text_of(payload, size, masking_key, &self.expects_ascii)
        binary = PyBytes_FromStringAndSize(NULL, size)
        wsfast_mask(<uint8_t*>PyBytes_AS_STRING(binary), payload, size, masking_key)
        return binary

    cdef object piece_of_message(self, const uint8_t* data, Py_ssize_t size):
        """Collect a piece of a message. Returns the message if that was the last, None if not or if it fails.

        `data` may be the place where it belongs.
        """
        if size:
            if self.rules.message != WSFAST_TEXT_MESSAGE:
                self.collect(data, size, self.rest_after(size))
            elif not self.collect_text(data, size, self.masking_key, self.rest_after(size)):
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1, as soon as it can be known
                return None
            else:
                self.masking_key = wsfast_rotate_key(self.masking_key, size)
            self.n_missing -= size
        if self.n_missing:
            return None
        return self.end_frame()

    cdef uint64_t rest_after(self, Py_ssize_t size) noexcept:
        """Bytes of the message that can come at most, after the next `size` of this frame."""
        if self.header.first & 0x80:
            return self.n_missing - size
        return self.rules.max_message_size - self.n_collected - size

    cdef inline void begin_text(self, bint collects_str) noexcept:
        self.collects_str = collects_str
        self.utf8 = wsfast_utf8(n_due=0)
        self.measure = wsfast_measure(n_chars=0, max_byte=0)
        self.n_ascii = 0

    cdef object end_frame(self):
        """End a frame that was collected. Returns the message if that was its last, None if not or if it fails."""
        self.in_frame = False
        if not self.header.first & 0x80:
            self.rules.message_size += self.header.payload_length
            return None
        cdef bint is_text = self.rules.message == WSFAST_TEXT_MESSAGE
        self.fed_size += self.n_collected
        self.end_message()
        if not is_text:
            return self.take_collected()
        if self.utf8.n_due:
            self.fail(faults.TEXT_NOT_UTF8)  # it ends inside a character
            return None
        return self.end_text()

    cdef bint collect_text(self, const uint8_t* data, Py_ssize_t size, uint32_t masking_key, uint64_t rest) except -1:
        """Unmask text to the end of what was collected, and check it (8.1). False when it is not UTF-8."""
        cdef uint8_t beginning[16]
        cdef Py_ssize_t pos = 0, n_block
        cdef uint8_t* place
        cdef bint checked
        if self.collected == NULL:
            # A look before anything is allocated: most text that is not ASCII shows it early.
            self.begin_text(not self.text_as_bytes and wsfast_mask_to_ascii(
                beginning, data, min(size, <Py_ssize_t>sizeof(beginning)), masking_key))
        self.make_room(size, rest)
        while pos < size:
            n_block = min(size - pos, BLOCK_SIZE)
            place = self.collected_end()
            checked = wsfast_mask_to_ascii(place, data + pos, n_block, wsfast_rotate_key(masking_key, pos))
            self.n_collected += n_block
            pos += n_block
            if self.collects_str:
                if checked:
                    continue
                place = self.leave_ascii(n_block)
            if checked and not self.utf8.n_due:
                self.measure.n_chars += n_block
            elif not wsfast_utf8_feed_by(text_kernels, &self.utf8, place, n_block, &self.measure):
                return False
        return True

    cdef uint8_t* leave_ascii(self, Py_ssize_t n_block) except NULL:
        """Go on in a bytes object, as the last `n_block` bytes are not ASCII. Returns where they are."""
        cdef PyObject* text = self.collected
        cdef PyObject* moved = new_bytes(NULL, str_length(text))
        memcpy(bytes_data(moved), str_data(text), self.n_collected)
        self.collected = moved
        self.collects_str = False
        Py_XDECREF(text)    # if it was received in place, `room` or take_received() keeps it until it has been read
        self.measure.n_chars = self.n_ascii = self.n_collected - n_block
        return self.collected_end() - n_block

    cdef object end_text(self):
        """The message of a text that was collected and checked."""
        cdef PyObject* text
        if self.text_as_bytes or self.collects_str:
            return self.take_collected()
        if self.collected == NULL:
            return ""
        text = wsfast_measured_to_str(
            text_kernels, <const uint8_t*>bytes_data(self.collected), self.n_collected, self.n_ascii, &self.measure)
        self.drop()
        return owned(text)

    # --- compressed messages (RFC 7692) ---

    cdef object piece_of_compressed_message(self, const uint8_t* payload, Py_ssize_t size):
        """Inflate and collect a piece of a message. Returns as piece_of_message()."""
        cdef bytes data, inflated, last = None
        cdef object pieces
        cdef PyObject* new
        cdef PyObject* fault
        cdef Py_ssize_t pos = 0, n_block
        cdef bint fin
        while True:
            n_block = min(size - pos, DEFLATED_BLOCK_SIZE)
            data = PyBytes_FromStringAndSize(NULL, n_block)
            self.masking_key = wsfast_mask(
                <uint8_t*>PyBytes_AS_STRING(data), payload + pos, n_block, self.masking_key)
            pos += n_block
            self.n_missing -= n_block
            fin = self.n_missing == 0 and self.header.first & 0x80
            if not n_block and not fin:
                break
            fault = NULL
            new = wsfast_start_inflating(self.inflate, data, fin, faults.PeerFault, &fault)
            pieces = None if new == NULL else owned(new)
            while pieces is not None:
                new = wsfast_next_inflated(pieces, faults.PeerFault, &fault)
                if new == NULL:
                    break
                inflated = checked_piece(owned(new))
                # The first piece is kept back: if it is the whole message, it need not be collected.
                if last is not None and not self.collect_inflated(last):
                    return None
                last = None
                if <uint64_t>len(inflated) > self.rules.max_message_size - self.n_collected:
                    self.fail(faults.inflated_too_big(self.max_message_size))  # 10.4
                    return None
                if self.collected == NULL:
                    last = inflated
                elif not self.collect_inflated(inflated):
                    return None
            if fault != NULL:
                failure = owned(fault).failure
                # The bytes before it are judged before it.
                if last is None or self.collect_inflated(last):
                    self.fail(failure)
                return None
            if pos == size:
                break
        if last is not None:
            if fin and self.collected == NULL:
                return self.end_inflated(last)
            if not self.collect_inflated(last):
                return None
        return None if self.n_missing else self.end_frame()

    cdef object end_inflated(self, bytes message):
        """The message that came out of the inflater in one piece, or None if it fails."""
        cdef bint is_text = self.rules.message == WSFAST_TEXT_MESSAGE
        self.in_frame = False
        self.fed_size += PyBytes_GET_SIZE(message)
        self.end_message()
        if not is_text:
            return message
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(message)
        if not self.text_as_bytes:
            result = text_of(text, PyBytes_GET_SIZE(message), 0, &self.expects_ascii)
        else:
            result = message if utf8_valid_memory(text, PyBytes_GET_SIZE(message)) else None
        if result is None:
            self.fail(faults.TEXT_NOT_UTF8)  # 8.1
        return result

    cdef bint collect_inflated(self, bytes data) except -1:
        """Collect what was inflated. False if it fails."""
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef uint64_t rest = self.rules.max_message_size - self.n_collected - size
        if self.rules.message != WSFAST_TEXT_MESSAGE:
            self.make_room(size, rest)
            memcpy(self.collected_end(), start, size)
            self.n_collected += size
        elif not self.collect_text(start, size, 0, rest):
            self.fail(faults.TEXT_NOT_UTF8)  # 8.1
            return False
        return True


@cython.final
cdef class FrameDecoder(_Decoder):
    """Bytes in, frames out (RFC 6455 5). ``native.pyi`` says what each argument means."""

    cdef bint partial

    def __cinit__(self, role, *, max_frame_size=1_048_576, max_fragments=None, partial=False, headers=False, allowed_rsv=0):
        self.set_role(role)
        self.rules.max_message_size = UINT64_MAX
        self.rules.max_frame_size = limit_of(max_frame_size, "max_frame_size")
        self.rules.max_fragments = limit_of(max_fragments, "max_fragments")
        if type(allowed_rsv) is not int:
            raise TypeError(f"allowed_rsv must be an int, not {type(allowed_rsv).__name__}")
        if not 0 <= allowed_rsv <= 7:
            raise ValueError(f"allowed_rsv must be 0 to 7, not {allowed_rsv}")
        self.rules.allowed_rsv = <uint8_t>(<int>allowed_rsv << 4)
        self.partial = bool(partial)
        self.headers = bool(headers)

    @property
    def unfinished_header(self):
        """The bytes received of a header that is not complete."""
        return PyBytes_FromStringAndSize(<char*>self.held, 0 if self.finished else self.n_held)

    @property
    def missing_size(self):
        """Bytes of the payload of an unfinished frame that have not come yet."""
        return self.n_missing if self.in_frame and not self.finished else 0

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        cdef uint64_t offset = self.header.payload_length - self.n_missing if self.partial else 0
        self.n_missing -= size
        if size:
            self.collect(payload, size, self.n_missing)
        if self.n_missing == 0:
            self.in_frame = False
            if self.header.first & 0x80:
                self.rules.message = WSFAST_NO_MESSAGE
                self.rules.n_fragments = 0
        elif not self.partial:
            return 0
        events.append(self.frame(self.take_collected(), offset, not self.in_frame))
        return 0

    cdef int end_control(self, int opcode, bytes payload, list events) except -1:
        if opcode != WSFAST_CLOSE or self.end_close(payload) is not None or self.headers:
            events.append(self.frame(payload, 0, True))
        return 0

    cdef object frame(self, bytes payload, uint64_t offset, bint finished):
        cdef uint8_t first = self.header.first
        return Frame(
            OPCODES[first & 0x0F], payload, first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x10 != 0,
            offset, finished)


# --- encoding ----------------------------------------------------------------------------------------------

cdef unsigned int n_forks = 0       # keys drawn before a fork would be drawn by both processes


def _forked():
    global n_forks
    n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

cdef int POOL_SIZE = 256            # bytes: os.urandom costs about as much for 64 keys as for one


cdef bytes new_pool():
    cdef bytes pool = urandom(POOL_SIZE)
    if PyBytes_GET_SIZE(pool) != POOL_SIZE:
        raise RuntimeError(f"os.urandom() returned {len(pool)} bytes instead of {POOL_SIZE}")
    return pool


cdef inline bytes frame_of_size(Py_ssize_t header_size, Py_ssize_t size):
    if size > PY_SSIZE_T_MAX - WSFAST_MAX_HEADER_SIZE:
        raise OverflowError(mistakes.FRAME_TOO_LONG)
    return PyBytes_FromStringAndSize(NULL, header_size + size)


@cython.final
cdef class FrameEncoder:
    """Messages and control frames in, the bytes of one frame out (RFC 6455 5.2)."""

    cdef readonly object role
    cdef object random_bytes        # None: os.urandom, through the pool
    cdef bint masks
    cdef wsfast_message message_type  # of the fragmented message that we are in (5.4)
    cdef wsfast_utf8 utf8           # of its text
    cdef bint busy                  # in random_bytes(), which is Python
    cdef bytes pool
    cdef Py_ssize_t pool_pos
    cdef unsigned int pool_n_forks

    def __cinit__(self, role, *, random_bytes=None):
        self.role = Role(role)
        self.masks = self.role is Role.CLIENT
        if random_bytes is not None and not callable(random_bytes):
            raise TypeError(f"random_bytes must be a function, not {type(random_bytes).__name__}")
        self.random_bytes = random_bytes

    @property
    def in_message(self):
        """True between ``fragment(..., fin=False)`` and ``fragment(..., fin=True)``."""
        return self.message_type != WSFAST_NO_MESSAGE

    def message(self, data, text=None):
        """Encode a whole message as one frame (RFC 6455 5.6)."""
        if self.message_type != WSFAST_NO_MESSAGE:
            raise RuntimeError("a fragmented message is not finished")  # 5.4
        if PyUnicode_Check(data):
            return self.encode_str(0x80 | (WSFAST_TEXT if text is None or text else WSFAST_BINARY), data)
        if text is None or not text:
            return self.encode_buffer(0x80 | WSFAST_BINARY, data)
        return self.encode_text_buffer(data)

    @cython.critical_section
    def fragment(self, data, fin=False, text=None):
        """Encode the next fragment of a message (RFC 6455 5.4)."""
        cdef bint is_str = PyUnicode_Check(data)
        cdef bint is_text = is_str if text is None else text
        cdef wsfast_message message_type = WSFAST_TEXT_MESSAGE if is_text else WSFAST_BINARY_MESSAGE
        cdef wsfast_utf8 utf8 = self.utf8
        cdef uint8_t first = 0x80 if fin else 0
        cdef bytes frame
        cdef Py_buffer source
        if self.message_type == WSFAST_NO_MESSAGE:
            first |= <uint8_t>message_type
            utf8 = wsfast_utf8(n_due=0)
        elif self.message_type != message_type:
            raise TypeError("all fragments of a message must be text, or all binary")
        if is_str and not (is_text and utf8.n_due):
            frame = self.encode_str(first, data)
        else:
            # A str is UTF-8 by itself, unless it begins inside a character: then it is as wrong as any bytes there.
            PyObject_GetBuffer(PyUnicode_AsUTF8String(data) if is_str else data, &source, PyBUF_SIMPLE)
            try:
                if is_text:
                    frame = self.encode_text(first, <const uint8_t*>source.buf, source.len, &utf8)
                else:
                    frame = self.encode(first, <const uint8_t*>source.buf, source.len)
            finally:
                PyBuffer_Release(&source)
        self.utf8 = utf8
        self.message_type = WSFAST_NO_MESSAGE if fin else message_type
        return frame

    def ping(self, payload=b""):
        """Encode a Ping of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.2)."""
        return self.encode_control(WSFAST_PING, payload)

    def pong(self, payload=b""):
        """Encode a Pong of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.3)."""
        return self.encode_control(WSFAST_PONG, payload)

    def close(self, code=None, reason=""):
        """Encode a Close frame (RFC 6455 5.5.1)."""
        cdef bytes reason_bytes
        if not isinstance(reason, str):
            raise TypeError(f"close reason must be a str, not {type(reason).__name__}")
        code = 1005 if code is None else index(code)
        if code == 1005:  # 7.1.5: stands for an empty Close frame
            if reason:
                raise ValueError("a close reason needs a close code")
            return self.encode_control(WSFAST_CLOSE, b"")
        if not is_sendable_close_code(code):
            raise ValueError(f"close code {code} must not be sent")  # 7.4
        reason_bytes = reason.encode()
        if len(reason_bytes) > WSFAST_MAX_CONTROL_SIZE - 2:
            raise ValueError(f"close reason of {len(reason_bytes)} bytes is longer than 123")  # 5.5
        return self.encode_control(WSFAST_CLOSE, code.to_bytes(2, "big") + reason_bytes)

    def frame(self, opcode, payload=b"", fin=True, rsv1=False, rsv2=False, rsv3=False):
        """Encode one frame as told, without regard to the frames before it (RFC 6455 5.2)."""
        cdef uint8_t first
        opcode = index(opcode)
        if opcode not in OPCODES:
            raise ValueError(f"opcode {opcode!r} is reserved")
        first = <uint8_t><int>opcode
        first |= (0x80 if fin else 0) | (0x40 if rsv1 else 0) | (0x20 if rsv2 else 0) | (0x10 if rsv3 else 0)
        if first & 0x08:
            if not fin:
                raise ValueError("a control frame must not be fragmented")  # 5.5
            return self.encode_control(first & 0x7F, payload)
        return self.encode_buffer(first, payload)

    cdef bytes encode_control(self, uint8_t opcode, object payload):
        cdef Py_buffer source
        PyObject_GetBuffer(payload, &source, PyBUF_SIMPLE)
        try:
            if source.len > WSFAST_MAX_CONTROL_SIZE:
                raise ValueError(f"control frame payload of {source.len} bytes is longer than 125")  # 5.5
            return self.encode(0x80 | opcode, <const uint8_t*>source.buf, source.len)
        finally:
            PyBuffer_Release(&source)

    cdef bytes encode_buffer(self, uint8_t first, object payload):
        cdef Py_buffer source
        PyObject_GetBuffer(payload, &source, PyBUF_SIMPLE)
        try:
            return self.encode(first, <const uint8_t*>source.buf, source.len)
        finally:
            PyBuffer_Release(&source)

    cdef bytes encode_text_buffer(self, object payload):
        cdef Py_buffer source
        PyObject_GetBuffer(payload, &source, PyBUF_SIMPLE)
        try:
            return self.encode_text(0x80 | WSFAST_TEXT, <const uint8_t*>source.buf, source.len, NULL)
        finally:
            PyBuffer_Release(&source)

    cdef bytes encode_str(self, uint8_t first, object text):
        cdef bytes encoded, frame
        cdef Py_ssize_t size
        cdef uint8_t* payload
        cdef uint32_t masking_key = 0
        if PyUnicode_IS_COMPACT_ASCII(text):
            return self.encode(first, <const uint8_t*>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
        size = wsfast_utf8_size(text_kernels, text)
        if size < 0:
            # Not PyUnicode_AsUTF8AndSize: it would keep the bytes in the str, for as long as that lives.
            encoded = PyUnicode_AsUTF8String(text)
            return self.encode(first, <const uint8_t*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
        frame = self.new_frame(first, size, &payload, &masking_key)
        wsfast_write_utf8(text_kernels, text, payload, size)
        if self.masks:
            wsfast_mask(payload, payload, size, masking_key)
        return frame

    cdef bytes encode(self, uint8_t first, const uint8_t* payload, Py_ssize_t size):
        """The bytes of one frame: header, masking key, payload, in one object."""
        cdef uint8_t* place
        cdef uint32_t masking_key = 0
        cdef bytes frame = self.new_frame(first, size, &place, &masking_key)
        if self.masks:
            wsfast_mask(place, payload, size, masking_key)
        else:
            memcpy(place, payload, size)
        return frame

    cdef bytes encode_text(self, uint8_t first, const uint8_t* payload, Py_ssize_t size, wsfast_utf8* utf8):
        """As encode(), for bytes that have to be UTF-8 (8.1): `utf8` is the state of the message, NULL if it is whole.

        The check is in the frame, as the caller's buffer may change: the bytes that are checked are those that are sent.
        """
        cdef wsfast_measure measure = wsfast_measure(n_chars=0, max_byte=0)  # not asked for
        cdef uint8_t key[4]
        cdef Py_ssize_t header_size = wsfast_header_size(size, self.masks)
        cdef bytes frame = frame_of_size(header_size, size)
        cdef uint8_t* start = <uint8_t*>PyBytes_AS_STRING(frame)
        cdef uint8_t* place = start + header_size
        cdef bint valid
        memcpy(place, payload, size)
        if utf8 == NULL:
            valid = utf8_valid_memory(place, size)
        else:
            valid = wsfast_utf8_feed_by(text_kernels, utf8, place, size, &measure) and not (
                first & 0x80 and utf8.n_due)
        if not valid:
            raise ValueError("text is not valid UTF-8")
        if self.masks:
            self.draw_key(key)
            wsfast_mask(place, place, size, wsfast_load32(key))
        wsfast_write_header(start, first, size, key if self.masks else NULL)
        return frame

    cdef inline bytes new_frame(
        self, uint8_t first, Py_ssize_t size, uint8_t** payload, uint32_t* masking_key
    ):
        """A frame with its header, and the place for `size` bytes of payload in it."""
        cdef uint8_t key[4]
        cdef Py_ssize_t header_size = wsfast_header_size(size, self.masks)
        cdef bytes frame
        cdef uint8_t* start
        if self.masks:
            self.draw_key(key)
            masking_key[0] = wsfast_load32(key)
        frame = frame_of_size(header_size, size)
        start = <uint8_t*>PyBytes_AS_STRING(frame)
        wsfast_write_header(start, first, size, key if self.masks else NULL)
        payload[0] = start + header_size
        return frame

    cdef int draw_key(self, uint8_t* key) except -1:
        """A new masking key for each frame, from a strong source (RFC 6455 5.3, 10.3)."""
        cdef uint32_t drawn
        if self.random_bytes is not None:
            if self.busy:
                raise RuntimeError(mistakes.ENCODER_BUSY)
            self.busy = True
            try:
                drawn = read_key(self.random_bytes(4))
            finally:
                self.busy = False
            memcpy(key, &drawn, 4)
            return 0
        with cython.critical_section(self):
            if self.pool is None or self.pool_pos >= POOL_SIZE or self.pool_n_forks != n_forks:
                self.pool = new_pool()
                self.pool_pos = 0
                self.pool_n_forks = n_forks
            memcpy(key, PyBytes_AS_STRING(self.pool) + self.pool_pos, 4)
            self.pool_pos += 4
        return 0


# --- for other Cython projects: see wsfast/native.pxd ------------------------------------------------------


cdef int mask_memory(unsigned char* data, Py_ssize_t size, const unsigned char* masking_key, int phase) noexcept nogil:
    wsfast_mask(data, data, size, wsfast_rotate_key(wsfast_load32(masking_key), phase))
    return (phase + size) & 3


cdef int utf8_valid_memory(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    return wsfast_utf8_valid_by(text_kernels, data, size)


cdef list feed_memory(object decoder, const unsigned char* data, Py_ssize_t size):
    return (<MessageDecoder?>decoder).decode(data, size)
