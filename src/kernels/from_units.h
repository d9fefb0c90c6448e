/* From units to UTF-8 by 16 bytes at a time (contracts in text.h), in the words of shuffle.h: SSE4.1, AVX2 and NEON.
 *
 * Units become bytes without a branch on what they are, but for whole vectors below U+0080, U+0800 and U+10000: every
 * unit becomes as many bytes as the highest could have, and those it does not have are squeezed out.
 */
#ifndef WSFAST_FROM_UNITS_H
#define WSFAST_FROM_UNITS_H

#include "shuffle.h"

/* --- the size --- */

/* 4 to 7 units, and zeroes after them, which are characters of one byte. */
WSFAST_OP v16 shuffle_few8(const uint8_t *units, size_t n_units)
{
    const uint64_t last = wsfast_load32(units + n_units - 4) >> (8 - n_units) * 4 >> (8 - n_units) * 4;
    return v_from64(last << 32 | wsfast_load32(units), 0);
}

WSFAST_OP v16 shuffle_few16(const uint16_t *units, size_t n_units)
{
    uint64_t first, last;
    memcpy(&first, units, sizeof first);
    memcpy(&last, units + n_units - 4, sizeof last);
    return v_from64(first, last >> (8 - n_units) * 8 >> (8 - n_units) * 8);
}

/* The last of them; the first 4 are a vector. */
WSFAST_OP v16 shuffle_few32(const uint32_t *units, size_t n_units)
{
    return v_shuffle(v_load(units + n_units - 4), v_load(wsfast_window + 16 + 4 * (8 - n_units)));
}

/* Bytes after the first. */
static inline size_t wsfast_n_more(uint32_t unit)
{
    return (size_t)(unit >= 0x80) + (unit >= 0x800) + (unit >= 0x10000);
}

/* The size of up to 3 units; those that are not there are 0. */
static inline size_t wsfast_few_size(uint32_t unit0, uint32_t unit1, uint32_t unit2, size_t n_units)
{
    if (unit0 >> 11 == 0xD800 >> 11 || unit1 >> 11 == 0xD800 >> 11 || unit2 >> 11 == 0xD800 >> 11)
        return WSFAST_SURROGATE;
    return n_units + wsfast_n_more(unit0) + wsfast_n_more(unit1) + wsfast_n_more(unit2);
}

#define WSFAST_FEW_SIZE(units, n) \
    wsfast_few_size((n) > 0 ? (units)[0] : 0, (n) > 1 ? (units)[1] : 0, (n) > 2 ? (units)[2] : 0, n)

WSFAST_OP size_t shuffle_ucs1_size(const uint8_t *units, size_t n_units)
{
    size_t size = n_units, pos = 0;
    if (n_units < 4)
        return WSFAST_FEW_SIZE(units, n_units);
    if (n_units < 8)
        return size + v_n_lanes(v_lanes8(shuffle_few8(units, n_units)));
    if (n_units < 16) {
        const v16 last = v_shuffle(v_load_half(units + n_units - 8), v_load(wsfast_window + 16 + 16 - n_units));
        return size + v_n_lanes(v_lanes8(v_load_half(units))) + v_n_lanes(v_lanes8(last));
    }
    while (n_units - pos >= 16) {
        v16 n_of_lane = v_zero();
        const size_t stop = n_units - pos > 255 * 16 ? pos + 255 * 16 : n_units - 15;
        for (; pos < stop; pos += 16)
            n_of_lane = v_sub8(n_of_lane, v_tops8(v_load(units + pos)));
        size += v_sum8(n_of_lane);
    }
    /* The last ones, without those that are counted. */
    const v16 last = v_shuffle(v_load(units + n_units - 16), v_load(wsfast_window + 32 - (n_units - pos)));
    return size + v_n_lanes(v_lanes8(last));
}

/* What one vector adds: a byte for each unit from U+0080 on, and one more from U+0800 on. */
#define WSFAST_COUNT16(vector) \
    do { \
        const v16 counted = vector; \
        n_of_lane = v_sub16(n_of_lane, v_at_least16(counted, v_all16(0x80))); \
        n_of_lane = v_sub16(n_of_lane, v_at_least16(counted, v_all16(0x800))); \
        surrogates = v_or(surrogates, v_equal16(v_and(counted, v_all16(0xF800)), v_all16(0xD800))); \
    } while (0)

WSFAST_OP size_t shuffle_ucs2_size(const uint16_t *units, size_t n_units)
{
    size_t size = n_units, pos = 0;
    v16 surrogates = v_zero(), n_of_lane = v_zero();
    if (n_units < 4)
        return WSFAST_FEW_SIZE(units, n_units);
    if (n_units < 8) {
        WSFAST_COUNT16(shuffle_few16(units, n_units));
        return v_any(surrogates) ? WSFAST_SURROGATE : size + v_sum16(n_of_lane);
    }
    for (;;) {
        const size_t stop = n_units - pos > 0x4000 * 8 ? pos + 0x4000 * 8 : n_units - 7;
        for (; pos < stop; pos += 8)
            WSFAST_COUNT16(v_load(units + pos));
        if (n_units - pos < 8)
            break;
        size += v_sum16(n_of_lane);
        n_of_lane = v_zero();
    }
    /* The last ones, without those that are counted. */
    WSFAST_COUNT16(v_shuffle(v_load(units + n_units - 8), v_load(wsfast_window + 32 - 2 * (n_units - pos))));
    return v_any(surrogates) ? WSFAST_SURROGATE : size + v_sum16(n_of_lane);
}

#define WSFAST_COUNT32(vector) \
    do { \
        const v16 counted = vector; \
        n_of_lane = v_sub32(n_of_lane, v_at_least32(counted, 0x80)); \
        n_of_lane = v_sub32(n_of_lane, v_at_least32(counted, 0x800)); \
        n_of_lane = v_sub32(n_of_lane, v_at_least32(counted, 0x10000)); \
        surrogates = v_or(surrogates, v_equal32(v_shift_right32(counted, 11), v_all32(0xD800 >> 11))); \
    } while (0)

WSFAST_OP size_t shuffle_ucs4_size(const uint32_t *units, size_t n_units)
{
    size_t size = n_units, pos = 0;
    v16 surrogates = v_zero(), n_of_lane = v_zero();
    if (n_units < 4)
        return WSFAST_FEW_SIZE(units, n_units);
    for (;;) {
        const size_t stop = n_units - pos > 0x4000 * 4 ? pos + 0x4000 * 4 : n_units - 3;
        for (; pos < stop; pos += 4)
            WSFAST_COUNT32(v_load(units + pos));
        if (n_units - pos < 4)
            break;
        size += v_sum32(n_of_lane);
        n_of_lane = v_zero();
    }
    /* The last ones, without those that are counted. */
    WSFAST_COUNT32(v_shuffle(v_load(units + n_units - 4), v_load(wsfast_window + 32 - 4 * (n_units - pos))));
    return v_any(surrogates) ? WSFAST_SURROGATE : size + v_sum32(n_of_lane);
}

/* --- the bytes --- */

/* Up to 3 units, one at a time. */
static inline uint8_t *wsfast_write_character(uint32_t unit, uint8_t *to)
{
    if (unit < 0x80) {
        *to++ = (uint8_t)unit;
        return to;
    }
    if (unit < 0x800) { /* 110xxxxx 10xxxxxx */
        *to++ = (uint8_t)(0xC0 | unit >> 6);
    } else {
        if (unit < 0x10000) { /* 1110xxxx 10xxxxxx 10xxxxxx */
            *to++ = (uint8_t)(0xE0 | unit >> 12);
        } else { /* 11110xxx 10xxxxxx 10xxxxxx 10xxxxxx */
            *to++ = (uint8_t)(0xF0 | unit >> 18);
            *to++ = (uint8_t)(0x80 | (unit >> 12 & 0x3F));
        }
        *to++ = (uint8_t)(0x80 | (unit >> 6 & 0x3F));
    }
    *to++ = (uint8_t)(0x80 | (unit & 0x3F));
    return to;
}

/* The bytes of 8 units below U+0800, in one vector; `two` of them are not ASCII. */
WSFAST_OP shuffle_bytes shuffle_encode_two(v16 units, v16 is_two, unsigned two)
{
    const v16 second = v_shift_left16(units, 8);
    /* xxxxxyyyyyy: 110xxxxx 10yyyyyy; 0yyyyyyy: as it is, in the second byte */
    const v16 both = v_or(
        v_or(v_shift_right16(units, 6), v_and(second, v_all16(0x3F00))), v_all16(0x80C0));
    const unsigned n = 8 + v_n_lanes(two);
    return (shuffle_bytes){v_shuffle(v_select(second, both, is_two), v_load(wsfast_pack_two[two])), v_zero(), n, n};
}

/* The bytes of 8 units of 8 bits, in the low half of a vector. */
WSFAST_OP shuffle_bytes shuffle_encode8(v16 units)
{
    const v16 wide = v_widen_low(units);
    return shuffle_encode_two(wide, v_at_least16(wide, v_all16(0x80)), v_lanes8(units) & 0xFF);
}

/* Squeeze the bytes of 8 characters together. Of each the bytes after the first are what two bits of `lanes` say, 8
 * apart: their sum, or a number, as `pack` has it. */
WSFAST_OP shuffle_bytes shuffle_pack(v16 low, v16 high, unsigned lanes, uint8_t (*pack)[17])
{
    const uint8_t *const pack_low = pack[(lanes & 0x0F) | (lanes >> 4 & 0xF0)];
    const uint8_t *const pack_high = pack[(lanes >> 4 & 0x0F) | (lanes >> 8 & 0xF0)];
    const unsigned n_low = pack_low[16];
    return (shuffle_bytes){
        v_shuffle(low, v_load(pack_low)), v_shuffle(high, v_load(pack_high)), n_low, n_low + pack_high[16]};
}

/* The bytes of 8 units of 16 bits. */
WSFAST_OP shuffle_bytes shuffle_encode16(v16 units)
{
    const v16 two = v_at_least16(units, v_all16(0x80)), three = v_at_least16(units, v_all16(0x800));
    const unsigned lanes = v_lanes16(two, three);
    if (lanes < 0x100) /* 1.5x for Cyrillic, by itself */
        return shuffle_encode_two(units, two, lanes);
    /* xxxxyyyyyyzzzzzz: 1110xxxx 10yyyyyy 10zzzzzz; of two bytes: 110yyyyy 10zzzzzz; of one: as it is */
    const v16 last = v_select(units, v_or(v_and(units, v_all16(0x3F)), v_all16(0x80)), two);
    const v16 middle = v_xor(
        v_or(v_and(v_shift_right16(units, 6), v_all16(0x3F)), v_all16(0xC0)), v_and(three, v_all16(0x40)));
    const v16 first = v_or(v_shift_right16(units, 12), v_all16(0xE0));
    const v16 pairs = v_or(first, v_shift_left16(middle, 8));
    return shuffle_pack(
        v_zip_low16(pairs, last), v_zip_high16(pairs, last), lanes, wsfast_pack_three);
}

/* 4 units of 32 bits to the 4 bytes that each could have; of those it has, the first ones are marked. */
WSFAST_OP v16 shuffle_four_bytes(v16 units, v16 two, v16 three, v16 four)
{
    const v16 ascii = v_shift_left32(units, 24);
    const v16 bits = v_or(
        v_or(v_shift_right32(units, 18), v_and(v_shift_right32(units, 4), v_all32(0x00003F00))),
        v_or(v_and(v_shift_left32(units, 10), v_all32(0x003F0000)), v_and(ascii, v_all32(0x3F000000))));
    /* 110xxxxx 10xxxxxx; 1110xxxx 10xxxxxx 10xxxxxx; 11110xxx 10xxxxxx 10xxxxxx 10xxxxxx */
    const v16 marks = v_select(
        v_select(v_all32(0x80C00000), v_all32(0x8080E000), three), v_all32(0x808080F0), four);
    return v_select(ascii, v_or(bits, marks), two);
}

/* The bytes of 8 units of 32 bits. */
WSFAST_OP shuffle_bytes shuffle_encode32(v16 low, v16 high)
{
    if (!v_any(v_shift_right32(v_or(low, high), 16)))
        return shuffle_encode16(v_narrow32(low, high));
    const v16 low2 = v_at_least32(low, 0x80), low3 = v_at_least32(low, 0x800), low4 = v_at_least32(low, 0x10000);
    const v16 high2 = v_at_least32(high, 0x80), high3 = v_at_least32(high, 0x800), high4 = v_at_least32(high, 0x10000);
    /* Bytes after the first as a number of two bits. */
    const v16 ones = v_narrow_masks(v_xor(v_xor(low2, low3), low4), v_xor(v_xor(high2, high3), high4));
    const v16 twos = v_narrow_masks(low3, high3);
    return shuffle_pack(
        shuffle_four_bytes(low, low2, low3, low4), shuffle_four_bytes(high, high2, high3, high4),
        v_lanes16(ones, twos), wsfast_pack_four);
}

WSFAST_OP void shuffle_from_ucs1(const uint8_t *units, size_t n_units, uint8_t *text, size_t size)
{
    uint8_t *to = text, *const end = text + size;
    size_t pos = 0;
    if (n_units < 4) {
        for (; pos < n_units; pos++)
            to = wsfast_write_character(units[pos], to);
        return;
    }
    if (n_units < 8) {
        shuffle_put(text, shuffle_encode8(shuffle_few8(units, n_units)), size);
        return;
    }
    while (n_units - pos >= 16 && end - to >= 32) {
        const v16 both = v_load(units + pos);
        if (!v_lanes8(both)) {
            v_store(to, both);
            to += 16;
        } else {
            const shuffle_bytes first = shuffle_encode8(both), second = shuffle_encode8(v_high_half(both));
            v_store(to, first.low);
            v_store(to + first.n, second.low);
            to += first.n + second.n;
        }
        pos += 16;
    }
    for (; n_units - pos > 8; pos += 8) {
        const shuffle_bytes bytes = shuffle_encode8(v_load_half(units + pos));
        shuffle_put(to, bytes, bytes.n);
        to += bytes.n;
    }
    /* The last ones, with those before them again: their bytes end where the text ends. */
    const shuffle_bytes bytes = shuffle_encode8(v_load_half(units + n_units - 8));
    shuffle_put(end - bytes.n, bytes, bytes.n);
}

WSFAST_OP void shuffle_from_ucs2(const uint16_t *units, size_t n_units, uint8_t *text, size_t size)
{
    uint8_t *to = text, *const end = text + size;
    size_t pos = 0;
    if (n_units < 4) {
        for (; pos < n_units; pos++)
            to = wsfast_write_character(units[pos], to);
        return;
    }
    if (n_units < 8) {
        shuffle_put(text, shuffle_encode16(shuffle_few16(units, n_units)), size);
        return;
    }
    while (n_units - pos >= 8 && end - to >= 16 + 16) {
        const v16 unit = v_load(units + pos);
        if (!v_any(v_and(unit, v_all16(0xFF80)))) {
            v_store_half(to, v_narrow(unit, unit));
            to += 8;
        } else {
            const shuffle_bytes bytes = shuffle_encode16(unit);
            v_store(to, bytes.low);
            v_store(to + bytes.n_low, bytes.high);
            to += bytes.n;
        }
        pos += 8;
    }
    for (; n_units - pos > 8; pos += 8) {
        const shuffle_bytes bytes = shuffle_encode16(v_load(units + pos));
        shuffle_put(to, bytes, bytes.n);
        to += bytes.n;
    }
    const shuffle_bytes bytes = shuffle_encode16(v_load(units + n_units - 8));
    shuffle_put(end - bytes.n, bytes, bytes.n);
}

WSFAST_OP void shuffle_from_ucs4(const uint32_t *units, size_t n_units, uint8_t *text, size_t size)
{
    uint8_t *to = text, *const end = text + size;
    size_t pos = 0;
    if (n_units < 4) {
        for (; pos < n_units; pos++)
            to = wsfast_write_character(units[pos], to);
        return;
    }
    if (n_units < 8) {
        shuffle_put(text, shuffle_encode32(v_load(units), shuffle_few32(units, n_units)), size);
        return;
    }
    while (n_units - pos >= 8 && end - to >= 16 + 16) {
        const shuffle_bytes bytes = shuffle_encode32(v_load(units + pos), v_load(units + pos + 4));
        v_store(to, bytes.low);
        v_store(to + bytes.n_low, bytes.high);
        to += bytes.n;
        pos += 8;
    }
    for (; n_units - pos > 8; pos += 8) {
        const shuffle_bytes bytes = shuffle_encode32(v_load(units + pos), v_load(units + pos + 4));
        shuffle_put(to, bytes, bytes.n);
        to += bytes.n;
    }
    const shuffle_bytes bytes = shuffle_encode32(v_load(units + n_units - 8), v_load(units + n_units - 4));
    shuffle_put(end - bytes.n, bytes, bytes.n);
}

#endif
