/* The text kernels of every level that this CPU has, and masking, against the plain loops of plain.h (RFC 6455 5.3, 8.1).
 *
 * Input: one byte chooses the check, five more are a masking key and a cut; the rest is the text, or the units of a str.
 * All memory has exactly the size that the contracts ask for, so that the sanitizer sees each byte outside of it.
 */
#include "plain.h"

#include "mask.h"
#include "parts.h"
#include "text.h"
#include "utf8.h"

static const char *const names[] = {"avx512", "avx2", "sse4", "neon"};

/* Every level once. */
static size_t find_levels(const wsfast_text_kernels **levels)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const wsfast_text_kernels *const kernels = wsfast_choose_text_kernels(names[i]);
        if (kernels != NULL && (n == 0 || levels[n - 1] != kernels))
            levels[n++] = kernels;
    }
    return n;
}

static unsigned kind_of(uint8_t max_byte)
{
    return max_byte < 0x80 ? 0 : max_byte <= 0xC3 ? 1 : max_byte < 0xF0 ? 2 : 4;
}

static void plain_mask(uint8_t *to, const uint8_t *from, size_t size, const uint8_t *key)
{
    for (size_t i = 0; i < size; i++)
        to[i] = from[i] ^ key[i & 3];
}

/* The text as units of `width` bytes, in memory of exactly their size. */
static void check_units(const void *got, const uint32_t *units, size_t n_units, size_t width)
{
    for (size_t i = 0; i < n_units; i++) {
        const uint32_t unit = width == 1   ? ((const uint8_t *)got)[i]
                              : width == 2 ? ((const uint16_t *)got)[i]
                                           : ((const uint32_t *)got)[i];
        CHECK(unit == units[i]);
    }
}

static void check_to_units(
    const wsfast_text_kernels *kernels, const uint8_t *text, const uint32_t *units, size_t n_units, unsigned kind)
{
    /* `text` is followed by its padding; its size is that of the units. */
    size_t size = 0;
    uint8_t bytes[4];
    for (size_t i = 0; i < n_units; i++)
        size += plain_encode(units[i], bytes);
    for (unsigned width = kind ? kind : 1; width <= 4; width *= 2) {
        uint8_t *const room = exactly(n_units * width);
        if (width == 1)
            CHECK(kernels->to_ucs1(text, size, room, n_units) == n_units);
        else if (width == 2)
            CHECK(kernels->to_ucs2(text, size, (uint16_t *)(void *)room, n_units) == n_units);
        else if (kernels->to_ucs4 != NULL)
            CHECK(kernels->to_ucs4(text, size, (uint32_t *)(void *)room, n_units) == n_units);
        if (width < 4 || kernels->to_ucs4 != NULL)
            check_units(room, units, n_units, width);
        free(room);
    }
}

/* Any bytes as a text: judged, measured, and made into units. */
static void check_text(const wsfast_text_kernels *kernels, const uint8_t *data, size_t size, const uint8_t *key)
{
    uint32_t *const units = (uint32_t *)(void *)exactly(size * sizeof *units);
    size_t n_units, n_due;
    const int valid = plain_decode(data, size, units, &n_units, &n_due) == size && n_due == 0;
    uint8_t max_byte = 0;
    for (size_t i = 0; i < size; i++)
        max_byte = data[i] > max_byte ? data[i] : max_byte;

    uint8_t *const padded = exactly(WSFAST_PART_LEAD + size + WSFAST_TEXT_PADDING);
    memset(padded, 0, WSFAST_PART_LEAD + size + WSFAST_TEXT_PADDING);
    uint8_t *const text = padded + WSFAST_PART_LEAD;
    if (size)
        memcpy(text, data, size);
    wsfast_measure measure = {0, 0};
    CHECK(kernels->measure(text, size, &measure) == valid);
    if (valid) {
        CHECK(measure.n_chars == n_units);
        CHECK(kind_of(measure.max_byte) == kind_of(max_byte));
        check_to_units(kernels, text, units, n_units, kind_of(max_byte));
    }
    if (size) {
        uint8_t *const payload = exactly(size);
        const size_t room = (size + 63) / 64 * 64;
        plain_mask(payload, data, size, key);
        memset(text - WSFAST_PART_LEAD, 0, WSFAST_PART_LEAD);
        uint8_t *const unmasked = exactly(WSFAST_PART_LEAD + room);
        memset(unmasked, 0xAA, WSFAST_PART_LEAD + room);
        measure.n_chars = 9;
        CHECK(
            kernels->unmask_and_measure(
                unmasked + WSFAST_PART_LEAD, payload, size, wsfast_load32(key), &measure) == valid);
        if (valid) {
            CHECK(memcmp(unmasked + WSFAST_PART_LEAD, data, size) == 0);
            for (size_t i = size; i < room; i++)
                CHECK(unmasked[WSFAST_PART_LEAD + i] == 0);
            CHECK(measure.n_chars == n_units);
            CHECK(kind_of(measure.max_byte) == kind_of(max_byte));
        }
        free(unmasked);
        free(payload);
    }
    free(padded);
    free(units);
}

/* Any units as a str: their size, and their bytes. */
static void check_from_units(const wsfast_text_kernels *kernels, const uint8_t *data, size_t size, size_t width)
{
    const size_t n_units = size / width;
    uint8_t *const memory = exactly(n_units * width);
    uint8_t *const expected = exactly(n_units * 4);
    size_t expected_size = 0;
    int surrogate = 0;
    for (size_t i = 0; i < n_units; i++) {
        uint32_t unit = 0;
        for (size_t byte = 0; byte < width; byte++)
            unit |= (uint32_t)data[i * width + byte] << 8 * byte;
        if (width == 4)
            unit %= 0x110000;
        const size_t n_bytes = plain_encode(unit, expected + expected_size);
        surrogate |= n_bytes == 0;
        expected_size += n_bytes;
        if (width == 1)
            memory[i] = (uint8_t)unit;
        else if (width == 2)
            ((uint16_t *)(void *)memory)[i] = (uint16_t)unit;
        else
            ((uint32_t *)(void *)memory)[i] = unit;
    }
    const uint16_t *const units2 = (const uint16_t *)(const void *)memory;
    const uint32_t *const units4 = (const uint32_t *)(const void *)memory;
    const size_t got = width == 1   ? kernels->ucs1_size(memory, n_units)
                       : width == 2 ? kernels->ucs2_size(units2, n_units)
                                    : kernels->ucs4_size(units4, n_units);
    CHECK(got == (surrogate ? WSFAST_SURROGATE : expected_size));
    if (!surrogate) {
        uint8_t *const text = exactly(got);
        if (width == 1)
            kernels->from_ucs1(memory, n_units, text, got);
        else if (width == 2)
            kernels->from_ucs2(units2, n_units, text, got);
        else
            kernels->from_ucs4(units4, n_units, text, got);
        CHECK(memcmp(text, expected, got) == 0);
        free(text);
    }
    free(expected);
    free(memory);
}

/* UTF-8 in two pieces, by the kernels or, for NULL, without: it fails in the piece with the first impossible byte. */
static void check_pieces(const wsfast_text_kernels *kernels, const uint8_t *data, size_t size, size_t cut)
{
    uint32_t *const units = (uint32_t *)(void *)exactly(size * sizeof *units);
    size_t n_units, n_due, n_chars = 0;
    const size_t error = plain_decode(data, size, units, &n_units, &n_due);
    uint8_t *const whole = copy_of(data, size), *const first = copy_of(data, cut);
    uint8_t *const second = copy_of(data + cut, size - cut);
    wsfast_utf8 state = {0, 0, 0};
    wsfast_measure measure = {0, 0};
    CHECK(wsfast_utf8_valid_by(kernels, whole, size) == (error == size && n_due == 0));
    const int first_good = wsfast_utf8_feed_by(kernels, &state, first, cut, &measure);
    CHECK(first_good == (error >= cut));
    if (first_good) {
        CHECK(wsfast_utf8_feed_by(kernels, &state, second, size - cut, &measure) == (error == size));
        if (error == size)
            CHECK(state.n_due == n_due);
    }
    for (size_t i = 0; i < size; i++)
        n_chars += (data[i] & 0xC0) != 0x80;
    if (kernels != NULL && error == size)
        CHECK(measure.n_chars == n_chars);
    int ascii = 1;
    for (size_t i = 0; i < cut; i++)
        ascii &= data[i] < 0x80;
    CHECK(wsfast_is_ascii(first, cut) == ascii);
    free(second);
    free(first);
    free(whole);
    free(units);
}

/* Masking: whole, in place, in two pieces, and with the question whether it is ASCII. */
static void check_mask(const uint8_t *data, size_t size, size_t cut, const uint8_t *key)
{
    const uint32_t word = wsfast_load32(key);
    uint8_t *const expected = exactly(size), *const source = copy_of(data, size);
    uint8_t *const masked = exactly(size);
    plain_mask(expected, data, size, key);
    int ascii = 1;
    for (size_t i = 0; i < size; i++)
        ascii &= expected[i] < 0x80;
    CHECK(wsfast_mask(masked, source, size, word) == wsfast_rotate_key(word, size));
    CHECK(memcmp(masked, expected, size) == 0);
    memset(masked, 0, size);
    CHECK(wsfast_mask_to_ascii(masked, source, size, word) == ascii);
    CHECK(memcmp(masked, expected, size) == 0);
    const uint32_t next = wsfast_mask(source, source, cut, word);
    wsfast_mask(source + cut, source + cut, size - cut, next);
    CHECK(memcmp(source, expected, size) == 0);
    free(masked);
    free(source);
    free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const wsfast_text_kernels *levels[sizeof names / sizeof *names];
    static size_t n_levels;
    if (n_levels == 0)
        n_levels = find_levels(levels);
    if (size < 6)
        return 0;
    const uint8_t kind = data[0] % 8, *const key = data + 1;
    const size_t rest = size - 6, cut = rest ? data[5] * rest / 255 : 0;
    data += 6;
    if (kind == 6)
        check_pieces(NULL, data, rest, cut);
    else if (kind == 7)
        check_mask(data, rest, cut, key);
    for (size_t i = 0; i < n_levels; i++) {
        if (kind < 3)
            check_text(levels[i], data, rest, key);
        else if (kind == 6)
            check_pieces(levels[i], data, rest, cut);
        else if (kind < 6)
            check_from_units(levels[i], data, rest, (size_t)1 << (kind - 3));
    }
    return 0;
}
