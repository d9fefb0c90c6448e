/* Check the text kernels of one level against plain loops: from UTF-8 to the units of a str, and back.
 *
 * To units: the text and its padding begin, or end, at a page that may not be touched; the units end at one. From
 * units: units and bytes begin or end there, and between those at every alignment, with neighbours that stay.
 */
#include "check.h"

#include "parts.h"

static const char *const characters[] = {
    "a", "\xC2\x80", "\xC3\xBF", "\xC4\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xEC\x95\x88", "\xED\x9F\xBF",
    "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"};
/* How many of them a kind of str can hold: ASCII, Latin-1, UCS-2, UCS-4. */
static const size_t kinds[] = {1, 3, 10, 13};

/* A text, what it is, and its units one at a time. */
static struct {
    uint8_t text[ROOM];
    size_t size, n_units;
    int valid;
    uint8_t max_byte;
    uint32_t units[ROOM];
} sample;

static void decode_sample(void)
{
    sample.valid = plainly_valid(sample.text, sample.size);
    sample.n_units = 0;
    sample.max_byte = 0;
    for (size_t pos = 0; pos < sample.size && sample.valid;) {
        const uint8_t *const data = sample.text + pos;
        const size_t n_bytes = character(data, sample.size - pos);
        uint32_t unit = n_bytes == 1 ? data[0] : data[0] & (0x7Fu >> n_bytes);
        for (size_t n = 1; n < n_bytes; n++)
            unit = unit << 6 | (data[n] & 0x3Fu);
        if (data[0] > sample.max_byte)
            sample.max_byte = data[0];
        sample.units[sample.n_units++] = unit;
        pos += n_bytes;
    }
}

/* --- to units --- */

/* Unmasked and measured in one pass, with the payload at `payload`. */
static void check_one_pass_at(const wsfast_text_kernels *kernels, uint8_t *payload)
{
    static uint8_t text[WSFAST_PART_LEAD + sizeof sample.text + 64];
    const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    const size_t size = sample.size;
    wsfast_measure measure = {9, 9};
    if (kernels->unmask_and_measure == NULL || size == 0)
        return;
    for (size_t i = 0; i < size; i++)
        payload[i] = sample.text[i] ^ key[i & 3];
    memset(text, 0xAA, sizeof text);
    const int valid =
        kernels->unmask_and_measure(text + WSFAST_PART_LEAD, payload, size, wsfast_load32(key), &measure);
    CHECK(valid == sample.valid, "%s, one pass, length %zu", kernels->name, size);
    if (!valid)
        return;
    CHECK(memcmp(text + WSFAST_PART_LEAD, sample.text, size) == 0, "%s, one pass, length %zu", kernels->name, size);
    for (size_t i = size; i < (size + 63) / 64 * 64 + 64; i++) {
        const uint8_t expected = i < (size + 63) / 64 * 64 ? 0 : 0xAA;
        CHECK(text[WSFAST_PART_LEAD + i] == expected, "%s, one pass, length %zu, behind it", kernels->name, size);
    }
    CHECK(measure.n_chars == sample.n_units, "%s, one pass, length %zu", kernels->name, size);
    CHECK(kind_of(measure.max_byte) == kind_of(sample.max_byte), "%s, one pass, length %zu", kernels->name, size);
}

/* With the text at `data`, which has zeroes around it; each kind that can hold it, right at the guard and with room. */
static void check_to_units_at(const wsfast_text_kernels *kernels, uint8_t *data)
{
    const size_t size = sample.size, n_units = sample.n_units;
    const uint32_t *const expected = sample.units;
    wsfast_measure measure = {7, 0};
    check_one_pass_at(kernels, destination + ROOM - size);
    check_one_pass_at(kernels, destination + ((uintptr_t)data & 63));
    memset(data - WSFAST_PART_LEAD, 0, WSFAST_PART_LEAD);
    memcpy(data, sample.text, size);
    memset(data + size, 0, WSFAST_TEXT_PADDING);
    CHECK(kernels->measure(data, size, &measure) == sample.valid, "%s, length %zu", kernels->name, size);
    if (!sample.valid)
        return;
    CHECK(measure.n_chars == n_units + 7, "%s, length %zu: %zu", kernels->name, size, measure.n_chars);
    CHECK(kind_of(measure.max_byte) == kind_of(sample.max_byte), "%s, length %zu", kernels->name, size);
    for (size_t more = 0; more <= 80; more += 80) {
        if (sample.max_byte <= 0xC3) {
            uint8_t *const units = destination + ROOM - n_units - more;
            CHECK(kernels->to_ucs1(data, size, units, n_units + more) == n_units, "%s", kernels->name);
            for (size_t i = 0; i < n_units; i++)
                CHECK(units[i] == expected[i], "%s to_ucs1, length %zu, at %zu", kernels->name, size, i);
        }
        if (sample.max_byte < 0xF0) {
            uint16_t *const units = (uint16_t *)(void *)(destination + ROOM) - n_units - more;
            CHECK(kernels->to_ucs2(data, size, units, n_units + more) == n_units, "%s", kernels->name);
            for (size_t i = 0; i < n_units; i++)
                CHECK(units[i] == expected[i], "%s to_ucs2, length %zu, at %zu", kernels->name, size, i);
        }
        if (kernels->to_ucs4 != NULL) {
            uint32_t *const units = (uint32_t *)(void *)(destination + ROOM) - n_units - more;
            CHECK(kernels->to_ucs4(data, size, units, n_units + more) == n_units, "%s", kernels->name);
            for (size_t i = 0; i < n_units; i++)
                CHECK(units[i] == expected[i], "%s to_ucs4, length %zu, at %zu", kernels->name, size, i);
        }
    }
}

/* The sample, valid or not, right behind the first guard page or right before the second. */
static void check_to_units(const wsfast_text_kernels *kernels)
{
    static int behind;
    decode_sample();
    behind = !behind;
    check_to_units_at(
        kernels, behind ? source + ROOM - WSFAST_TEXT_PADDING - sample.size : source + WSFAST_PART_LEAD);
}

/* --- from units --- */

static size_t size_of(const wsfast_text_kernels *kernels, size_t width, const void *units, size_t n_units)
{
    return width == 1 ? kernels->ucs1_size(units, n_units) : width == 2 ? kernels->ucs2_size(units, n_units)
                                                                        : kernels->ucs4_size(units, n_units);
}

/* The units of the sample, of `width` bytes, to their place. */
static void put_units(size_t width, uint8_t *to)
{
    for (size_t i = 0; i < sample.n_units; i++) {
        if (width == 1)
            to[i] = (uint8_t)sample.units[i];
        else if (width == 2)
            ((uint16_t *)(void *)to)[i] = (uint16_t)sample.units[i];
        else
            ((uint32_t *)(void *)to)[i] = sample.units[i];
    }
}

static void check_from_units_at(const wsfast_text_kernels *kernels, size_t width, const void *units, uint8_t *text)
{
    const size_t size = size_of(kernels, width, units, sample.n_units);
    CHECK(size == sample.size, "%s ucs%zu_size, %zu units: %zu", kernels->name, width, sample.n_units, size);
    memset(text, 0xA5, size);
    if (width == 1)
        kernels->from_ucs1(units, sample.n_units, text, size);
    else if (width == 2)
        kernels->from_ucs2(units, sample.n_units, text, size);
    else
        kernels->from_ucs4(units, sample.n_units, text, size);
    for (size_t i = 0; i < size; i++)
        CHECK(text[i] == sample.text[i], "%s from_ucs%zu, %zu units, at %zu", kernels->name, width, sample.n_units, i);
}

/* The valid sample in every width that holds it: at the guards; then at every alignment, among neighbours. */
static void check_from_units(const wsfast_text_kernels *kernels, size_t n_alignments)
{
    for (size_t width = 1; width <= 4; width *= 2) {
        if (width < (sample.max_byte > 0xEF ? 4u : sample.max_byte > 0xC3 ? 2u : 1u))
            continue;
        uint8_t *const last_units = source + ROOM - width * sample.n_units;
        uint8_t *const last_text = destination + ROOM - sample.size;
        put_units(width, last_units);
        check_from_units_at(kernels, width, last_units, last_text);
        check_from_units_at(kernels, width, last_units, destination);
        if (n_alignments == 0)
            continue;
        put_units(width, source);
        check_from_units_at(kernels, width, source, last_text);
        for (size_t alignment = 0; alignment < n_alignments; alignment++) {
            uint8_t *const text = destination + 64 + alignment;
            uint8_t *const units = source + alignment / width * width;
            put_units(width, units);
            memset(text - 64, 0x5A, 64);
            memset(text + sample.size, 0x5A, 64);
            check_from_units_at(kernels, width, units, text);
            for (size_t i = 1; i <= 64; i++)
                CHECK(
                    text[-(ptrdiff_t)i] == 0x5A && text[sample.size + i - 1] == 0x5A, "%s from_ucs%zu: a neighbour, %zu",
                    kernels->name, width, i);
        }
    }
}

/* A surrogate at each place, and its neighbours, which are none (RFC 3629 3). */
static void check_surrogates(const wsfast_text_kernels *kernels)
{
    static const uint32_t surrogates[] = {0xD800, 0xDBFF, 0xDC00, 0xDFFF}, others[] = {0xD7FF, 0xE000, 0x58, 0xD8, 0x7D8};
    for (size_t width = 2; width <= 4; width *= 2) {
        for (sample.n_units = 1; sample.n_units <= 100; sample.n_units++) {
            uint8_t *const units = source + ROOM - width * sample.n_units;
            size_t size = 0;
            for (size_t i = 0; i < sample.n_units; i++) {
                sample.units[i] = others[random_byte() % 5];
                size += sample.units[i] < 0x80 ? 1 : sample.units[i] < 0x800 ? 2 : 3;
            }
            put_units(width, units);
            CHECK(size_of(kernels, width, units, sample.n_units) == size, "%s, width %zu", kernels->name, width);
            for (size_t pos = 0; pos < sample.n_units; pos++) {
                const uint32_t right = sample.units[pos];
                sample.units[pos] = surrogates[random_byte() % 4];
                put_units(width, units);
                CHECK(
                    size_of(kernels, width, units, sample.n_units) == WSFAST_SURROGATE, "%s, width %zu: at %zu of %zu",
                    kernels->name, width, pos, sample.n_units);
                sample.units[pos] = right;
            }
        }
    }
}

/* So many units that counts which are kept in a lane would overflow, if they were not added up in time. */
static void check_large_sizes(const wsfast_text_kernels *kernels)
{
    const size_t n_units = 600001;
    for (size_t width = 1; width <= 4; width *= 2) {
        uint8_t *const units = malloc(n_units * width);
        CHECK(units != NULL, "no memory");
        memset(units, width == 4 ? 0 : 0xF0, n_units * width);
        for (size_t i = 0; width == 4 && i < n_units; i++)
            ((uint32_t *)(void *)units)[i] = 0x10FFFF;
        CHECK(
            size_of(kernels, width, units, n_units) == n_units * (width == 1 ? 2 : width == 2 ? 3 : 4), "%s, width %zu",
            kernels->name, width);
        free(units);
    }
}

/* --- all of it --- */

/* Characters that a kind can hold, until there are `size` bytes; `ascii` of 16 are made ASCII. */
static void make_sample(size_t kind, size_t size, unsigned ascii)
{
    sample.size = 0;
    while (sample.size < size) {
        const char *one = characters[random_byte() % kinds[kind]];
        if (random_byte() % 16u < ascii)
            one = "x";
        memcpy(sample.text + sample.size, one, strlen(one));
        sample.size += strlen(one);
    }
    decode_sample();
}

void check_text(const wsfast_text_kernels *kernels)
{
    static const uint8_t wrong[] = {
        0x00, 0x7F, 0x80, 0x90, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF};
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t size = 0; size <= MAX_LENGTH; size++) {
            for (unsigned ascii = 0; ascii <= 14; ascii += 7) {
                make_sample(kind, size, ascii);
                for (size_t alignment = 0; alignment < N_ALIGNMENTS; alignment += 1 + (size > 100) * 8)
                    check_to_units_at(kernels, source + WSFAST_PART_LEAD + alignment);
                check_from_units(kernels, N_ALIGNMENTS);
                /* Cut off, and with a wrong byte, mostly where it hurts: at the end. */
                const size_t whole = sample.size;
                for (size_t n = 1; n <= 3 && n < whole; n++) {
                    sample.size = whole - n;
                    check_to_units(kernels);
                }
                sample.size = whole;
                for (size_t n = 0; n < sizeof wrong && whole; n++) {
                    const size_t pos = n & 1 ? random_byte() % whole : whole - 1 - (n % 4 < whole ? n % 4 : 0);
                    const uint8_t right = sample.text[pos];
                    sample.text[pos] = wrong[n];
                    check_to_units(kernels);
                    sample.text[pos] = right;
                }
            }
        }
        /* The longest parts there are. */
        for (unsigned round = 0; round < 20; round++) {
            make_sample(kind, WSFAST_PART_SIZE - 4 - random_byte(), round & 15);
            check_to_units(kernels);
            check_from_units(kernels, 0);
        }
    }
    /* Every byte at every position of a text that has all lengths, at every place in a vector. */
    for (size_t start = 0; start < 70; start++) {
        memset(sample.text, 'x', start);
        sample.size = start;
        for (size_t i = 0; i < sizeof characters / sizeof *characters; i++) {
            memcpy(sample.text + sample.size, characters[i], strlen(characters[i]));
            sample.size += strlen(characters[i]);
        }
        for (size_t pos = start; pos < sample.size; pos++) {
            const uint8_t right = sample.text[pos];
            for (unsigned byte = 0; byte < 256; byte++) {
                sample.text[pos] = (uint8_t)byte;
                check_to_units(kernels);
            }
            sample.text[pos] = right;
        }
    }
    check_surrogates(kernels);
    check_large_sizes(kernels);
}
