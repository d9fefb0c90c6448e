# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The compiled codec: objects around the kernels in src/kernels (RFC 6455 5 and 8.1).

C knows bytes, Cython knows objects. Here a chunk is walked once; a data message costs one object. The rules of
framing are judged in kernels/frame_header.h, their texts are in wsfast/faults.py, the interface with its
docstrings is in wsfast/native.pyi. Nothing here does I/O, reads a clock or draws a random number while decoding.

Memory follows bytes received: a frame that lies whole in a chunk goes straight into its final object; of any
other the payload is collected in a ``bytes`` object that grows with what arrives and becomes the message.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_Check
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from c_api cimport *

from os import urandom
import os
from operator import index

from wsfast import faults
from wsfast.events import Close, Failure, Frame, Opcode, Ping, Pong, Role, is_sendable_close_code

IMPLEMENTATION = "native"

# The kernels for text that is not ASCII; NULL where there are none for this CPU. WSFAST_KERNEL in the environment
# names the best one to use: "avx512", "avx2", or "baseline" for none.
cdef const wsfast_text_kernels* text_kernels = NULL


cdef str choose_kernels():
    global text_kernels
    cdef bytes at_most = os.environ.get("WSFAST_KERNEL", "").encode()
    text_kernels = wsfast_choose_text_kernels(<const char*>at_most if at_most else NULL)
    baseline = (<bytes>WSFAST_KERNEL).decode()
    return baseline if text_kernels is NULL else f"{baseline}+{(<bytes>text_kernels.name).decode()}"


KERNEL = choose_kernels()

# Members looked up by number: an enum call costs more than the frame.
cdef dict OPCODES = {int(opcode): opcode for opcode in Opcode}


# --- masking and UTF-8, one call each ----------------------------------------------------------------------


cdef inline uint32_t read_key(object masking_key) except? 0:
    """The key as the kernels take it (RFC 6455 5.3)."""
    cdef Py_buffer key
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
    PyObject_GetBuffer(buffer, &target, PyBUF_WRITABLE)
    try:
        key = read_key(masking_key)
        phase = index(phase)
        if not 0 <= phase <= 3:
            raise ValueError(f"phase must be 0 to 3, not {phase}")
        wsfast_mask(
            <uint8_t*>target.buf, <const uint8_t*>target.buf, target.len, wsfast_rotate_key(key, <size_t>phase))
        return (<int>phase + target.len) & 3
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
                    text_kernels, &self.state, <const uint8_t*>source.buf, source.len)
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


cdef uint64_t limit_of(object limit, str name) except? 0:
    """A limit as the rules hold it: None is no limit, and so is more than a length can say."""
    if limit is None:
        return UINT64_MAX
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"{name} must be an int or None, not {type(limit).__name__}")
    if limit < 0:
        raise ValueError(f"{name} must not be negative, and is {limit}")
    return <uint64_t>min(limit, UINT64_MAX)


cdef object fault_of(wsfast_verdict verdict, const wsfast_rules* rules, const wsfast_header* header):
    """The failure that a verdict stands for, with its numbers."""
    if verdict == WSFAST_RESERVED_BITS:
        return faults.reserved_bits((header.first & 0x70 & ~(0 if header.first & 0x08 else rules.allowed_rsv)) >> 4)
    if verdict == WSFAST_RESERVED_OPCODE:
        return faults.reserved_opcode(header.first & 0x0F)
    if verdict == WSFAST_NOT_MASKED:
        return faults.NOT_MASKED
    if verdict == WSFAST_MASKED:
        return faults.MASKED
    if verdict == WSFAST_CONTROL_FRAGMENTED:
        return faults.CONTROL_FRAGMENTED
    if verdict == WSFAST_CONTROL_TOO_LONG:
        return faults.CONTROL_TOO_LONG
    if verdict == WSFAST_NOTHING_TO_CONTINUE:
        return faults.NOTHING_TO_CONTINUE
    if verdict == WSFAST_MESSAGE_UNFINISHED:
        return faults.MESSAGE_UNFINISHED
    if verdict == WSFAST_TOO_MANY_FRAGMENTS:
        return faults.too_many_fragments(rules.max_fragments)
    if verdict == WSFAST_LENGTH_TOP_BIT:
        return faults.LENGTH_TOP_BIT
    if verdict == WSFAST_LENGTH_NOT_MINIMAL:
        return faults.length_not_minimal(header.payload_length)
    if verdict == WSFAST_FRAME_TOO_BIG:
        return faults.frame_too_big(header.payload_length, rules.max_frame_size)
    return faults.message_too_big(rules.message_size + header.payload_length, rules.max_message_size)


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
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        return faults.CLOSE_REASON_NOT_UTF8


cdef inline object text_of(const uint8_t* payload, Py_ssize_t size, uint32_t masking_key):
    """The str of a whole text, or None if it is not UTF-8."""
    cdef PyObject* text = wsfast_text_to_str(text_kernels, payload, size, masking_key)
    if text is NULL:
        return None
    result = <object>text
    Py_XDECREF(text)
    return result


cdef class _Decoder:
    """The parser under both decoders: headers, control frames, and collecting what came in pieces."""

    cdef readonly object role
    cdef readonly object failure
    cdef bint control_seen          # by the last feed(): a control frame, or a failure
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
    cdef PyObject* collected        # bytes object, larger than what is in it; NULL while there is nothing
    cdef Py_ssize_t n_collected

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

    cdef list decode(self, const uint8_t* data, Py_ssize_t size):
        cdef list events = []
        cdef Py_ssize_t pos = 0, n_payload
        self.control_seen = False
        while not self.finished:
            if not self.in_frame:
                if pos == size:
                    break
                pos += self.start_frame(data + pos, size - pos)
                if not self.in_frame:
                    break
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
        return events

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        """Take what is there of a data frame's payload: all that is missing, or the rest of the chunk."""
        raise NotImplementedError

    cdef int end_control(self, int opcode, bytes payload, list events) except -1:
        """Make the event of a control frame that is complete."""
        raise NotImplementedError

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
        self.collected = NULL
        self.n_collected = 0

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

    cdef int collect(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Unmask `size` bytes of the frame's payload to the end of what was collected."""
        cdef Py_ssize_t needed = self.n_collected + size, room
        cdef uint64_t rest
        if self.collected == NULL or needed > bytes_size(self.collected):
            # Room for as much again as there is, so that many small pieces are not copied each time, but not
            # beyond the end of the message where that is known.
            room = needed
            rest = self.n_missing - size
            if not self.header.first & 0x80 or rest > <uint64_t>needed:
                rest = needed
            room += rest
            if self.collected == NULL:
                self.collected = new_bytes(NULL, room)
            else:
                try:
                    _PyBytes_Resize(&self.collected, room)
                except:
                    self.n_collected = 0
                    raise
        self.masking_key = wsfast_mask(
            <uint8_t*>bytes_data(self.collected) + self.n_collected, data, size, self.masking_key)
        self.n_collected = needed
        return 0

    cdef bytes take_collected(self):
        """What was collected, as an object that is the caller's; ours is gone."""
        cdef PyObject* whole = self.collected
        cdef Py_ssize_t size = self.n_collected
        if whole == NULL:
            return b""
        self.collected = NULL
        self.n_collected = 0
        if bytes_size(whole) != size:
            _PyBytes_Resize(&whole, size)
        result = <bytes>whole
        Py_XDECREF(whole)
        return result

    cdef int take_control(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        cdef bytes payload
        self.masking_key = wsfast_mask(self.control + self.control_size, data, size, self.masking_key)
        self.control_size += size
        self.n_missing -= size
        if self.n_missing == 0:
            self.in_frame = False
            payload = PyBytes_FromStringAndSize(<char*>self.control, self.control_size)
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
    cdef wsfast_utf8 utf8           # of the text message that is being collected

    def __cinit__(self, role, *, max_message_size=1_048_576, max_frame_size=None, max_fragments=131_072):
        self.set_role(role)
        self.rules.max_message_size = limit_of(max_message_size, "max_message_size")
        self.rules.max_frame_size = limit_of(max_frame_size, "max_frame_size")
        self.rules.max_fragments = limit_of(max_fragments, "max_fragments")
        self.max_message_size = max_message_size
        self.max_frame_size = max_frame_size
        self.max_fragments = max_fragments

    @property
    def has_control(self):
        """True when the last ``feed`` met a Ping, a Pong, a Close or a failure: else it was data alone."""
        return self.control_seen

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        cdef object message
        if (
            self.header.first & 0x80 and <uint64_t>size == self.header.payload_length
            and self.rules.n_fragments == 1
        ):
            message = self.whole_message(payload, size)
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

    cdef inline object whole_message(self, const uint8_t* payload, Py_ssize_t size):
        """The message of one frame that lies whole in the chunk, or None for text that is not UTF-8."""
        cdef bytes binary
        if self.rules.message == WSFAST_TEXT_MESSAGE:
            return text_of(payload, size, self.masking_key)
        binary = PyBytes_FromStringAndSize(NULL, size)
        wsfast_mask(<uint8_t*>PyBytes_AS_STRING(binary), payload, size, self.masking_key)
        return binary

    cdef object piece_of_message(self, const uint8_t* data, Py_ssize_t size):
        """Collect a piece of a message. Returns the message if that was the last, None if not or if it fails."""
        cdef Py_ssize_t start = self.n_collected
        cdef bint is_text = self.rules.message == WSFAST_TEXT_MESSAGE
        cdef bytes whole
        if size:
            self.collect(data, size)
            if is_text and not wsfast_utf8_feed_by(
                text_kernels, &self.utf8, <const uint8_t*>bytes_data(self.collected) + start, size
            ):
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1, as soon as it can be known
                return None
            self.n_missing -= size
        if self.n_missing:
            return None
        self.in_frame = False
        if not self.header.first & 0x80:
            self.rules.message_size += self.header.payload_length
            return None
        self.end_message()
        if is_text and self.utf8.n_due:
            self.fail(faults.TEXT_NOT_UTF8)  # it ends inside a character
            return None
        whole = self.take_collected()
        if not is_text:
            return whole
        return text_of(<const uint8_t*>PyBytes_AS_STRING(whole), PyBytes_GET_SIZE(whole), 0)


@cython.final
cdef class FrameDecoder(_Decoder):
    """Bytes in, frames out (RFC 6455 5). ``native.pyi`` says what each argument means."""

    cdef bint partial

    def __cinit__(self, role, *, max_frame_size=1_048_576, max_fragments=None, partial=False, allowed_rsv=0):
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

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        cdef uint64_t offset = self.header.payload_length - self.n_missing if self.partial else 0
        self.collect(payload, size)
        self.n_missing -= size
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
        if opcode != WSFAST_CLOSE or self.end_close(payload) is not None:
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


@cython.final
cdef class FrameEncoder:
    """Messages and control frames in, the bytes of one frame out (RFC 6455 5.2)."""

    cdef readonly object role
    cdef object random_bytes        # None: os.urandom, through the pool
    cdef bint masks
    cdef wsfast_message message_type  # of the fragmented message that we are in (5.4)
    cdef bint text_as_bytes         # its fragments are bytes, checked by `utf8`
    cdef wsfast_utf8 utf8
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
        cdef object payload
        cdef bytes frame
        cdef Py_buffer source
        if self.message_type == WSFAST_NO_MESSAGE:
            first |= <uint8_t>message_type
            utf8 = wsfast_utf8(n_due=0)
        elif self.message_type != message_type:
            raise TypeError("all fragments of a message must be text, or all binary")
        payload = PyUnicode_AsUTF8String(data) if is_str else data
        PyObject_GetBuffer(payload, &source, PyBUF_SIMPLE)
        try:
            # 8.1, over the whole message. A str is UTF-8 by itself, unless it begins inside a character.
            if is_text and (utf8.n_due or not is_str):
                if not wsfast_utf8_feed_by(
                    text_kernels, &utf8, <const uint8_t*>source.buf, source.len
                ) or fin and utf8.n_due:
                    raise ValueError("text is not valid UTF-8")
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
            if not utf8_valid_memory(<const unsigned char*>source.buf, source.len):
                raise ValueError("text is not valid UTF-8")  # 8.1
            return self.encode(0x80 | WSFAST_TEXT, <const uint8_t*>source.buf, source.len)
        finally:
            PyBuffer_Release(&source)

    cdef bytes encode_str(self, uint8_t first, object text):
        cdef bytes encoded
        if PyUnicode_IS_COMPACT_ASCII(text):
            return self.encode(first, <const uint8_t*>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
        # Not PyUnicode_AsUTF8AndSize: it would keep the bytes in the str, for as long as that lives.
        encoded = PyUnicode_AsUTF8String(text)
        return self.encode(first, <const uint8_t*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))

    cdef bytes encode(self, uint8_t first, const uint8_t* payload, Py_ssize_t size):
        """The bytes of one frame: header, masking key, payload, in one object."""
        cdef uint8_t key[4]
        cdef const uint8_t* masking_key = NULL
        cdef Py_ssize_t header_size = wsfast_header_size(size, self.masks)
        cdef bytes frame
        cdef uint8_t* start
        if self.masks:
            self.draw_key(key)
            masking_key = key
        frame = PyBytes_FromStringAndSize(NULL, header_size + size)
        start = <uint8_t*>PyBytes_AS_STRING(frame)
        wsfast_write_header(start, first, size, masking_key)
        if self.masks:
            wsfast_mask(start + header_size, payload, size, wsfast_load32(key))
        else:
            memcpy(start + header_size, payload, size)
        return frame

    cdef int draw_key(self, uint8_t* key) except -1:
        """A new masking key for each frame, from a strong source (RFC 6455 5.3, 10.3)."""
        cdef uint32_t drawn
        if self.random_bytes is not None:
            drawn = read_key(self.random_bytes(4))
            memcpy(key, &drawn, 4)
            return 0
        with cython.critical_section(self):
            if self.pool is None or self.pool_pos >= POOL_SIZE or self.pool_n_forks != n_forks:
                self.pool = urandom(POOL_SIZE)
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
    cdef wsfast_utf8 state
    state.n_due = 0
    return wsfast_utf8_feed_by(text_kernels, &state, data, size) and state.n_due == 0


cdef list feed_memory(object decoder, const unsigned char* data, Py_ssize_t size):
    return (<MessageDecoder?>decoder).decode(data, size)
