/* Masking and unmasking, which are the same XOR (RFC 6455 5.3).
 *
 * A masking key is a uint32_t that holds the four bytes in the order they have in memory (wsfast_load32),
 * on machines of either byte order. The kernel returns the key rotated by the length, so that the pieces of
 * one payload compose.
 */
#ifndef WSFAST_MASK_H
#define WSFAST_MASK_H

#include "kernels.h"

/* The key for a payload that starts `phase` bytes later. Any phase; only its two lowest bits count. */
static inline uint32_t wsfast_rotate_key(uint32_t masking_key, size_t phase)
{
    const unsigned bits = (unsigned)(phase & 3) * 8;
    if (bits == 0)
        return masking_key; /* a shift by 32 is undefined */
#if WSFAST_BIG_ENDIAN
    return masking_key << bits | masking_key >> (32 - bits);
#else
    return masking_key >> bits | masking_key << (32 - bits);
#endif
}

/* XOR `size` bytes of `source` with the key into `destination`; returns the key for the bytes that follow.
 *
 * `destination == source` is allowed; any other overlap is not.
 */
static inline uint32_t wsfast_mask(uint8_t *destination, const uint8_t *source, size_t size, uint32_t masking_key)
{
    const uint32_t next_key = wsfast_rotate_key(masking_key, size);
    if (size >= 8) {
        const uint64_t key64 = (uint64_t)masking_key << 32 | masking_key;
        /* The last word overlaps the ones before it. It is loaded before they are stored, and stored after
         * them, so that working in place masks no byte twice. size - 8 has the phase of size. */
        const uint64_t last_key = (uint64_t)next_key << 32 | next_key;
        const uint64_t last = wsfast_load64(source + size - 8) ^ last_key;
        size_t pos = 0;
        for (; pos + 8 <= size; pos += 8)
            wsfast_store64(destination + pos, wsfast_load64(source + pos) ^ key64);
        wsfast_store64(destination + size - 8, last);
    } else if (size >= 4) {
        const uint32_t first = wsfast_load32(source) ^ masking_key;
        const uint32_t last = wsfast_load32(source + size - 4) ^ next_key;
        wsfast_store32(destination, first);
        wsfast_store32(destination + size - 4, last);
    } else {
        uint8_t key[4];
        wsfast_store32(key, masking_key);
        for (size_t pos = 0; pos < size; pos++)
            destination[pos] = source[pos] ^ key[pos];
    }
    return next_key;
}

#endif
