"""What other Cython projects may ``cimport`` from wsfast: memory in, no Python objects on the way.

A promise to strangers: names are added here slowly and never changed. No class layout is exposed.
"""

# Mask or unmask in place (RFC 6455 5.3). masking_key: 4 bytes; phase: position in the key at which the
# memory starts, 0 to 3. Returns the phase for the bytes that follow.
cdef int mask_memory(
    unsigned char* data, Py_ssize_t size, const unsigned char* masking_key, int phase
) noexcept nogil

# 1 when the memory is well-formed UTF-8, else 0 (RFC 6455 8.1).
cdef int utf8_valid_memory(const unsigned char* data, Py_ssize_t size) noexcept nogil

# decoder.feed() for a wsfast.native.MessageDecoder (else TypeError), from memory that no object owns.
cdef list feed_memory(object decoder, const unsigned char* data, Py_ssize_t size)
