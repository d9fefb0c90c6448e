# ``FrameEncoder``: messages in, bytes out, and masking keys (RFC 6455 5.2, 5.3; RFC 7692 6).
#
# A frame is one object, allocated in its final size. Text is encoded directly into its place in the frame.

cdef unsigned int n_forks = 0       # after a fork both processes have the same pool: the child draws a new one


def _forked():
    global n_forks
    n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

cdef int POOL_SIZE = 256            # bytes: os.urandom takes about as long for 64 keys as for one


cdef bytes new_pool():
    cdef bytes pool = urandom(POOL_SIZE)
    if PyBytes_GET_SIZE(pool) != POOL_SIZE:
        raise RuntimeError(f"os.urandom() returned {len(pool)} bytes instead of {POOL_SIZE}")
    return pool


cdef inline bytes frame_of_size(Py_ssize_t header_size, Py_ssize_t size):
    if size > PY_SSIZE_T_MAX - WSFAST_MAX_HEADER_SIZE:
        raise OverflowError(mistakes.FRAME_TOO_LONG)
    return PyBytes_FromStringAndSize(NULL, header_size + size)


cdef bytes payload_of(object data):
    """The bytes of a str or of a bytes-like object."""
    cdef Py_buffer source
    if type(data) is bytes:
        return data
    if PyUnicode_Check(data):
        return PyUnicode_AsUTF8String(data)
    PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<char*>source.buf, source.len)
    finally:
        PyBuffer_Release(&source)


@cython.final
cdef class FrameEncoder:
    """FrameEncoder(role, *, random_bytes=None, deflate=None)
--

Messages and control frames in, the bytes of one frame out (RFC 6455 5.2)."""

    cdef readonly object role
    cdef readonly object deflate    # compresses messages (RFC 7692); None: nothing does
    cdef object random_bytes        # None: os.urandom, through the pool
    cdef bint masks
    cdef wsfast_message message_type  # of the fragmented message that we are in (5.4)
    cdef wsfast_utf8 utf8           # of its text
    cdef bint compressed            # that message is (RFC 7692 6.1)
    cdef bint busy                  # in random_bytes(), which runs Python code
    cdef bint deflating             # in a call of `deflate`, the same
    cdef Py_ssize_t threshold       # of `deflate`, in bytes
    cdef bytes pool
    cdef Py_ssize_t pool_pos
    cdef unsigned int pool_n_forks

    def __cinit__(self, role, *, random_bytes=None, deflate=None):
        self.role = Role(role)
        self.masks = self.role is Role.CLIENT
        if random_bytes is not None and not callable(random_bytes):
            raise TypeError(mistakes.not_a_function("random_bytes", random_bytes))
        self.random_bytes = random_bytes
        if deflate is not None:
            if not hasattr(deflate, "threshold"):
                raise TypeError(mistakes.not_a_deflater(deflate))
            self.threshold = min(deflate.threshold, PY_SSIZE_T_MAX)
            self.deflate = deflate

    @property
    def in_message(self):
        """True between ``fragment(..., fin=False)`` and ``fragment(..., fin=True)``."""
        return self.message_type != WSFAST_NO_MESSAGE

    def message(self, data, text=None, compress=None):
        """Encode a whole message as one frame (RFC 6455 5.6; RFC 7692 7.2.1)."""
        if self.message_type != WSFAST_NO_MESSAGE or self.deflate is not None:
            return self.judged_message(data, text, compress)
        return self.plain_message(data, text)

    cdef bytes judged_message(self, object data, object text, object compress):
        """As message(), if that is out of order or may be compressed."""
        cdef bytes frame
        if self.message_type != WSFAST_NO_MESSAGE:
            raise RuntimeError(mistakes.MESSAGE_UNFINISHED)  # 5.4
        if compress is None or compress:
            frame = self.deflated_message(data, text, compress is None)
            if frame is not None:
                return frame
        return self.plain_message(data, text)

    cdef inline bytes plain_message(self, object data, object text):
        if PyUnicode_Check(data):
            return self.encode_str(0x80 | (WSFAST_TEXT if text is None or text else WSFAST_BINARY), data)
        if text is None or not text:
            return self.encode_buffer(0x80 | WSFAST_BINARY, data)
        return self.encode_text_buffer(data)

    def header(self, size):
        """Encode the header of a binary message of ``size`` bytes in one frame (RFC 6455 5.2)."""
        cdef uint8_t header[WSFAST_MAX_HEADER_SIZE]
        size = index(size)
        if self.masks:
            raise ValueError(mistakes.HEADER_OF_A_CLIENT)
        if not 0 <= size <= PY_SSIZE_T_MAX:
            raise ValueError(mistakes.size_out_of_range(size))
        if self.message_type != WSFAST_NO_MESSAGE:
            raise RuntimeError(mistakes.MESSAGE_UNFINISHED)  # 5.4
        return PyBytes_FromStringAndSize(
            <char*>header, wsfast_write_header(header, 0x80 | WSFAST_BINARY, size, NULL))

    @cython.critical_section
    def fragment(self, data, fin=False, text=None, compress=None):
        """Encode the next fragment of a message (RFC 6455 5.4; RFC 7692 6.1)."""
        return self.encode_fragment(data, fin, text, compress)

    cdef bytes encode_fragment(self, object data, bint fin, object text, object compress):
        cdef bint is_str = PyUnicode_Check(data)
        cdef bint is_text = is_str if text is None else text
        cdef wsfast_message message_type = WSFAST_TEXT_MESSAGE if is_text else WSFAST_BINARY_MESSAGE
        cdef wsfast_utf8 utf8 = self.utf8
        cdef uint8_t first = 0x80 if fin else 0
        cdef bint deflates = self.compressed
        cdef bytes frame = None
        cdef Py_buffer source
        if self.deflating:
            raise RuntimeError(mistakes.ENCODER_BUSY)
        if self.message_type == WSFAST_NO_MESSAGE:
            first |= <uint8_t>message_type
            utf8 = wsfast_utf8(n_due=0)
            # RFC 7692 6.1: the first fragment decides, and RSV1 is set in it alone.
            deflates = self.deflate is not None and (compress is None or compress)
        elif self.message_type != message_type:
            raise TypeError(mistakes.FRAGMENT_OF_OTHER_TYPE)
        if deflates:
            frame = self.deflated_fragment(first, data, is_text, compress is None, &utf8)
            deflates = frame is not None
        if deflates:
            pass
        elif is_str and not (is_text and utf8.n_due):
            frame = self.encode_str(first, data)
        else:
            # A str is valid UTF-8, unless it comes inside a character: then it is as wrong as any bytes there.
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
        self.compressed = deflates and not fin
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
            raise TypeError(mistakes.not_a_reason(reason))
        code = 1005 if code is None else index(code)
        if code == 1005:  # 7.1.5: stands for an empty Close frame
            if reason:
                raise ValueError(mistakes.REASON_WITHOUT_CODE)
            return self.encode_control(WSFAST_CLOSE, b"")
        if not is_sendable_close_code(code):
            raise ValueError(mistakes.unsendable_close_code(code))  # 7.4
        reason_bytes = reason.encode()
        if len(reason_bytes) > WSFAST_MAX_CONTROL_SIZE - 2:
            raise ValueError(mistakes.close_reason_too_long(len(reason_bytes)))  # 5.5
        return self.encode_control(WSFAST_CLOSE, code.to_bytes(2, "big") + reason_bytes)

    def frame(self, opcode, payload=b"", fin=True, rsv1=False, rsv2=False, rsv3=False):
        """Encode one frame as told, without regard to the frames before it (RFC 6455 5.2)."""
        cdef uint8_t first
        opcode = index(opcode)
        if opcode not in OPCODES:
            raise ValueError(mistakes.reserved_opcode(opcode))
        first = <uint8_t><int>opcode
        first |= (0x80 if fin else 0) | (0x40 if rsv1 else 0) | (0x20 if rsv2 else 0) | (0x10 if rsv3 else 0)
        if first & 0x08:
            if not fin:
                raise ValueError(mistakes.CONTROL_FRAGMENTED)  # 5.5
            return self.encode_control(first & 0x7F, payload)
        return self.encode_buffer(first, payload)

    cdef bytes deflated_message(self, object data, object text, bint may_choose):
        """As message(), compressed; None if the message should be sent as it is: we may choose, and it is short."""
        cdef bytes payload = payload_of(data)
        cdef bint is_str = PyUnicode_Check(data)
        cdef bint is_text = is_str if text is None else text
        if may_choose and PyBytes_GET_SIZE(payload) < self.threshold:
            return None
        if is_text and not is_str and not utf8_valid_memory(
                <const unsigned char*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload)):
            raise ValueError(mistakes.TEXT_NOT_UTF8)
        return self.deflated_frame(0x80 | (WSFAST_TEXT if is_text else WSFAST_BINARY), payload, True, may_choose)

    cdef bytes deflated_fragment(self, uint8_t first, object data, bint is_text, bint may_choose, wsfast_utf8* utf8):
        """As fragment(), compressed; None if this begins a message that should be sent as it is."""
        cdef wsfast_measure measure = wsfast_measure(n_chars=0, max_byte=0)  # not used
        cdef bytes payload = payload_of(data)
        if self.message_type == WSFAST_NO_MESSAGE and may_choose and PyBytes_GET_SIZE(payload) < self.threshold:
            return None
        if is_text and (utf8.n_due or not PyUnicode_Check(data)):
            if not wsfast_utf8_feed_by(
                text_kernels, utf8, <const uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), &measure
            ) or (first & 0x80 and utf8.n_due):
                raise ValueError(mistakes.TEXT_NOT_UTF8)
        return self.deflated_frame(first, payload, self.message_type == WSFAST_NO_MESSAGE, False)

    cdef bytes deflated_frame(self, uint8_t first, bytes payload, bint rsv1, bint may_choose):
        """A frame with the compressed payload. The check of the payload is done: the context is as it was until here."""
        cdef object shrunk
        cdef bint busy
        with cython.critical_section(self):
            busy = self.deflating
            self.deflating = True
        if busy:
            raise RuntimeError(mistakes.ENCODER_BUSY)
        try:
            shrunk = self.deflate.deflate(payload, first & 0x80 != 0, may_choose)
            if shrunk is None:
                rsv1, shrunk = False, payload
            elif type(shrunk) is not bytes:
                raise TypeError(mistakes.not_bytes_deflated(shrunk))
            if rsv1:
                first |= 0x40
            return self.encode(
                first, <const uint8_t*>PyBytes_AS_STRING(<bytes>shrunk), PyBytes_GET_SIZE(<bytes>shrunk))
        except BaseException:
            # The peer will not get this frame, so the next message must not refer to it.
            self.deflate.forget()
            raise
        finally:
            self.deflating = False

    cdef bytes encode_control(self, uint8_t opcode, object payload):
        cdef Py_buffer source
        PyObject_GetBuffer(payload, &source, PyBUF_SIMPLE)
        try:
            if source.len > WSFAST_MAX_CONTROL_SIZE:
                raise ValueError(mistakes.control_too_long(source.len))  # 5.5
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
            # PyUnicode_AsUTF8AndSize would keep the bytes in the str for as long as the str lives.
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
        """As encode(), for bytes that must be UTF-8 (8.1). `utf8` is the state of the message, NULL if it is whole.

        The bytes are checked in the frame, because the caller's buffer may change: the checked bytes are sent.
        """
        cdef wsfast_measure measure = wsfast_measure(n_chars=0, max_byte=0)  # not used
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
            raise ValueError(mistakes.TEXT_NOT_UTF8)
        if self.masks:
            self.draw_key(key)
            wsfast_mask(place, place, size, wsfast_load32(key))
        wsfast_write_header(start, first, size, key if self.masks else NULL)
        return frame

    cdef inline bytes new_frame(
        self, uint8_t first, Py_ssize_t size, uint8_t** payload, uint32_t* masking_key
    ):
        """A frame with its header, and room for `size` bytes of payload."""
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

    cdef inline int draw_key(self, uint8_t* key) except -1:
        """A new masking key for each frame, from a strong source (RFC 6455 5.3, 10.3)."""
        if self.random_bytes is not None:
            return self.ask_for_key(key)
        with cython.critical_section(self):
            if self.pool is None or self.pool_pos >= POOL_SIZE or self.pool_n_forks != n_forks:
                self.refill_pool()
            memcpy(key, PyBytes_AS_STRING(self.pool) + self.pool_pos, 4)
            self.pool_pos += 4
        return 0

    cdef int refill_pool(self) except -1:
        """Draw keys for the next frames (10.3)."""
        self.pool = new_pool()
        self.pool_pos = 0
        self.pool_n_forks = n_forks
        return 0

    cdef int ask_for_key(self, uint8_t* key) except -1:
        """A masking key of random_bytes(), which may call anything (5.3)."""
        cdef uint32_t drawn
        if self.busy:
            raise RuntimeError(mistakes.ENCODER_BUSY)
        self.busy = True
        try:
            drawn = read_key(self.random_bytes(4))
        finally:
            self.busy = False
        memcpy(key, &drawn, 4)
        return 0
