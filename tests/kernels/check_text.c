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

/* A text, what it is, and its units, in each width; those that do not fit into one are cut off there. */
static struct {
    uint8_t text[ROOM];
    size_t size, n_units;
    int valid;
    uint8_t max_byte;
    uint8_t units1[ROOM];
    uint16_t units2[ROOM];
    uint32_t units4[ROOM];
} sample;

static void add_unit(uint32_t unit)
{
    sample.units1[sample.n_units] = (uint8_t)unit;
    sample.units2[sample.n_units] = (uint16_t)unit;
    sample.units4[sample.n_units++] = unit;
}

/* The units of `width` bytes. */
static const void *sample_units(size_t width)
{
    return width == 1 ? (const void *)sample.units1 : width == 2 ? (const void *)sample.units2 : sample.units4;
}

/* The width of a str that the sample makes. */
static size_t sample_width(void)
{
    const size_t width = (size_t)kind_of(sample.max_byte);
    return width ? width : 1;
}

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
        add_unit(unit);
        pos += n_bytes;
    }
}

/* --- to units --- */

/* Unmasked and measured in one pass, with the payload at `payload`. */
static void check_one_pass_at(const wsfast_text_kernels *kernels, uint8_t *payload)
{
    static uint8_t text[WSFAST_PART_LEAD + sizeof sample.text + 128];
    const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    const size_t size = sample.size;
    wsfast_measure measure = {9, 9};
    if (size == 0)
        return;
    for (size_t i = 0; i < size; i++)
        payload[i] = sample.text[i] ^ key[i & 3];
    memset(text, 0xAA, WSFAST_PART_LEAD + size + 128);
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

static size_t to_units(
    const wsfast_text_kernels *kernels, size_t width, const uint8_t *data, uint8_t *units, size_t room)
{
    return width == 1 ? kernels->to_ucs1(data, sample.size, units, room)
           : width == 2 ? kernels->to_ucs2(data, sample.size, (uint16_t *)(void *)units, room)
                        : kernels->to_ucs4(data, sample.size, (uint32_t *)(void *)units, room);
}

/* Less room than the text has units: no more than that is written, right at the guard. */
static void check_small_rooms_at(const wsfast_text_kernels *kernels, const uint8_t *data)
{
    for (size_t width = sample_width(); width <= 4; width *= 2) {
        const size_t rooms[] = {0, 1, sample.n_units / 2, sample.n_units - (sample.n_units > 0)};
        for (size_t i = 0; i < sizeof rooms / sizeof *rooms && (width < 4 || kernels->to_ucs4 != NULL); i++) {
            uint8_t *const units = destination + ROOM - rooms[i] * width;
            const size_t n = to_units(kernels, width, data, units, rooms[i]);
            CHECK(n <= rooms[i], "%s to_ucs%zu, length %zu, room %zu: %zu", kernels->name, width, sample.size,
                  rooms[i], n);
        }
    }
}

/* With the text at `data` and its padding around it; each kind that can hold it, right at the guard and with room. */
static void check_to_units_at(const wsfast_text_kernels *kernels, uint8_t *data)
{
    const size_t size = sample.size, n_units = sample.n_units;
    wsfast_measure measure = {7, 0};
    check_one_pass_at(kernels, destination + ROOM - size);
    check_one_pass_at(kernels, destination + ((uintptr_t)data & 63));
    memset(data - WSFAST_PART_LEAD, size & 1 ? 'x' : 0, WSFAST_PART_LEAD);
    memcpy(data, sample.text, size);
    memset(data + size, 0, WSFAST_TEXT_PADDING);
    CHECK(kernels->measure(data, size, &measure) == sample.valid, "%s, length %zu", kernels->name, size);
    if (!sample.valid)
        return;
    CHECK(measure.n_chars == n_units + 7, "%s, length %zu: %zu", kernels->name, size, measure.n_chars);
    CHECK(kind_of(measure.max_byte) == kind_of(sample.max_byte), "%s, length %zu", kernels->name, size);
    for (size_t more = 0; more <= 80; more += 80) {
        for (size_t width = sample_width(); width <= 4; width *= 2) {
            uint8_t *const units = destination + ROOM - (n_units + more) * width;
            const size_t room = n_units + more;
            if (width == 4 && kernels->to_ucs4 == NULL)
                continue;
            const size_t n = to_units(kernels, width, data, units, room);
            CHECK(n == n_units, "%s to_ucs%zu, length %zu: %zu", kernels->name, width, size, n);
            CHECK(
                memcmp(units, sample_units(width), n_units * width) == 0, "%s to_ucs%zu, length %zu", kernels->name,
                width, size);
        }
    }
    check_small_rooms_at(kernels, data);
}

/* The sample, valid or not, right after the first guard page or right before the second. */
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
    CHECK(
        memcmp(text, sample.text, size) == 0, "%s from_ucs%zu, %zu units", kernels->name, width, sample.n_units);
}

/* The valid sample in every width that holds it: at the guards; then at every alignment, among neighbours. */
static void check_from_units(const wsfast_text_kernels *kernels, size_t n_alignments)
{
    uint8_t neighbours[64];
    memset(neighbours, 0x5A, sizeof neighbours);
    for (size_t width = sample_width(); width <= 4; width *= 2) {
        const size_t units_size = width * sample.n_units;
        uint8_t *const last_units = source + ROOM - units_size;
        uint8_t *const last_text = destination + ROOM - sample.size;
        memcpy(last_units, sample_units(width), units_size);
        check_from_units_at(kernels, width, last_units, last_text);
        check_from_units_at(kernels, width, last_units, destination);
        if (n_alignments == 0)
            continue;
        memcpy(source, sample_units(width), units_size);
        check_from_units_at(kernels, width, source, last_text);
        for (size_t alignment = 0; alignment < n_alignments; alignment++) {
            uint8_t *const text = destination + 64 + alignment;
            uint8_t *const units = source + alignment / width * width;
            memcpy(units, sample_units(width), units_size);
            memset(text - 64, 0x5A, 64);
            memset(text + sample.size, 0x5A, 64);
            check_from_units_at(kernels, width, units, text);
            CHECK(
                memcmp(text - 64, neighbours, 64) == 0 && memcmp(text + sample.size, neighbours, 64) == 0,
                "%s from_ucs%zu, %zu units: a neighbour", kernels->name, width, sample.n_units);
        }
    }
}

/* A surrogate at each place, and its neighbours, which are none (RFC 3629 3). */
static void check_surrogates(const wsfast_text_kernels *kernels)
{
    static const uint16_t surrogates[] = {0xD800, 0xDBFF, 0xDC00, 0xDFFF};
    static const uint16_t others[] = {0xD7FF, 0xE000, 0x58, 0xD8, 0x7D8};
    for (size_t n_units = 1; n_units <= 100; n_units++) {
        uint16_t *const units2 = (uint16_t *)(void *)(source + ROOM) - n_units;
        uint32_t *const units4 = (uint32_t *)(void *)(destination + ROOM) - n_units;
        size_t size = 0;
        for (size_t i = 0; i < n_units; i++) {
            const uint16_t unit = others[random_byte() % 5];
            units4[i] = units2[i] = unit;
            size += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
        }
        CHECK(kernels->ucs2_size(units2, n_units) == size, "%s, %zu units", kernels->name, n_units);
        CHECK(kernels->ucs4_size(units4, n_units) == size, "%s, %zu units", kernels->name, n_units);
        for (size_t pos = 0; pos < n_units; pos++) {
            const uint16_t right = units2[pos];
            units4[pos] = units2[pos] = surrogates[random_byte() % 4];
            const size_t size2 = kernels->ucs2_size(units2, n_units), size4 = kernels->ucs4_size(units4, n_units);
            CHECK(size2 == WSFAST_SURROGATE, "%s, %zu of %zu", kernels->name, pos, n_units);
            CHECK(size4 == WSFAST_SURROGATE, "%s, %zu of %zu", kernels->name, pos, n_units);
            units4[pos] = units2[pos] = right;
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
                for (size_t alignment = 0; alignment < N_ALIGNMENTS; alignment++)
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
        /* Long ones. */
        for (unsigned round = 0; round < 20; round++) {
            make_sample(kind, WSFAST_PART_SIZE - 4 - random_byte(), round & 15);
            check_to_units(kernels);
            check_from_units(kernels, 0);
        }
    }
    /* One character all over, whose bytes stand in the same lanes all over. */
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++) {
        for (sample.size = 0; sample.size < WSFAST_PART_SIZE - 4; sample.size += strlen(characters[i]))
            memcpy(sample.text + sample.size, characters[i], strlen(characters[i]));
        check_to_units(kernels);
        check_from_units(kernels, 0);
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
