/* From UTF-8 to units by 16 bytes at a time (contracts in text.h), in the words of shuffle.h: SSE4.1, AVX2 and NEON.
 *
 * Characters become units without a branch on what they are, ASCII apart: in every lane the unit that would begin there
 * is computed from this byte and the next ones, and the lanes that begin no character are squeezed out.
 */
#ifndef WSFAST_TO_UNITS_H
#define WSFAST_TO_UNITS_H

#include "shuffle.h"

/* The faults in the bytes of `input`, given those 1, 2 and 3 places before each. A lane without a fault is 0. */
WSFAST_OP v16 shuffle_find_errors(v16 input, v16 before1, v16 before2, v16 before3)
{
    const v16 special = v_and(
        v_and(v_shuffle(v_load(wsfast_pair_errors[0]), v_high_nibbles(before1)),
              v_shuffle(v_load(wsfast_pair_errors[1]), v_and(before1, v_all8(0x0F)))),
        v_shuffle(v_load(wsfast_pair_errors[2]), v_high_nibbles(input)));
    const v16 third = v_sub_to_zero8(before2, v_all8(0xE0 - 0x80));
    const v16 fourth = v_sub_to_zero8(before3, v_all8(0xF0 - 0x80));
    return v_xor(v_and(v_or(third, fourth), v_all8(0x80)), special);
}

WSFAST_OP int shuffle_measure(const uint8_t *text, size_t size, wsfast_measure *measure)
{
    v16 errors = v_zero(), max = errors;
    size_t n_continuations = 0, pos = 0;
    /* The zeroes after the text make a character that is cut off there too short: so look 3 bytes beyond. */
    while (pos < size + 3) {
        v16 n_of_lane = v_zero(); /* of 8 bits: add them up before they overflow */
        const size_t stop = size + 3 - pos > 255 * 16 ? pos + 255 * 16 : size + 3;
        for (; pos < stop; pos += 16) {
            const v16 input = v_load(text + pos);
            const v16 found = shuffle_find_errors(
                input, v_load(text + pos - 1), v_load(text + pos - 2), v_load(text + pos - 3));
            errors = v_or(errors, found);
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

/* 1 to 16 bytes, and zeroes. */
WSFAST_OP v16 shuffle_load_few(const uint8_t *from, size_t n)
{
    if (n == 16)
        return v_load(from);
    if (n > 8)
        return v_from64(wsfast_load64(from), wsfast_load64(from + n - 8) >> (16 - n) * 8);
    if (n >= 4) {
        const uint64_t last = (uint64_t)wsfast_load32(from + n - 4) << (n - 4) * 8;
        return v_from64(wsfast_load32(from) | last, 0);
    }
    return v_from64(from[0] | (uint32_t)from[n / 2] << n / 2 * 8 | (uint32_t)from[n - 1] << (n - 1) * 8, 0);
}

/* The last `n` bytes of a payload of `size`, 16 at the most, unmasked, and zeroes. */
WSFAST_OP v16 shuffle_unmask_last(const uint8_t *payload, size_t size, size_t n, v16 key)
{
    const uint8_t *const end = payload + size;
    const v16 masked = size < 16 ? shuffle_load_few(payload, size)
                                 : v_shuffle(v_load(end - 16), v_load(wsfast_window + 32 - n));
    return v_and(v_xor(masked, key), v_load(wsfast_first_bytes + 16 - n));
}

/* Nothing may follow that a character cut off at the end would be too short for: 110xxxxx, 1110xxxx, 11110xxx. */
static inline int wsfast_ends_whole(const uint8_t *text, size_t size)
{
    return text[size - 1] < 0xC0 && (size < 2 || text[size - 2] < 0xE0) && (size < 3 || text[size - 3] < 0xF0);
}

/* What is known of a text up to `pos`, of which `previous` are the last 16 bytes. */
typedef struct {
    v16 errors, max, previous;
    size_t n_continuations, pos;
} shuffle_progress;

/* Each vector is checked while it is in its register: loading stored bytes again would wait for the store. */
WSFAST_OP int shuffle_unmask_and_measure_rest(
    uint8_t *text, const uint8_t *payload, size_t size, v16 key, shuffle_progress progress, wsfast_measure *measure)
{
    v16 errors = progress.errors, max = progress.max, previous = progress.previous;
    size_t n_continuations = progress.n_continuations, pos = progress.pos;
    while (pos < size) {
        v16 n_of_lane = v_zero();
        const size_t stop = size - pos > 255 * 16 ? pos + 255 * 16 : size;
        for (; pos < stop; pos += 16) {
            const size_t n = size - pos;
            const v16 input =
                n >= 16 ? v_xor(v_load(payload + pos), key) : shuffle_unmask_last(payload, size, n, key);
            v_store(text + pos, input);
            const v16 found = shuffle_find_errors(
                input, v_before(input, previous, 1), v_before(input, previous, 2), v_before(input, previous, 3));
            errors = v_or(errors, found);
            max = v_max8(max, input);
            n_of_lane = v_sub8(n_of_lane, v_continuations(input));
            previous = input;
        }
        n_continuations += v_sum8(n_of_lane);
    }
    for (; pos & 63; pos += 16)
        v_store(text + pos, v_zero());
    measure->max_byte = v_highest8(max);
    measure->n_chars = size - n_continuations;
    return !v_any(errors) && wsfast_ends_whole(text, size);
}

WSFAST_OP int shuffle_unmask_and_measure(
    uint8_t *text, const uint8_t *payload, size_t size, uint32_t masking_key, wsfast_measure *measure)
{
    const shuffle_progress nothing = {v_zero(), v_zero(), v_zero(), 0, 0};
    return shuffle_unmask_and_measure_rest(text, payload, size, v_all32(masking_key), nothing, measure);
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
        const v16 low = v_shuffle(unit, v_load(wsfast_pack8[keep & 0xFF]));
        const v16 high = v_shuffle(v_high_half(unit), v_load(wsfast_pack8[keep >> 8]));
        if (end - units >= (ptrdiff_t)(n_low + 8)) { /* n is no more than that */
            v_store_half(units, low);
            v_store_half(units + n_low, high);
            units += n;
        } else {
            const unsigned n_fit = wsfast_fitting(n, (size_t)(end - units));
            shuffle_put(units, (shuffle_bytes){low, high, n_low, n}, n_fit);
            units += n_fit;
        }
    }
    return (size_t)(units - start);
}

/* The units of 16 bits that would begin in 16 lanes, as two vectors: of those bytes, and of the two after each.
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
        low = v_shuffle(low, v_load(wsfast_pack16[keep & 0xFF]));
        high = v_shuffle(high, v_load(wsfast_pack16[keep >> 8]));
        if (end - units >= (ptrdiff_t)(n_low + 8)) {
            v_store(units, low);
            v_store(units + n_low, high);
            units += n;
        } else {
            const unsigned n_fit = wsfast_fitting(n, (size_t)(end - units));
            shuffle_put((uint8_t *)(void *)units, (shuffle_bytes){low, high, 2 * n_low, 2 * n}, 2 * n_fit);
            units += n_fit;
        }
    }
    return (size_t)(units - start);
}

/* The characters that begin in the `size` bytes at `text`, one at a time; returns the end of their units. */
static inline uint32_t *wsfast_decode_characters(const uint8_t *text, size_t size, uint32_t *units, const uint32_t *end)
{
    for (size_t pos = 0; pos < size && units < end;) {
        const uint32_t byte = text[pos++];
        if (byte < 0x80) {
            *units++ = byte;
        } else if (byte >= 0xF0) { /* 11110xxx 10xxxxxx 10xxxxxx 10xxxxxx */
            *units++ = (byte & 0x07) << 18 | (text[pos] & 0x3Fu) << 12 | (text[pos + 1] & 0x3Fu) << 6 |
                       (text[pos + 2] & 0x3Fu);
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
            units = wsfast_decode_characters(text + pos, size - pos < 16 ? size - pos : 16, units, end);
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
