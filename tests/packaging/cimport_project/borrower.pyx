"""Calls every name that wsfast/native.pxd offers, without the GIL where that is promised."""

from libc.string cimport memcpy

from wsfast cimport native
from wsfast.native cimport feed_memory, mask_memory, utf8_valid_memory


def mask(bytes data, bytes masking_key, int phase):
    """Return the masked bytes, and the phase for those that follow (RFC 6455 5.3)."""
    buffer = bytearray(data)
    cdef unsigned char* target = buffer
    cdef const unsigned char* key = masking_key
    cdef Py_ssize_t size = len(buffer)
    cdef int following
    with nogil:
        following = mask_memory(target, size, key, phase)
    return bytes(buffer), following


def utf8_valid(bytes data):
    """RFC 6455 8.1."""
    cdef const unsigned char* source = data
    cdef Py_ssize_t size = len(data)
    cdef int valid
    with nogil:
        valid = utf8_valid_memory(source, size)
    return valid


def feed(decoder, bytes data):
    """Feed from memory of ours, which is overwritten before the messages are looked at."""
    cdef unsigned char memory[256]
    cdef Py_ssize_t size = min(<Py_ssize_t>len(data), 256)
    memcpy(memory, <const unsigned char*>data, size)
    messages = native.feed_memory(decoder, memory, size)
    memory[:] = [0] * 256
    return messages


def feed_nothing(decoder):
    return feed_memory(decoder, NULL, 0)
