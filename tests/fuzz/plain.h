/* Plain UTF-8, written from Unicode's table 3-7 and RFC 3629: the reference of the targets in C. */
#ifndef PLAIN_H
#define PLAIN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* Memory of exactly this size: the sanitizer knows where it begins and ends. */
static inline uint8_t *exactly(size_t size)
{
    uint8_t *const memory = malloc(size ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

static inline uint8_t *copy_of(const void *data, size_t size)
{
    uint8_t *const memory = exactly(size);
    if (size)
        memcpy(memory, data, size);
    return memory;
}

/* Bytes of a character that begins with `lead`, and the range of its second byte; 0 for a byte that begins none. */
static inline size_t plain_lead(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    if (lead == 0xE0)
        *low = 0xA0;
    if (lead == 0xED)
        *high = 0x9F;
    if (lead == 0xF0)
        *low = 0x90;
    if (lead == 0xF4)
        *high = 0x8F;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* The position of the first byte that no continuation could mend; `size` if there is none. `units` has room for `size`
 * code points; `n_due` gets the bytes that are missing at the end. */
static inline size_t plain_decode(const uint8_t *text, size_t size, uint32_t *units, size_t *n_units, size_t *n_due)
{
    size_t pos = 0;
    *n_units = *n_due = 0;
    while (pos < size) {
        uint8_t low, high;
        const size_t n_bytes = plain_lead(text[pos], &low, &high);
        if (n_bytes == 0)
            return pos;
        uint32_t unit = n_bytes == 1 ? text[pos] : text[pos] & (0x7Fu >> n_bytes);
        for (size_t n = 1; n < n_bytes; n++, low = 0x80, high = 0xBF) {
            if (pos + n == size) {
                *n_due = n_bytes - n;
                return size;
            }
            if (text[pos + n] < low || text[pos + n] > high)
                return pos + n;
            unit = unit << 6 | (text[pos + n] & 0x3Fu);
        }
        units[(*n_units)++] = unit;
        pos += n_bytes;
    }
    return size;
}

/* Write a code point; returns its bytes, 0 for a surrogate. */
static inline size_t plain_encode(uint32_t unit, uint8_t *to)
{
    if (unit < 0x80) {
        to[0] = (uint8_t)unit;
        return 1;
    }
    if (unit < 0x800) {
        to[0] = (uint8_t)(0xC0 | unit >> 6);
        to[1] = (uint8_t)(0x80 | (unit & 0x3F));
        return 2;
    }
    if (unit < 0x10000) {
        if (unit >= 0xD800 && unit < 0xE000)
            return 0;
        to[0] = (uint8_t)(0xE0 | unit >> 12);
        to[1] = (uint8_t)(0x80 | (unit >> 6 & 0x3F));
        to[2] = (uint8_t)(0x80 | (unit & 0x3F));
        return 3;
    }
    to[0] = (uint8_t)(0xF0 | unit >> 18);
    to[1] = (uint8_t)(0x80 | (unit >> 12 & 0x3F));
    to[2] = (uint8_t)(0x80 | (unit >> 6 & 0x3F));
    to[3] = (uint8_t)(0x80 | (unit & 0x3F));
    return 4;
}

#endif
