/* Check every kernel against the plainest loop there is, at every length and alignment that matters.
 *
 * The bytes under test end, or start, right at a page that may not be touched, so that reading or writing one byte
 * too many is a crash. Prints the kernels that it checked; exits with 1 at the first difference.
 */
#include "check.h"

#include <sys/mman.h>
#include <unistd.h>

#include "frame_header.h"
#include "mask.h"
#include "parts.h"
#include "text.h"
#include "utf8.h"

uint64_t random_state = 1;
uint8_t *source, *destination;

/* ROOM bytes with a guard page before and after. */
static uint8_t *guarded(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (ROOM + page - 1) / page * page;
    uint8_t *start = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + page, room, PROT_READ | PROT_WRITE) != 0) {
        perror("mmap");
        exit(2);
    }
    return start + page + room - ROOM;
}

static void check_mask_at(uint8_t *to, uint8_t *from, size_t size, const char *how)
{
    static uint8_t expected[ROOM];
    uint8_t key[4], next[4];
    for (size_t i = 0; i < 4; i++)
        key[i] = random_byte();
    for (size_t i = 0; i < size; i++) {
        from[i] = random_byte();
        expected[i] = from[i] ^ key[i & 3];
    }
    wsfast_store32(next, wsfast_mask(to, from, size, wsfast_load32(key)));
    CHECK(memcmp(to, expected, size) == 0, "%s, length %zu", how, size);
    for (size_t i = 0; i < 4; i++)
        CHECK(next[i] == key[(size + i) & 3], "%s, length %zu: the key for the bytes that follow", how, size);
}

static void check_mask(void)
{
    static const size_t long_lengths[] = {511, 512, 513, 527, 640, 1000, 4096, 4099, 16384, 65000};
    for (size_t size = 0; size <= MAX_LENGTH; size++) {
        check_mask_at(source, source, size, "in place, at the guard before");
        check_mask_at(source + ROOM - size, source + ROOM - size, size, "in place, at the guard after");
        for (size_t alignment = 0; alignment < N_ALIGNMENTS; alignment++) {
            check_mask_at(source + alignment, source + alignment, size, "in place");
            check_mask_at(destination + alignment, source + ROOM - size, size, "to another place");
            check_mask_at(destination + ROOM - size, source + alignment, size, "from another place");
        }
    }
    for (size_t i = 0; i < sizeof long_lengths / sizeof *long_lengths; i++) {
        for (size_t alignment = 0; alignment < N_ALIGNMENTS; alignment++) {
            const size_t size = long_lengths[i];
            check_mask_at(source + alignment, source + alignment, size, "in place");
            check_mask_at(destination + alignment, source + ROOM - size, size, "to another place");
        }
    }
    /* Bytes next to the payload stay as they are. */
    for (size_t size = 0; size <= MAX_LENGTH; size++) {
        memset(destination, 0xA5, 512);
        check_mask_at(destination + 64, source, size, "with neighbours");
        for (size_t i = 0; i < 64; i++)
            CHECK(destination[i] == 0xA5 && destination[64 + size + i] == 0xA5, "length %zu", size);
    }
}

/* The question whether it is ASCII, asked in the same pass: every length, the odd byte at every place. */
static void check_mask_to_ascii(void)
{
    static const size_t long_lengths[] = {511, 512, 513, 600, 1027};
    const uint8_t key[4] = {0x91, 0x12, 0xF3, 0x74};
    for (size_t i = 0; i <= MAX_LENGTH + sizeof long_lengths / sizeof *long_lengths; i++) {
        const size_t size = i <= MAX_LENGTH ? i : long_lengths[i - MAX_LENGTH - 1];
        uint8_t *const from = source + ROOM - size, *const to = destination + ROOM - size;
        for (size_t pos = 0; pos < size; pos++)
            from[pos] = (uint8_t)((random_byte() & 0x7F) ^ key[pos & 3]);
        CHECK(wsfast_mask_to_ascii(to, from, size, wsfast_load32(key)), "ASCII of length %zu", size);
        for (size_t odd = 0; odd < size; odd++) {
            from[odd] ^= 0x80;
            CHECK(!wsfast_mask_to_ascii(to, from, size, wsfast_load32(key)), "length %zu, odd at %zu", size, odd);
            CHECK(to[odd] == (from[odd] ^ key[odd & 3]), "length %zu, odd at %zu", size, odd);
            from[odd] ^= 0x80;
        }
        for (size_t pos = 0; pos < size; pos++)
            CHECK((to[pos] & 0x7F) == ((from[pos] ^ key[pos & 3]) & 0x7F), "length %zu, at %zu", size, pos);
    }
}

/* Well-formed UTF-8 by Unicode's table 3-7, row by row. Returns the bytes of the character at `data`, 0 if none. */
size_t character(const uint8_t *data, size_t size)
{
    static const struct { uint8_t from, to, low, high; size_t n_bytes; } rows[] = {
        {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (data[0] < rows[i].from || data[0] > rows[i].to)
            continue;
        if (size < rows[i].n_bytes)
            return 0;
        if (rows[i].n_bytes > 1 && (data[1] < rows[i].low || data[1] > rows[i].high))
            return 0;
        for (size_t n = 2; n < rows[i].n_bytes; n++)
            if (data[n] < 0x80 || data[n] > 0xBF)
                return 0;
        return rows[i].n_bytes;
    }
    return 0;
}

int plainly_valid(const uint8_t *data, size_t size)
{
    for (size_t pos = 0; pos < size;) {
        const size_t n_bytes = character(data + pos, size - pos);
        if (n_bytes == 0)
            return 0;
        pos += n_bytes;
    }
    return 1;
}

static int valid_in_two(const uint8_t *data, size_t size, size_t cut)
{
    wsfast_utf8 state = {0, 0, 0};
    return wsfast_utf8_feed(&state, data, cut) && wsfast_utf8_feed(&state, data + cut, size - cut) && !state.n_due;
}

static void check_utf8_at_guard(const uint8_t *text, size_t size)
{
    uint8_t *data = source + ROOM - size;
    memcpy(data, text, size);
    const int valid = plainly_valid(text, size);
    for (size_t cut = 0; cut <= size; cut++)
        CHECK(valid_in_two(data, size, cut) == valid, "length %zu, cut at %zu", size, cut);
}

static void check_utf8(void)
{
    static const uint8_t edges[] = {
        0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0,
        0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF};
    const size_t n_edges = sizeof edges;
    uint8_t text[128];
    /* Every string of four edge bytes: alone, and after ASCII that is skipped by the word. */
    for (size_t i = 0; i < n_edges * n_edges * n_edges * n_edges; i++) {
        size_t rest = i;
        memset(text, 'x', 32);
        for (size_t n = 0; n < 4; n++, rest /= n_edges)
            text[29 + n] = edges[rest % n_edges];
        wsfast_utf8 state = {0, 0, 0};
        const int valid = wsfast_utf8_feed(&state, text, 33) && !state.n_due;
        CHECK(valid == plainly_valid(text, 33), "%02x %02x %02x %02x", text[29], text[30], text[31], text[32]);
        if (i % 97 == 0)
            check_utf8_at_guard(text + 20, 13);
    }
    /* Every byte at every position of valid text. */
    static const uint8_t korean[] = "a\xEC\x95\x88\xEB\x85\x95\xC3\xA9\xF0\x9F\x98\x80zz\xED\x9F\xBFxxxxxxxxxx\xC2\xA0";
    for (size_t pos = 0; pos < sizeof korean - 1; pos++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            memcpy(text, korean, sizeof korean - 1);
            text[pos] = (uint8_t)byte;
            check_utf8_at_guard(text, sizeof korean - 1);
        }
    }
}

static void check_ascii(void)
{
    for (size_t size = 0; size <= MAX_LENGTH; size++) {
        for (size_t alignment = 0; alignment < N_ALIGNMENTS; alignment += 7) {
            uint8_t *data = alignment ? source + alignment : source + ROOM - size;
            memset(data, 0x7F, size);
            CHECK(wsfast_is_ascii(data, size), "length %zu", size);
            for (size_t pos = 0; pos < size; pos++) {
                data[pos] = 0x80;
                CHECK(!wsfast_is_ascii(data, size), "length %zu, high bit at %zu", size, pos);
                data[pos] = 0x7F;
            }
        }
    }
}

static void check_header(void)
{
    static const uint64_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, UINT64_C(1) << 32, (UINT64_C(1) << 63) - 1};
    static const uint8_t key[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (int masked = 0; masked < 2; masked++) {
            uint8_t bytes[WSFAST_MAX_HEADER_SIZE];
            wsfast_rules rules = {
                .max_frame_size = UINT64_MAX, .max_message_size = UINT64_MAX, .max_fragments = UINT64_MAX,
                .masked = masked ? 0x80 : 0};
            wsfast_header header;
            const size_t size = wsfast_write_header(bytes, 0x82, lengths[i], masked ? key : NULL);
            CHECK(size == wsfast_header_size(lengths[i], masked), "%zu", size);
            memcpy(source + ROOM - size, bytes, size);
            for (size_t there = 0; there < size; there++) {
                memcpy(destination + ROOM - there, bytes, there);
                CHECK(
                    wsfast_read_header(&rules, destination + ROOM - there, there, &header) == WSFAST_INCOMPLETE,
                    "%zu of %zu bytes", there, size);
            }
            CHECK(
                wsfast_read_header(&rules, source + ROOM - size, size, &header) == WSFAST_COMPLETE, "%zu bytes", size);
            CHECK(header.size == size && header.payload_length == lengths[i] && header.first == 0x82, "%zu", size);
            CHECK(header.masking_key == (masked ? wsfast_load32(key) : 0), "masking key");
        }
    }
}

/* Pieces of a text, cut anywhere, against the plain validator. */
static void check_pieces(const wsfast_text_kernels *kernels)
{
    static uint8_t text[42000];
    static const char *const korean = "\xEC\x95\x88 caf\xC3\xA9 \xF0\x9F\x98\x80 ";
    for (unsigned round = 0; round < 3000; round++) {
        const size_t size = round % 3 ? 60 + random_byte() : 16300 + 100 * random_byte();
        for (size_t pos = 0; pos < size; pos++)
            text[pos] = (uint8_t)korean[pos % strlen(korean)];
        if (round & 1)
            text[(random_byte() * 256u + random_byte()) % size] = random_byte();
        wsfast_utf8 state = {0, 0, 0}, plain = {0, 0, 0};
        wsfast_measure measure = {0, 0}, counted = {0, 0};
        int valid = 1, plainly = 1;
        for (size_t pos = 0; pos < size && plainly;) {
            const size_t most = 1 + random_byte() * (round % 3 ? 1u : 100u);
            const size_t n = most < size - pos ? most : size - pos;
            memcpy(source + ROOM - n, text + pos, n);
            valid = wsfast_utf8_feed_by(kernels, &state, source + ROOM - n, n, &measure);
            plainly = wsfast_utf8_feed(&plain, text + pos, n);
            wsfast_measure_bytes(text + pos, n, &counted);
            CHECK(valid == plainly && (!valid || state.n_due == plain.n_due), "round %u, at %zu", round, pos);
            /* Without kernels nothing is measured. */
            CHECK(!kernels || !valid || measure.n_chars == counted.n_chars, "round %u, at %zu", round, pos);
            CHECK(!kernels || !valid || kind_of(measure.max_byte) == kind_of(counted.max_byte),
                  "round %u, at %zu", round, pos);
            pos += n;
        }
    }
}

int main(void)
{
    static const char *const levels[] = {"avx512", "avx2", "sse4", "neon"};
    source = guarded();
    destination = guarded();
    check_mask();
    check_mask_to_ascii();
    check_utf8();
    check_ascii();
    check_header();
    check_reader();
    check_pieces(NULL);
    CHECK(wsfast_choose_text_kernels("baseline") == NULL, "no level has this name");
    printf("kernels " WSFAST_KERNEL ", text");
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        const wsfast_text_kernels *const kernels = wsfast_choose_text_kernels(levels[i]);
        if (kernels != NULL && strcmp(kernels->name, levels[i]) == 0) {
            check_text(kernels);
            check_pieces(kernels);
            printf(" %s", kernels->name);
        }
    }
    printf(", %s-endian: ok\n", WSFAST_BIG_ENDIAN ? "big" : "little");
    return 0;
}
