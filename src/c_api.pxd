"""The C that native.pyx calls: the kernels (contracts in kernels/), and the parts of CPython that Cython lacks."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "Python.h":
    void* PyUnicode_DATA(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_ssize_t PY_SSIZE_T_MAX
    # -1 with an exception that is the caller's to deal with.
    int wsfast_get_buffer "PyObject_GetBuffer"(object exporter, Py_buffer* view, int flags) noexcept

cdef extern from "collected.h":
    ctypedef struct wsfast_collected:
        PyObject* object
        Py_ssize_t size
        bint is_str
    uint8_t* wsfast_collected_end(const wsfast_collected* collected)
    Py_ssize_t wsfast_collected_room(const wsfast_collected* collected)
    int wsfast_collected_resize(wsfast_collected* collected, Py_ssize_t room, Py_ssize_t n_used) except -1
    int wsfast_collected_reserve(wsfast_collected* collected, Py_ssize_t size, uint64_t rest) except -1
    PyObject* wsfast_collected_take(wsfast_collected* collected) except NULL
    int wsfast_collected_leave_ascii(wsfast_collected* collected) except -1
    void wsfast_collected_drop(wsfast_collected* collected)

cdef extern from "into_python.h":
    # NULL without an exception: there is no piece, and if `fault` is set that is why.
    PyObject* wsfast_start_inflating(
        object inflate, object data, bint fin, object fault_type, PyObject** fault) except? NULL
    PyObject* wsfast_next_inflated(object iterator, object fault_type, PyObject** fault) except? NULL
    void wsfast_release_view(object view)

cdef extern from "kernels/mask.h" nogil:
    const char* WSFAST_KERNEL
    uint32_t wsfast_load32(const uint8_t* source)
    uint32_t wsfast_rotate_key(uint32_t masking_key, size_t phase)
    uint32_t wsfast_mask(uint8_t* destination, const uint8_t* source, size_t size, uint32_t masking_key)
    bint wsfast_mask_to_ascii(uint8_t* destination, const uint8_t* source, size_t size, uint32_t masking_key)

cdef extern from "kernels/utf8.h" nogil:
    ctypedef struct wsfast_utf8:
        uint8_t n_due

cdef extern from "kernels/frame_header.h" nogil:
    enum:
        WSFAST_MAX_HEADER_SIZE
        WSFAST_MAX_CONTROL_SIZE
        WSFAST_CONTINUATION
        WSFAST_TEXT
        WSFAST_BINARY
        WSFAST_CLOSE
        WSFAST_PING
        WSFAST_PONG
        WSFAST_RSV1
    ctypedef enum wsfast_message:
        WSFAST_NO_MESSAGE
        WSFAST_TEXT_MESSAGE
        WSFAST_BINARY_MESSAGE
    ctypedef struct wsfast_rules:
        uint64_t max_frame_size
        uint64_t max_message_size
        uint64_t max_deflated_size
        uint64_t max_fragments
        uint64_t message_size
        uint64_t n_fragments
        wsfast_message message
        uint8_t masked
        uint8_t allowed_rsv
        uint8_t inflates
        uint8_t compressed
    ctypedef struct wsfast_header:
        uint64_t payload_length
        uint32_t masking_key
        uint8_t first
        uint8_t size
    ctypedef enum wsfast_verdict:
        WSFAST_INCOMPLETE
        WSFAST_COMPLETE
        WSFAST_RESERVED_BITS
        WSFAST_RESERVED_OPCODE
        WSFAST_NOT_MASKED
        WSFAST_MASKED
        WSFAST_CONTROL_FRAGMENTED
        WSFAST_CONTROL_TOO_LONG
        WSFAST_NOTHING_TO_CONTINUE
        WSFAST_MESSAGE_UNFINISHED
        WSFAST_TOO_MANY_FRAGMENTS
        WSFAST_LENGTH_TOP_BIT
        WSFAST_LENGTH_NOT_MINIMAL
        WSFAST_FRAME_TOO_BIG
        WSFAST_MESSAGE_TOO_BIG
        WSFAST_COMPRESSED_CONTINUATION
        WSFAST_DEFLATED_TOO_BIG
    int wsfast_fault_numbers(
        wsfast_verdict verdict, const wsfast_rules* rules, const wsfast_header* header, uint64_t* numbers)
    size_t wsfast_write_header(uint8_t* to, uint8_t first, uint64_t payload_length, const uint8_t* masking_key)
    size_t wsfast_header_size(uint64_t payload_length, bint masked)

cdef extern from "kernels/frame_reader.h" nogil:
    ctypedef struct wsfast_reader:
        wsfast_rules rules
        wsfast_header header
        wsfast_verdict verdict
        uint32_t masking_key
        uint64_t n_missing
        bint in_frame
        uint8_t n_held
        uint8_t held[WSFAST_MAX_HEADER_SIZE]
    ctypedef enum wsfast_step:
        WSFAST_NEED_MORE
        WSFAST_DATA
        WSFAST_CONTROL
        WSFAST_FAULT
    wsfast_step wsfast_next(
        wsfast_reader* reader, const uint8_t* data, size_t size, size_t* pos, const uint8_t** payload, size_t* n)
    bint wsfast_end_frame(wsfast_reader* reader)
    void wsfast_received_in_place(wsfast_reader* reader, size_t size)
    bint wsfast_is_whole_message(const wsfast_reader* reader, size_t n)

cdef extern from "kernels/text.h" nogil:
    ctypedef struct wsfast_text_kernels:
        const char* name
    ctypedef struct wsfast_measure:
        size_t n_chars
        uint8_t max_byte
    const wsfast_text_kernels* wsfast_choose_text_kernels(const char* at_most)

cdef extern from "kernels/parts.h" nogil:
    bint wsfast_utf8_feed_by(
        const wsfast_text_kernels* kernels, wsfast_utf8* state, const uint8_t* data, size_t size,
        wsfast_measure* measure)
    bint wsfast_utf8_valid_by(const wsfast_text_kernels* kernels, const uint8_t* data, size_t size)

cdef extern from "text_to_str.h":
    # NULL without an exception: not UTF-8.
    PyObject* wsfast_text_to_str(
        const wsfast_text_kernels* kernels, const uint8_t* payload, size_t size, uint32_t masking_key,
        uint8_t* expects_ascii) except? NULL
    PyObject* wsfast_measured_to_str(
        const wsfast_text_kernels* kernels, const uint8_t* text, size_t size, size_t n_ascii,
        const wsfast_measure* measure) except? NULL

cdef extern from "str_to_utf8.h":
    Py_ssize_t wsfast_utf8_size(const wsfast_text_kernels* kernels, object text)
    void wsfast_write_utf8(const wsfast_text_kernels* kernels, object text, uint8_t* to, Py_ssize_t size)
