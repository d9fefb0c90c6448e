/* From UTF-8 to units by 16 bytes at a time (contracts in text.h), in the words of shuffle.h: SSE4.1, AVX2 and NEON.
 *
 * Characters become units without a branch on what they are, ASCII apart: in every lane the unit that would begin there
 * is computed from this byte and the next ones, and the lanes that begin no character are squeezed out.
 */
#ifndef WSFAST_TO_UNITS_H
#define WSFAST_TO_UNITS_H

#include "shuffle.h"

WSFAST_OP int shuffle_measure(const uint8_t *text, size_t size, wsfast_measure *measure)
{
    const v16 first_high = v_load(wsfast_pair_errors[0]);
    const v16 first_low = v_load(wsfast_pair_errors[1]);
    const v16 second_high = v_load(wsfast_pair_errors[2]);
    v16 errors = v_zero(), max = errors;
    size_t n_continuations = 0, pos = 0;
    /* The zeroes after the text make a character that is cut off there too short: so look 3 bytes beyond. */
    while (pos < size + 3) {
        v16 n_of_lane = v_zero(); /* of 8 bits: add them up before they overflow */
        const size_t stop = size + 3 - pos > 255 * 16 ? pos + 255 * 16 : size + 3;
        for (; pos < stop; pos += 16) {
            const v16 input = v_load(text + pos), before1 = v_load(text + pos - 1);
            const v16 before2 = v_load(text + pos - 2), before3 = v_load(text + pos - 3);
            const v16 special = v_and(
                v_and(v_shuffle(first_high, v_high_nibbles(before1)),
                      v_shuffle(first_low, v_and(before1, v_all8(0x0F)))),
                v_shuffle(second_high, v_high_nibbles(input)));
            const v16 third = v_sub_to_zero8(before2, v_all8(0xE0 - 0x80));
            const v16 fourth = v_sub_to_zero8(before3, v_all8(0xF0 - 0x80));
            errors = v_or(errors, v_xor(v_and(v_or(third, fourth), v_all8(0x80)), special));
            max = v_max8(max, input);
            n_of_lane = v_sub8(n_of_lane, v_continuations(input));
        }
        n_continuations += v_sum8(n_of_lane);
    }
    const uint8_t highest = v_highest8(max);
    if (highest > measure->max_byte)
        measure->max_byte = highest;
    measure->n_chars += size - n_continuations;
    return !v_any(errors);
}

/* The lanes at `text` that begin a character, of 16 or of as many bytes as are left. */
WSFAST_OP unsigned shuffle_leads(v16 bytes, size_t size)
{
    const unsigned leads = ~v_lanes8(v_continuations(bytes)) & 0xFFFF;
    return size < 16 ? leads & ((1u << size) - 1) : leads;
}

WSFAST_OP size_t shuffle_to_ucs1(const uint8_t *text, size_t size, uint8_t *units, size_t room)
{
    uint8_t *const start = units, *const end = units + room;
    for (size_t pos = 0; pos < size; pos += 16) {
        const v16 bytes = v_load(text + pos);
        if (size - pos >= 16 && end - units >= 16 && !v_lanes8(bytes)) {
            v_store(units, bytes);
            units += 16;
            continue;
        }
        /* 110000xx 10yyyyyy: 0xC2 leaves the second byte as it is, 0xC3 adds 0x40 to it */
        const v16 is_c3 = v_equal8(bytes, v_all8(0xC3));
        const v16 second = v_add8(v_load(text + pos + 1), v_and(is_c3, v_all8(0x40)));
        const v16 unit = v_select(bytes, second, v_tops8(bytes));
        const unsigned keep = shuffle_leads(bytes, size - pos), n = v_n_lanes(keep), n_low = v_n_lanes(keep & 0xFF);
        uint8_t packed[16];
        uint8_t *const to = end - units >= (ptrdiff_t)(n_low + 8) ? units : packed;
        v_store_half(to, v_shuffle(unit, v_load_half(wsfast_pack8[keep & 0xFF])));
        v_store_half(to + n_low, v_shuffle(v_high_half(unit), v_load_half(wsfast_pack8[keep >> 8])));
        if (to == packed)
            memcpy(units, packed, n);
        units += n;
    }
    return (size_t)(units - start);
}

/* The units of 16 bits that would begin in 16 lanes, as two vectors: of those bytes, and of the two behind each.
 *
 *   110xxxxx 10yyyyyy             00000xxx xxyyyyyy
 *   1110xxxx 10yyyyyy 10zzzzzz    xxxxyyyy yyzzzzzz
 */
WSFAST_OP void shuffle_units16(v16 byte0, v16 byte1, v16 byte2, v16 *low, v16 *high)
{
    const v16 not_ascii = v_tops8(byte0), three = v_above8(byte0, 0xDF); /* or ASCII */
    const v16 last = v_select(byte1, byte2, three), last_but_one = v_select(byte0, byte1, three);
    const v16 bottom = v_or(v_and(v_shift_left16(last_but_one, 6), v_all8(0xC0)), v_and(last, v_all8(0x3F)));
    const v16 top2 = v_and(v_shift_right16(byte0, 2), v_all8(0x07));
    const v16 top3 = v_or(
        v_and(v_shift_left16(byte0, 4), v_all8(0xF0)), v_and(v_shift_right16(byte1, 2), v_all8(0x0F)));
    const v16 top = v_and(v_select(top2, top3, three), not_ascii);
    const v16 unit = v_select(byte0, bottom, not_ascii);
    *low = v_zip_low8(unit, top);
    *high = v_zip_high8(unit, top);
}

WSFAST_OP size_t shuffle_to_ucs2(const uint8_t *text, size_t size, uint16_t *units, size_t room)
{
    uint16_t *const start = units, *const end = units + room;
    for (size_t pos = 0; pos < size; pos += 16) {
        const v16 bytes = v_load(text + pos), next1 = v_load(text + pos + 1), next2 = v_load(text + pos + 2);
        if (size - pos >= 16 && end - units >= 16 && !v_lanes8(bytes)) {
            v_store(units, v_widen_low(bytes));
            v_store(units + 8, v_widen_high(bytes));
            units += 16;
            continue;
        }
        v16 low, high;
        shuffle_units16(bytes, next1, next2, &low, &high);
        const unsigned keep = shuffle_leads(bytes, size - pos), n = v_n_lanes(keep), n_low = v_n_lanes(keep & 0xFF);
        uint16_t packed[16];
        uint16_t *const to = end - units >= (ptrdiff_t)(n_low + 8) ? units : packed;
        v_store(to, v_shuffle(low, v_load(wsfast_pack16[keep & 0xFF])));
        v_store(to + n_low, v_shuffle(high, v_load(wsfast_pack16[keep >> 8])));
        if (to == packed)
            memcpy(units, packed, n * sizeof *packed);
        units += n;
    }
    return (size_t)(units - start);
}

/* The characters that begin in the `size` bytes at `text`, one at a time; returns the end of their units. */
static inline uint32_t *wsfast_decode_characters(const uint8_t *text, size_t size, uint32_t *units)
{
    for (size_t pos = 0; pos < size;) {
        const uint32_t byte = text[pos++];
        if (byte < 0x80) {
            *units++ = byte;
        } else if (byte >= 0xF0) { /* 11110xxx 10xxxxxx 10xxxxxx 10xxxxxx */
            *units++ = (byte & 0x07) << 18 | (text[pos] & 0x3Fu) << 12 | (text[pos + 1] & 0x3Fu) << 6 | (text[pos + 2] & 0x3Fu);
            pos += 3;
        } else if (byte >= 0xE0) { /* 1110xxxx 10xxxxxx 10xxxxxx */
            *units++ = (byte & 0x0F) << 12 | (text[pos] & 0x3Fu) << 6 | (text[pos + 1] & 0x3Fu);
            pos += 2;
        } else if (byte >= 0xC0) { /* 110xxxxx 10xxxxxx */
            *units++ = (byte & 0x1F) << 6 | (text[pos] & 0x3Fu);
            pos++;
        }
    }
    return units;
}

/* Of lanes of 32 bits there are too few to squeeze: where characters have 4 bytes, one at a time is as fast. */
WSFAST_OP size_t shuffle_to_ucs4(const uint8_t *text, size_t size, uint32_t *units, size_t room)
{
    uint32_t *const start = units, *const end = units + room;
    for (size_t pos = 0; pos < size; pos += 16) {
        const v16 bytes = v_load(text + pos), next1 = v_load(text + pos + 1), next2 = v_load(text + pos + 2);
        if (size - pos < 16 || end - units < 16 || v_any(v_sub_to_zero8(bytes, v_all8(0xEF)))) {
            units = wsfast_decode_characters(text + pos, size - pos < 16 ? size - pos : 16, units);
            continue;
        }
        v16 low = v_widen_low(bytes), high = v_widen_high(bytes);
        unsigned n_low = 8, n = 16;
        if (v_lanes8(bytes)) {
            const unsigned keep = shuffle_leads(bytes, 16);
            n = v_n_lanes(keep);
            n_low = v_n_lanes(keep & 0xFF);
            shuffle_units16(bytes, next1, next2, &low, &high);
            low = v_shuffle(low, v_load(wsfast_pack16[keep & 0xFF]));
            high = v_shuffle(high, v_load(wsfast_pack16[keep >> 8]));
        }
        v_store(units, v_widen_low16(low));
        v_store(units + 4, v_widen_high16(low));
        v_store(units + n_low, v_widen_low16(high));
        v_store(units + n_low + 4, v_widen_high16(high));
        units += n;
    }
    return (size_t)(units - start);
}

#endif
