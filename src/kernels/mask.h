/* Masking and unmasking, which are the same XOR (RFC 6455 5.3).
 *
 * A masking key is a uint32_t that holds the four bytes in the order they have in memory (wsfast_load32),
 * on machines of either byte order. The kernel returns the key rotated by the length, so that the pieces of
 * one payload compose.
 */
#ifndef WSFAST_MASK_H
#define WSFAST_MASK_H

#include "vector.h"

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

#if WSFAST_VECTOR

/* More than 128 bytes: 64 at a time. From 512 bytes on the stores are aligned, which is up to 1.6 times as fast (4 KiB).
 * Returns the OR of the stored bytes. Must be inlined: a caller that ignores the result then pays nothing for it. */
WSFAST_ALWAYS_INLINE wsfast_vector wsfast_mask_long(
    uint8_t *destination, const uint8_t *source, size_t size, uint32_t masking_key, uint32_t next_key)
{
    const wsfast_vector last_key = wsfast_repeat32(next_key);
    const uint8_t *const source_end = source + size;
    uint8_t *const destination_end = destination + size;
    /* First and last bytes overlap what the loop writes. They are loaded before it and stored after it. */
    const wsfast_vector head = wsfast_xor(wsfast_load(source), wsfast_repeat32(masking_key));
    const wsfast_vector last0 = wsfast_xor(wsfast_load(source_end - 64), last_key);
    const wsfast_vector last1 = wsfast_xor(wsfast_load(source_end - 48), last_key);
    const wsfast_vector last2 = wsfast_xor(wsfast_load(source_end - 32), last_key);
    const wsfast_vector last3 = wsfast_xor(wsfast_load(source_end - 16), last_key);
    const size_t start = size < 512 ? 0 : -(uintptr_t)destination & 15;
    const wsfast_vector key = wsfast_repeat32(wsfast_rotate_key(masking_key, start));
    wsfast_vector seen = wsfast_or(head, wsfast_or(wsfast_or(last0, last1), wsfast_or(last2, last3)));
    for (size_t pos = start; pos + 64 < size; pos += 64) {
        const wsfast_vector v0 = wsfast_xor(wsfast_load(source + pos), key);
        const wsfast_vector v1 = wsfast_xor(wsfast_load(source + pos + 16), key);
        const wsfast_vector v2 = wsfast_xor(wsfast_load(source + pos + 32), key);
        const wsfast_vector v3 = wsfast_xor(wsfast_load(source + pos + 48), key);
        wsfast_store(destination + pos, v0);
        wsfast_store(destination + pos + 16, v1);
        wsfast_store(destination + pos + 32, v2);
        wsfast_store(destination + pos + 48, v3);
        seen = wsfast_or(seen, wsfast_or(wsfast_or(v0, v1), wsfast_or(v2, v3)));
    }
    wsfast_store(destination_end - 64, last0);
    wsfast_store(destination_end - 48, last1);
    wsfast_store(destination_end - 32, last2);
    wsfast_store(destination_end - 16, last3);
    wsfast_store(destination, head);
    return seen;
}

/* 16 to 128 bytes: vectors from both ends, which may overlap; all are loaded before the first is stored. */
WSFAST_ALWAYS_INLINE wsfast_vector wsfast_mask_short(
    uint8_t *destination, const uint8_t *source, size_t size, uint32_t masking_key, uint32_t next_key)
{
    /* A vector that ends where the payload ends starts at a phase of size, as 16 is a multiple of 4. */
    const wsfast_vector key = wsfast_repeat32(masking_key), last_key = wsfast_repeat32(next_key);
    const uint8_t *const source_end = source + size;
    uint8_t *const destination_end = destination + size;
    const wsfast_vector first0 = wsfast_xor(wsfast_load(source), key);
    const wsfast_vector last0 = wsfast_xor(wsfast_load(source_end - 16), last_key);
    wsfast_vector seen = wsfast_or(first0, last0);
    if (size > 32) {
        const wsfast_vector first1 = wsfast_xor(wsfast_load(source + 16), key);
        const wsfast_vector last1 = wsfast_xor(wsfast_load(source_end - 32), last_key);
        if (size > 64) {
            const wsfast_vector first2 = wsfast_xor(wsfast_load(source + 32), key);
            const wsfast_vector first3 = wsfast_xor(wsfast_load(source + 48), key);
            const wsfast_vector last3 = wsfast_xor(wsfast_load(source_end - 64), last_key);
            const wsfast_vector last2 = wsfast_xor(wsfast_load(source_end - 48), last_key);
            wsfast_store(destination + 32, first2);
            wsfast_store(destination + 48, first3);
            wsfast_store(destination_end - 64, last3);
            wsfast_store(destination_end - 48, last2);
            seen = wsfast_or(seen, wsfast_or(wsfast_or(first2, first3), wsfast_or(last2, last3)));
        }
        wsfast_store(destination + 16, first1);
        wsfast_store(destination_end - 32, last1);
        seen = wsfast_or(seen, wsfast_or(first1, last1));
    }
    wsfast_store(destination, first0);
    wsfast_store(destination_end - 16, last0);
    return seen;
}

#else

/* 16 bytes and more, a word at a time. Returns the OR of the stored bytes. */
WSFAST_ALWAYS_INLINE uint64_t wsfast_mask_words(
    uint8_t *destination, const uint8_t *source, size_t size, uint32_t masking_key, uint32_t next_key)
{
    const uint64_t key64 = (uint64_t)masking_key << 32 | masking_key;
    /* The last word overlaps the ones before it: loaded before they are stored, and stored after them. */
    const uint64_t last = wsfast_load64(source + size - 8) ^ ((uint64_t)next_key << 32 | next_key);
    uint64_t seen = last;
    for (size_t pos = 0; pos + 8 <= size; pos += 8) {
        const uint64_t word = wsfast_load64(source + pos) ^ key64;
        wsfast_store64(destination + pos, word);
        seen |= word;
    }
    wsfast_store64(destination + size - 8, last);
    return seen;
}

#endif

/* Fewer than 16 bytes. Returns the OR of the stored bytes. */
WSFAST_ALWAYS_INLINE uint64_t wsfast_mask_few(
    uint8_t *destination, const uint8_t *source, size_t size, uint32_t masking_key, uint32_t next_key)
{
    if (size >= 8) {
        const uint64_t first = wsfast_load64(source) ^ ((uint64_t)masking_key << 32 | masking_key);
        const uint64_t last = wsfast_load64(source + size - 8) ^ ((uint64_t)next_key << 32 | next_key);
        wsfast_store64(destination, first);
        wsfast_store64(destination + size - 8, last);
        return first | last;
    }
    if (size >= 4) {
        const uint32_t first = wsfast_load32(source) ^ masking_key;
        const uint32_t last = wsfast_load32(source + size - 4) ^ next_key;
        wsfast_store32(destination, first);
        wsfast_store32(destination + size - 4, last);
        return first | last;
    }
    uint8_t key[4];
    uint8_t seen = 0;
    wsfast_store32(key, masking_key);
    for (size_t pos = 0; pos < size; pos++)
        seen |= destination[pos] = source[pos] ^ key[pos];
    return seen;
}

/* XOR `size` bytes of `source` with the key into `destination`; returns the key for the bytes that follow.
 *
 * `destination == source` is allowed; any other overlap is not.
 */
static inline uint32_t wsfast_mask(uint8_t *destination, const uint8_t *source, size_t size, uint32_t masking_key)
{
    const uint32_t next_key = wsfast_rotate_key(masking_key, size);
    if (size < 16)
        wsfast_mask_few(destination, source, size, masking_key, next_key);
#if WSFAST_VECTOR
    else if (size <= 128)
        wsfast_mask_short(destination, source, size, masking_key, next_key);
    else
        wsfast_mask_long(destination, source, size, masking_key, next_key);
#else
    else
        wsfast_mask_words(destination, source, size, masking_key, next_key);
#endif
    return next_key;
}

/* As wsfast_mask(), but returns 1 if all stored bytes are ASCII, else 0. It looks in the same pass. */
static inline int wsfast_mask_to_ascii(uint8_t *destination, const uint8_t *source, size_t size, uint32_t masking_key)
{
    const uint32_t next_key = wsfast_rotate_key(masking_key, size);
    if (size < 16)
        return !(wsfast_mask_few(destination, source, size, masking_key, next_key) & wsfast_non_ascii_bits);
#if WSFAST_VECTOR
    return !wsfast_has_high_bit(
        size <= 128 ? wsfast_mask_short(destination, source, size, masking_key, next_key)
                    : wsfast_mask_long(destination, source, size, masking_key, next_key));
#else
    return !(wsfast_mask_words(destination, source, size, masking_key, next_key) & wsfast_non_ascii_bits);
#endif
}

#endif
