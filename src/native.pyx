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
from cpython.exc cimport PyErr_Clear, PyErr_ExceptionMatches
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
from wsfast.events import Close, Failure, Fragment, Frame, FrameHeader, Opcode, Ping, Pong, Role, is_sendable_close_code

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


# The rooms, named as the fallback's. Together they are one extension: across modules inline methods would be lost.
include "octets.pxi"
include "judging.pxi"
include "parsing.pxi"
include "decoding.pxi"
include "encoding.pxi"


# --- for other Cython projects: see wsfast/native.pxd ------------------------------------------------------


cdef int mask_memory(unsigned char* data, Py_ssize_t size, const unsigned char* masking_key, int phase) noexcept nogil:
    wsfast_mask(data, data, size, wsfast_rotate_key(wsfast_load32(masking_key), phase))
    return (phase + size) & 3


cdef int utf8_valid_memory(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    return wsfast_utf8_valid_by(text_kernels, data, size)


cdef list feed_memory(object decoder, const unsigned char* data, Py_ssize_t size):
    return (<MessageDecoder?>decoder).decode(data, size)
