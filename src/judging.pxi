# Limits, faults and pieces: the small steps that the decoders share.
#
# A limit is checked here once, when a decoder is made. The texts of faults are in wsfast/faults.py, those of our
# caller's mistakes in wsfast/mistakes.py.

cdef uint64_t bound_of(object bound, str name) except? 0:
    """A bound of one feed: as a limit, but at least 1."""
    cdef uint64_t value = limit_of(bound, name)
    if value == 0:
        raise ValueError(mistakes.no_bound(name))
    return value


cdef uint64_t limit_of(object limit, str name) except? 0:
    """A limit as `wsfast_rules` has it. None is no limit; a limit of 64 bits or more is none either."""
    if limit is None:
        return UINT64_MAX
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(mistakes.not_a_limit(name, limit))
    if limit < 0:
        raise ValueError(mistakes.negative_limit(name, limit))
    return <uint64_t>min(limit, UINT64_MAX)


# By verdict. A fault with numbers in its text is a function of them.
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
    """The failure for a verdict, with its numbers."""
    cdef uint64_t* numbers = [0, 0]
    cdef int n_numbers = wsfast_fault_numbers(verdict, rules, header, numbers)
    fault = FAULTS[<int>verdict]
    if n_numbers == 0:
        return fault
    return fault(numbers[0]) if n_numbers == 1 else fault(numbers[0], numbers[1])


cdef object parse_close(bytes payload):
    """The Close event for the body of a Close frame, or the failure (RFC 6455 5.5.1, 7.4)."""
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
    cdef bint closed                # the received bytes are in use: nobody else may write here

    def __dealloc__(self):
        Py_XDECREF(self.owner)

    def __getbuffer__(self, Py_buffer* view, int flags):
        if self.closed:
            raise BufferError(mistakes.BUFFER_USED)
        # PyBuffer_FillInfo() would lose the reference to None that Cython has put into view.obj.
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
    BUSY = 1        # in a call. Python code runs in it: inflate(), a finalizer, a signal handler
    WAITING = 2     # bytes of an earlier chunk wait
    VIEW = 4        # get_buffer() has given away a view


# A frame is received in place if at least so many of its bytes are missing. The room that is offered then has this
# size too, unless more of the message was received already.
cdef Py_ssize_t LARGE_SIZE = 65_536


# Bytes of a payload that are unmasked in one step. Text stays in the fastest cache until it is checked. The step for
# a compressed payload is smaller: it takes little memory next to its inflated bytes.
cdef Py_ssize_t BLOCK_SIZE = 16_384
cdef Py_ssize_t DEFLATED_BLOCK_SIZE = 2048


cdef uint64_t max_deflated_size(uint64_t max_message_size) noexcept:
    """Bytes that a compressed message may have on the wire (10.4): no encoder needs an eighth more than its size."""
    cdef uint64_t more = max_message_size // 8 + 1024
    return UINT64_MAX if max_message_size > UINT64_MAX - more else max_message_size + more
