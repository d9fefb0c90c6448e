/* A text of any length for the text kernels: a part at a time, in a buffer on the stack with the padding they want.
 */
#ifndef WSFAST_PARTS_H
#define WSFAST_PARTS_H

#include "mask.h"
#include "text.h"
#include "utf8.h"

enum { WSFAST_PART_SIZE = 16384, WSFAST_PART_LEAD = 16 };

typedef struct {
    uint8_t bytes[WSFAST_PART_LEAD + WSFAST_PART_SIZE + WSFAST_TEXT_PADDING];
} wsfast_part;

/* The padding that the kernels want around `size` bytes. */
static inline void wsfast_pad_part(wsfast_part *part, size_t size)
{
    memset(part->bytes, 0, WSFAST_PART_LEAD);
    memset(part->bytes + WSFAST_PART_LEAD + size, 0, WSFAST_TEXT_PADDING);
}

/* Unmask the next part of a text: all of it if it has room, else up to its last character that is whole.
 *
 * Returns the size of the part, which is 0 only for an empty text. What begins no character is left in, for the
 * kernels to find.
 */
static inline size_t wsfast_load_part(wsfast_part *part, const uint8_t *payload, size_t size, uint32_t masking_key)
{
    uint8_t *const text = part->bytes + WSFAST_PART_LEAD;
    size_t n_taken = size < WSFAST_PART_SIZE ? size : WSFAST_PART_SIZE;
    if (masking_key == 0) /* there is nothing to unmask, and libc may have wider vectors */
        memcpy(text, payload, n_taken);
    else
        wsfast_mask(text, payload, n_taken, masking_key);
    if (n_taken < size) {
        for (size_t back = 1; back <= 3; back++) {
            const uint8_t byte = text[n_taken - back];
            if (byte < 0xC0)
                continue;
            /* 110xxxxx wants 1 byte more, 1110xxxx 2, 11110xxx 3 */
            if (back < (byte < 0xE0 ? 2u : byte < 0xF0 ? 3u : 4u))
                n_taken -= back;
            break;
        }
    }
    wsfast_pad_part(part, n_taken);
    return n_taken;
}

/* What wsfast_text_kernels.measure() adds to `measure`, byte by byte, for text that is valid. */
static inline void wsfast_measure_bytes(const uint8_t *data, size_t size, wsfast_measure *measure)
{
    for (size_t pos = 0; pos < size; pos++) {
        measure->n_chars += (data[pos] & 0xC0) != 0x80;
        if (data[pos] > measure->max_byte)
            measure->max_byte = data[pos];
    }
}

/* 64 bytes and more that are not all ASCII: see below. */
static inline int wsfast_utf8_feed_parts(
    const wsfast_text_kernels *kernels, wsfast_utf8 *state, const uint8_t *data, size_t size, wsfast_measure *measure)
{
    wsfast_part part;
    /* The character that the last piece left unfinished, byte by byte. */
    size_t pos = 0;
    for (; state->n_due && pos < size; pos++) {
        if (!wsfast_utf8_feed(state, data + pos, 1))
            return 0;
    }
    wsfast_measure_bytes(data, pos, measure);
    while (size - pos > WSFAST_PART_SIZE) {
        const size_t n_part = wsfast_load_part(&part, data + pos, size - pos, 0);
        if (!kernels->measure(part.bytes + WSFAST_PART_LEAD, n_part, measure))
            return 0;
        pos += n_part;
    }
    /* The last part may end inside a character, which the next piece continues: its last 3 bytes byte by byte, from
     * where a character begins. */
    size_t end = size > pos + 3 ? size - 3 : pos;
    while (end > pos && size - end < 6 && (data[end] & 0xC0) == 0x80)
        end--;
    if (end > pos) {
        const size_t n_part = wsfast_load_part(&part, data + pos, end - pos, 0);
        if (!kernels->measure(part.bytes + WSFAST_PART_LEAD, n_part, measure))
            return 0;
    }
    wsfast_measure_bytes(data + end, size - end, measure);
    return wsfast_utf8_feed(state, data + end, size - end);
}

/* wsfast_utf8_feed() by the kernels of this CPU, adding to `measure`; NULL: without any, and without measuring. */
static inline int wsfast_utf8_feed_by(
    const wsfast_text_kernels *kernels, wsfast_utf8 *state, const uint8_t *data, size_t size, wsfast_measure *measure)
{
    if (state->n_due == 0 && wsfast_is_ascii(data, size)) {
        measure->n_chars += size;
        return 1;
    }
    if (kernels == NULL)
        return wsfast_utf8_feed(state, data, size);
    if (size < 64) { /* too short to gain anything */
        wsfast_measure_bytes(data, size, measure);
        return wsfast_utf8_feed(state, data, size);
    }
    return wsfast_utf8_feed_parts(kernels, state, data, size, measure);
}

/* Bytes of text up to which one pass is faster than two, of which the second skips ASCII. */
enum { WSFAST_ONE_PASS_SIZE = 512 };

/* Whether a whole text is well-formed. */
static inline int wsfast_utf8_valid_by(const wsfast_text_kernels *kernels, const uint8_t *data, size_t size)
{
    wsfast_utf8 state = {0, 0, 0};
    wsfast_measure measure = {0, 0};
    uint8_t text[WSFAST_PART_LEAD + WSFAST_ONE_PASS_SIZE + WSFAST_TEXT_PADDING];
    if (wsfast_is_ascii(data, size))
        return 1;
    if (kernels != NULL && size <= WSFAST_ONE_PASS_SIZE)
        return kernels->unmask_and_measure(text + WSFAST_PART_LEAD, data, size, 0, &measure);
    return wsfast_utf8_feed_by(kernels, &state, data, size, &measure) && state.n_due == 0;
}

#endif
