/* Reading and writing frames, against a plain reading of RFC 6455 5.2 to 5.5 and RFC 7692 6 (plain_frames.h).
 *
 * Input: eight bytes of decisions (role, extensions, limits, cuts), then a stream of frames. It is read in chunks, each
 * in memory of exactly its size; some payload is received in place. A verdict has to be the same, and in time, however
 * the stream is cut.
 */
#include "plain.h"
#include "plain_frames.h"

static const uint64_t sizes[] = {UINT64_MAX, 0, 1, 125, 126, 300, 65535, 65536};

/* A header that is right is the one that we write. */
static void check_write(const plain_reader *reader, const uint8_t *header, size_t size)
{
    const int masked = reader->rules.masked != 0;
    uint8_t room[WSFAST_MAX_HEADER_SIZE];
    CHECK(wsfast_header_size(reader->length, masked) == size);
    CHECK(wsfast_write_header(room, header[0], reader->length, masked ? header + size - 4 : NULL) == size);
    CHECK(memcmp(room, header, size) == 0);
}

/* Take payload of the data frame that we are in without wsfast_next(). Returns the bytes taken. */
static size_t receive_in_place(wsfast_reader *reader, const uint8_t *chunk, size_t size, uint8_t *unmasked, plain_log *log)
{
    if (!reader->in_frame || !reader->n_missing || wsfast_is_control(reader->header.first))
        return 0;
    const size_t n = reader->n_missing < size ? (size_t)reader->n_missing : size;
    wsfast_received_in_place(reader, n);
    reader->masking_key = wsfast_mask(unmasked, chunk, n, reader->masking_key);
    for (size_t i = 0; i < n; i++) {
        plain_write(log, 'D');
        plain_write(log, unmasked[i]);
    }
    if (!reader->n_missing) {
        plain_write(log, 'E');
        if (wsfast_end_frame(reader))
            plain_write(log, 'M');
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static plain_log expected, got;
    if (size < 8 || size > 4096)
        return 0;
    wsfast_reader reader = {
        .rules = {
            .max_frame_size = sizes[data[1] & 7],
            .max_message_size = sizes[data[2] & 7],
            .max_deflated_size = sizes[data[3] & 7],
            .max_fragments = data[4] ? data[4] : UINT64_MAX,
            .masked = data[0] & 1 ? 0x80 : 0,
            .inflates = data[0] >> 1 & 1,
            .allowed_rsv = data[0] & 0x70,
        }};
    if (reader.rules.inflates)
        reader.rules.allowed_rsv |= WSFAST_RSV1;
    plain_reader plain = {.rules = reader.rules};
    uint32_t random = (uint32_t)data[6] << 8 | data[7];
    const unsigned most = 1 + data[5]; /* bytes of a chunk */
    data += 8;
    size -= 8;
    expected.size = got.size = 0;
    while (size && !plain.has_failed) {
        random = random * 1664525 + 1013904223;
        size_t n_chunk = 1 + (random >> 16) % most;
        if (n_chunk > size)
            n_chunk = size;
        uint8_t *const chunk = copy_of(data, n_chunk), *const unmasked = exactly(n_chunk);
        const size_t n_placed = random & 1 << 15 ? receive_in_place(&reader, chunk, n_chunk, unmasked, &got) : 0;
        CHECK(read_chunk(&reader, chunk + n_placed, n_chunk - n_placed, unmasked, &got));
        free(unmasked);
        free(chunk);
        for (size_t i = 0; i < n_chunk; i++) {
            const size_t n_header = plain_byte(&plain, data[i], &expected);
            if (n_header)
                check_write(&plain, plain.header, n_header);
        }
        CHECK(got.size == expected.size && memcmp(got.bytes, expected.bytes, got.size) == 0);
        data += n_chunk;
        size -= n_chunk;
    }
    CHECK(plain.has_failed || reader.n_missing == (plain.in_frame ? plain.length - plain.n_payload : 0));
    return 0;
}
