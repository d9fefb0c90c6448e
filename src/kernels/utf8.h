/* UTF-8 validation as the bytes arrive (RFC 6455 8.1; RFC 3629, which is Unicode's table 3-7).
 *
 * The state between two pieces is what the next byte has to be: how many continuation bytes are due, and the
 * range of the first of them. A byte outside it can be mended by no continuation, so the check fails there
 * and not at the end of the text.
 */
#ifndef WSFAST_UTF8_H
#define WSFAST_UTF8_H

#include "vector.h"

typedef struct {
    uint8_t n_due;      /* continuation bytes still due: 0 between characters */
    uint8_t low, high;  /* range of the next one, while n_due > 0 */
} wsfast_utf8;

/* 1 when every byte is below 0x80. */
static inline int wsfast_is_ascii(const uint8_t *data, size_t size)
{
#if WSFAST_VECTOR
    if (size >= 16) {
        /* The last vector may overlap the ones before it: to look twice is harmless. */
        wsfast_vector seen = wsfast_load(data + size - 16);
        size_t pos = 0;
        for (; pos + 64 < size; pos += 64) {
            seen = wsfast_or(seen, wsfast_or(
                wsfast_or(wsfast_load(data + pos), wsfast_load(data + pos + 16)),
                wsfast_or(wsfast_load(data + pos + 32), wsfast_load(data + pos + 48))));
        }
        for (; pos + 16 < size; pos += 16)
            seen = wsfast_or(seen, wsfast_load(data + pos));
        return !wsfast_has_high_bit(seen);
    }
#endif
    uint64_t seen = 0;
    size_t pos = 0;
    for (; pos + 8 <= size; pos += 8)
        seen |= wsfast_load64(data + pos);
    for (; pos < size; pos++)
        seen |= data[pos];
    return (seen & wsfast_non_ascii_bits) == 0;
}

/* Check the next piece. Returns 0 at the first impossible byte; the state is then of no more use.
 *
 * `state` starts as zeroes; it belongs to one text.
 */
static inline int wsfast_utf8_feed(wsfast_utf8 *state, const uint8_t *data, size_t size)
{
    uint8_t n_due = state->n_due, low = state->low, high = state->high;
    size_t pos = 0;
    while (pos < size) {
        if (n_due) {
            const uint8_t byte = data[pos++];
            if (byte < low || byte > high)
                return 0;
            low = 0x80;
            high = 0xBF;
            n_due--;
            continue;
        }
        while (size - pos >= 8 && (wsfast_load64(data + pos) & wsfast_non_ascii_bits) == 0)
            pos += 8;
        if (pos == size)
            break;
        const uint8_t lead = data[pos++];
        if (lead < 0x80)
            continue;
        low = 0x80;
        high = 0xBF;
        if (lead < 0xC2) { /* 80..BF: a stray continuation; C0, C1: overlong */
            return 0;
        } else if (lead < 0xE0) { /* 110xxxxx 10xxxxxx */
            n_due = 1;
        } else if (lead < 0xF0) { /* 1110xxxx 10xxxxxx 10xxxxxx */
            n_due = 2;
            if (lead == 0xE0)
                low = 0xA0; /* below: overlong */
            else if (lead == 0xED)
                high = 0x9F; /* above: surrogates D800..DFFF */
        } else if (lead < 0xF5) { /* 11110xxx 10xxxxxx 10xxxxxx 10xxxxxx */
            n_due = 3;
            if (lead == 0xF0)
                low = 0x90; /* below: overlong */
            else if (lead == 0xF4)
                high = 0x8F; /* above: beyond U+10FFFF */
        } else {
            return 0;
        }
    }
    state->n_due = n_due;
    state->low = low;
    state->high = high;
    return 1;
}

#endif
