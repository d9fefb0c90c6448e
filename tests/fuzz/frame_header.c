/* Reading and writing frame headers, against a plain reading of RFC 6455 5.2 to 5.5 and RFC 7692 6.
 *
 * Input: eight bytes of decisions (role, extensions, limits), then a stream of frames. Each header is read from all of
 * its prefixes, each in memory of exactly its size: a verdict, once given, stays the same however much more comes.
 */
#include "frame_header.h"
#include "plain.h"

static const uint64_t sizes[] = {UINT64_MAX, 0, 1, 125, 126, 300, 65535, 65536};

/* The plain reading: what the first `size` bytes say, and where the header ends. */
static wsfast_verdict judge(const wsfast_rules *rules, const uint8_t *data, size_t size, uint64_t *length, size_t *end)
{
    if (size < 2)
        return WSFAST_INCOMPLETE;
    const unsigned fin = data[0] >> 7, rsv = data[0] >> 4 & 7, opcode = data[0] & 15;
    const unsigned is_masked = data[1] >> 7, short_length = data[1] & 127;
    const unsigned is_control = opcode >= 8, is_first = opcode == 1 || opcode == 2;
    const unsigned allowed = is_control ? 0 : rules->allowed_rsv >> 4;
    if ((rsv | allowed) != allowed)
        return WSFAST_RESERVED_BITS;
    if (rules->inflates && opcode == 0 && rsv & 4)
        return WSFAST_COMPRESSED_CONTINUATION;
    if (opcode != 0 && opcode != 1 && opcode != 2 && opcode != 8 && opcode != 9 && opcode != 10)
        return WSFAST_RESERVED_OPCODE;
    if (is_masked && !rules->masked)
        return WSFAST_MASKED;
    if (!is_masked && rules->masked)
        return WSFAST_NOT_MASKED;
    if (is_control && !fin)
        return WSFAST_CONTROL_FRAGMENTED;
    if (is_control && short_length > 125)
        return WSFAST_CONTROL_TOO_LONG;
    if (opcode == 0 && rules->message == WSFAST_NO_MESSAGE)
        return WSFAST_NOTHING_TO_CONTINUE;
    if (is_first && rules->message != WSFAST_NO_MESSAGE)
        return WSFAST_MESSAGE_UNFINISHED;
    if (!is_control && rules->n_fragments >= rules->max_fragments)
        return WSFAST_TOO_MANY_FRAGMENTS;

    const size_t n_length = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
    if (size < 2 + n_length)
        return WSFAST_INCOMPLETE;
    *length = short_length;
    if (n_length)
        *length = 0;
    for (size_t i = 0; i < n_length; i++)
        *length = *length * 256 + data[2 + i];
    if (*length > INT64_MAX)
        return WSFAST_LENGTH_TOP_BIT;
    if ((n_length == 2 && *length < 126) || (n_length == 8 && *length < 65536))
        return WSFAST_LENGTH_NOT_MINIMAL;
    if (!is_control) {
        const int inflated = rules->inflates && (rules->compressed || rsv & 4);
        const uint64_t limit = inflated ? rules->max_deflated_size : rules->max_message_size;
        if (*length > rules->max_frame_size)
            return WSFAST_FRAME_TOO_BIG;
        if (limit != UINT64_MAX && *length + rules->message_size > limit)
            return inflated ? WSFAST_DEFLATED_TOO_BIG : WSFAST_MESSAGE_TOO_BIG;
    }
    *end = 2 + n_length + (rules->masked ? 4 : 0);
    return size < *end ? WSFAST_INCOMPLETE : WSFAST_COMPLETE;
}

/* Read the header from each of its prefixes. Returns the last verdict. */
static wsfast_verdict check_header(
    const wsfast_rules *rules, const uint8_t *data, size_t size, wsfast_header *header, uint64_t *length)
{
    wsfast_verdict verdict = WSFAST_INCOMPLETE;
    for (size_t there = 0; there <= size && there <= 16; there++) {
        uint8_t *const prefix = copy_of(data, there);
        size_t end = 0;
        const wsfast_verdict got = wsfast_read_header(rules, prefix, there, header);
        free(prefix);
        CHECK(got == judge(rules, data, there, length, &end));
        CHECK(verdict == WSFAST_INCOMPLETE || got == verdict);
        CHECK(got == WSFAST_INCOMPLETE || header->first == data[0]);
        if (got == WSFAST_COMPLETE) {
            CHECK(header->size == end && header->payload_length == *length);
            CHECK(header->masking_key == (rules->masked ? wsfast_load32(data + end - 4) : 0));
        } else if (got >= WSFAST_LENGTH_TOP_BIT && got != WSFAST_COMPRESSED_CONTINUATION) {
            CHECK(header->payload_length == *length);
        }
        verdict = got;
    }
    return verdict;
}

/* A header that is right is the one that we write. */
static void check_write(const wsfast_rules *rules, const uint8_t *data, const wsfast_header *header)
{
    CHECK(wsfast_header_size(header->payload_length, rules->masked) == header->size);
    uint8_t room[WSFAST_MAX_HEADER_SIZE];
    const uint8_t *const key = rules->masked ? data + header->size - 4 : NULL;
    CHECK(wsfast_write_header(room, header->first, header->payload_length, key) == header->size);
    CHECK(memcmp(room, data, header->size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    wsfast_rules rules = {
        .max_frame_size = sizes[data[1] & 7],
        .max_message_size = sizes[data[2] & 7],
        .max_deflated_size = sizes[data[3] & 7],
        .max_fragments = data[4] ? data[4] : UINT64_MAX,
        .masked = data[0] & 1 ? 0x80 : 0,
        .inflates = data[0] >> 1 & 1,
        .allowed_rsv = data[0] & 0x70,
    };
    if (rules.inflates)
        rules.allowed_rsv |= WSFAST_RSV1;
    data += 8;
    size -= 8;
    while (size) {
        wsfast_header header;
        uint64_t length = 0;
        if (check_header(&rules, data, size, &header, &length) != WSFAST_COMPLETE)
            break;
        check_write(&rules, data, &header);
        data += header.size;
        size -= header.size;
        if (length > size)
            break;
        data += length;
        size -= length;
        if (header.first & 0x08)
            continue;
        /* 5.4: the message that the next header is judged by */
        rules.n_fragments++;
        if ((header.first & 0x0F) != WSFAST_CONTINUATION) {
            rules.message = (wsfast_message)(header.first & 0x0F);
            rules.compressed = rules.inflates && header.first & WSFAST_RSV1;
        }
        rules.message_size += length;
        if (header.first & 0x80) {
            rules.message = WSFAST_NO_MESSAGE;
            rules.message_size = rules.n_fragments = rules.compressed = 0;
        }
    }
    return 0;
}
