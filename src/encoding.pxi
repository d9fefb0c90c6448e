# ``FrameEncoder``: messages in, bytes out, and masking keys (RFC 6455 5.2, 5.3).
#
# A message is one object, allocated in its size; text is encoded in it, where it belongs.

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
