# Masking (RFC 6455 5.3) and UTF-8 (8.1), one call each: the public functions and ``Utf8Validator``.
#
# The kernels do the work. The fallback has the same functions in its octets.py.

cdef inline uint32_t read_key(object masking_key) except? 0:
    """The key in the form that the kernels take (RFC 6455 5.3)."""
    cdef Py_buffer key
    if type(masking_key) is bytes and PyBytes_GET_SIZE(masking_key) == 4:
        return wsfast_load32(<const uint8_t*>PyBytes_AS_STRING(masking_key))
    PyObject_GetBuffer(masking_key, &key, PyBUF_SIMPLE)
    try:
        if key.len != 4:
            raise ValueError(mistakes.wrong_key_size(key.len))
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


cdef int raise_not_writable() except -1:
    """With the exception of a failed PyObject_GetBuffer set: put the text of both codecs in place of CPython's."""
    if PyErr_ExceptionMatches(BufferError):
        PyErr_Clear()
        raise BufferError(mistakes.NOT_WRITABLE)
    return -1


def mask_inplace(buffer, masking_key, phase=0):
    """Mask or unmask a writable ``buffer`` in place, from ``phase`` in the key on (RFC 6455 5.3)."""
    cdef Py_buffer target
    cdef uint32_t key
    cdef int start
    # Without a `try`, which costs 2 ns though nothing fails.
    if wsfast_get_buffer(buffer, &target, PyBUF_WRITABLE) < 0:
        raise_not_writable()
    try:
        key = read_key(masking_key)
        if type(phase) is not int:
            phase = index(phase)
        if not 0 <= phase <= 3:
            raise ValueError(mistakes.phase_out_of_range(phase))
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
    """Utf8Validator()
--

Check UTF-8 as it arrives, in pieces cut anywhere (RFC 6455 8.1)."""

    cdef wsfast_utf8 state
    cdef wsfast_measure measure     # not used; the kernel fills it while it checks
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
