/* frame_reader.h against a plain reading, byte by byte: every form of a header, every cut, every fault, random streams.
 *
 * Chunks end at a guard page. RFC 6455 5.2 to 5.5, RFC 7692 6.
 */
#include "check.h"

#include "../fuzz/plain_frames.h"

enum { STREAM_SIZE = 4096, N_STREAMS = 20000 };

static plain_log expected, got;
static uint8_t stream[STREAM_SIZE];

static void expect(const wsfast_rules *rules, size_t size)
{
    plain_reader plain = {.rules = *rules};
    expected.size = 0;
    for (size_t i = 0; i < size; i++)
        plain_byte(&plain, stream[i], &expected);
}

/* Read `size` bytes of the stream from `pos` on, as one chunk at the guard page. Returns 0 after a fault. */
static int read_at_guard(wsfast_reader *reader, size_t pos, size_t size)
{
    uint8_t *const chunk = source + ROOM - size;
    memcpy(chunk, stream + pos, size);
    CHECK(read_chunk(reader, chunk, size, destination + ROOM - size, &got), "chunk of %zu bytes at %zu", size, pos);
    return reader->verdict == WSFAST_COMPLETE || reader->verdict == WSFAST_INCOMPLETE;
}

static void compare(const char *how, size_t size, size_t cut)
{
    CHECK(got.size == expected.size && memcmp(got.bytes, expected.bytes, got.size) == 0,
          "%s, %zu bytes, %02x %02x, cut %zu", how, size, stream[0], stream[1], cut);
}

/* The stream whole, byte by byte, and in two chunks with every cut. */
static void check_cuts(const wsfast_rules *rules, size_t size)
{
    expect(rules, size);
    for (size_t cut = 0; cut < size; cut++) {
        wsfast_reader reader = {.rules = *rules};
        got.size = 0;
        if (read_at_guard(&reader, 0, cut))
            read_at_guard(&reader, cut, size - cut);
        compare("in two", size, cut);
    }
    wsfast_reader reader = {.rules = *rules};
    got.size = 0;
    for (size_t pos = 0; pos < size && read_at_guard(&reader, pos, 1); pos++)
        continue;
    compare("byte by byte", size, 1);
}

/* Append a frame with a random key; of a payload above `most` bytes only the beginning. */
static size_t append(size_t pos, const wsfast_rules *rules, uint8_t first, uint64_t length, size_t most)
{
    uint8_t key[4];
    for (size_t i = 0; i < 4; i++)
        key[i] = random_byte();
    pos += wsfast_write_header(stream + pos, first, length, rules->masked ? key : NULL);
    for (size_t i = 0; i < length && i < most; i++)
        stream[pos++] = random_byte();
    return pos;
}

/* Each value of the first byte, each form and edge of the length, between other frames. */
static void check_forms(const wsfast_rules *rules)
{
    static const uint64_t lengths[] = {0, 1, 125, 126, 127, 300, 65535, 65536, UINT64_C(1) << 32, INT64_MAX};
    for (unsigned first = 0; first < 256; first++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            /* Alone; and inside of a message, after a Ping. */
            size_t size = append(0, rules, (uint8_t)first, lengths[i], 130);
            check_cuts(rules, append(size, rules, 0x89, 3, 3));
            size = append(0, rules, 0x01, 5, 5);
            size = append(size, rules, 0x89, first % 126, 125);
            check_cuts(rules, append(size, rules, (uint8_t)first, lengths[i], 20));
        }
    }
    /* Lengths in more bytes than they need, and those with the top bit; and a mask bit that is wrong. */
    static const uint8_t wrong[][10] = {
        {0x82, 126, 0, 0}, {0x82, 126, 0, 125}, {0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF},
        {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, {0x82, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        for (unsigned masked = 0; masked < 2; masked++) {
            memcpy(stream, wrong[i], 10);
            stream[1] |= masked ? 0x80 : 0;
            check_cuts(rules, 10);
        }
    }
}

/* Frames as they follow from each other, most of them legal, in chunks of any size. */
static void check_streams(void)
{
    static const uint64_t limits[] = {UINT64_MAX, 1000, 200, 125, 0};
    for (unsigned round = 0; round < N_STREAMS; round++) {
        wsfast_rules rules = {
            .max_frame_size = limits[random_byte() & 15 ? 0 : random_byte() % 5],
            .max_message_size = limits[random_byte() & 15 ? 0 : random_byte() % 5],
            .max_deflated_size = limits[random_byte() & 15 ? 0 : random_byte() % 5],
            .max_fragments = random_byte() & 15 ? UINT64_MAX : random_byte() % 5,
            .masked = round & 1 ? 0x80 : 0,
            .inflates = round >> 1 & 1,
        };
        rules.allowed_rsv = rules.inflates ? WSFAST_RSV1 : 0;
        size_t size = 0;
        for (int in_message = 0; size < STREAM_SIZE - 600;) {
            const unsigned kind = random_byte();
            uint8_t first = (uint8_t)((random_byte() & 0x80) | (in_message ? 0 : 1 + (random_byte() & 1)));
            if (kind < 60)
                first = (uint8_t)(0x88 + kind % 3);
            else if (kind == 60)
                first = random_byte();
            else if (!in_message && rules.inflates && random_byte() & 1)
                first |= WSFAST_RSV1;
            const uint64_t length = first & 8 || random_byte() & 3 ? random_byte() % 126 : 126 + random_byte();
            size = append(size, &rules, first, length, 500);
            if (!(first & 8))
                in_message = !(first & 0x80);
        }
        expect(&rules, size);
        wsfast_reader reader = {.rules = rules};
        const size_t most = round % 5 ? 1 + random_byte() : STREAM_SIZE;
        got.size = 0;
        for (size_t pos = 0, n = 0; pos < size; pos += n) {
            n = 1 + (random_byte() * 256u + random_byte()) % most;
            if (n > size - pos)
                n = size - pos;
            if (!read_at_guard(&reader, pos, n))
                break;
        }
        compare("random", size, most);
    }
}

/* Payload that is received elsewhere counts, and ends the frame with its last byte. */
static void check_in_place(void)
{
    wsfast_reader reader = {
        .rules = {.max_frame_size = UINT64_MAX, .max_message_size = UINT64_MAX, .max_fragments = UINT64_MAX}};
    const uint8_t *payload = NULL;
    size_t pos = 0, n = 0, size = append(0, &reader.rules, 0x02, 1000, 10);
    CHECK(wsfast_next(&reader, stream, size, &pos, &payload, &n) == WSFAST_DATA && n == 10, "the beginning");
    wsfast_received_in_place(&reader, 989);
    CHECK(reader.n_missing == 1 && !wsfast_is_whole_message(&reader, n), "one byte is missing");
    pos = 0;
    CHECK(wsfast_next(&reader, stream, 1, &pos, &payload, &n) == WSFAST_DATA && n == 1 && pos == 1, "that one");
    CHECK(!reader.n_missing && !wsfast_end_frame(&reader), "a fragment");
    CHECK(reader.rules.message == WSFAST_BINARY_MESSAGE && reader.rules.message_size == 1000, "its message");
    size = append(0, &reader.rules, 0x80, 0, 0);
    pos = 0;
    CHECK(wsfast_next(&reader, stream, size, &pos, &payload, &n) == WSFAST_DATA && n == 0, "an empty last fragment");
    CHECK(wsfast_end_frame(&reader) && reader.rules.message == WSFAST_NO_MESSAGE, "the end of the message");
    CHECK(wsfast_next(&reader, NULL, 0, &(size_t){0}, &payload, &n) == WSFAST_NEED_MORE, "no bytes");
}

void check_reader(void)
{
    for (unsigned i = 0; i < 4; i++) {
        const wsfast_rules rules = {
            .max_frame_size = UINT64_MAX, .max_message_size = UINT64_MAX, .max_deflated_size = 200,
            .max_fragments = i & 2 ? 1 : UINT64_MAX, .masked = i & 1 ? 0x80 : 0, .inflates = i >> 1,
            .allowed_rsv = i & 2 ? WSFAST_RSV1 : 0};
        check_forms(&rules);
    }
    check_streams();
    check_in_place();
}
