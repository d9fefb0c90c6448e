/* A plain reading of frames, byte by byte (RFC 6455 5.2 to 5.5, RFC 7692 6): the reference for frame_reader.h.
 *
 * Both readers write the same log for the same bytes, however the bytes are cut:
 *   H first     the header of a data frame is complete
 *   D byte      the next byte of its payload, unmasked
 *   E           its end; then M if the message has ended too
 *   C first n   a control frame, whole; then its n payload bytes
 *   F verdict   a fault, and nothing after it
 */
#ifndef PLAIN_FRAMES_H
#define PLAIN_FRAMES_H

#include "frame_reader.h"

enum { PLAIN_LOG_SIZE = 32768 };

typedef struct {
    size_t size;
    uint8_t bytes[PLAIN_LOG_SIZE];
} plain_log;

/* Three bytes at most for each byte of a stream. */
static inline void plain_write(plain_log *log, unsigned byte)
{
    if (log->size < PLAIN_LOG_SIZE)
        log->bytes[log->size++] = (uint8_t)byte;
}

typedef struct {
    wsfast_rules rules;
    uint8_t header[WSFAST_MAX_HEADER_SIZE];
    size_t n_header;
    int in_frame, has_failed;
    uint64_t length, n_payload; /* of the frame we are in: in all, and received */
    uint8_t control[WSFAST_MAX_CONTROL_SIZE];
} plain_reader;

/* Judge the first `size` bytes of a header, and find its payload length and its end. */
static inline wsfast_verdict plain_judge(
    const wsfast_rules *rules, const uint8_t *data, size_t size, uint64_t *length, size_t *end)
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

static inline void plain_end(plain_reader *reader, plain_log *log)
{
    const uint8_t first = reader->header[0];
    reader->in_frame = 0;
    reader->n_header = 0;
    if (first & 8) {
        plain_write(log, 'C');
        plain_write(log, first);
        plain_write(log, (unsigned)reader->length);
        for (size_t i = 0; i < reader->length; i++)
            plain_write(log, reader->control[i]);
        return;
    }
    plain_write(log, 'E');
    reader->rules.message_size += reader->length;
    if (first & 128) {
        plain_write(log, 'M');
        reader->rules.message = WSFAST_NO_MESSAGE;
        reader->rules.message_size = reader->rules.n_fragments = reader->rules.compressed = 0;
    }
}

/* Take one byte. Returns the size of the header that it completes, which is in `header`; 0 if it completes none. */
static inline size_t plain_byte(plain_reader *reader, uint8_t byte, plain_log *log)
{
    size_t end = 0;
    if (reader->has_failed)
        return 0;
    if (reader->in_frame) {
        if (reader->rules.masked)
            byte ^= reader->header[reader->n_header - 4 + reader->n_payload % 4];
        if (reader->header[0] & 8) {
            reader->control[reader->n_payload] = byte;
        } else {
            plain_write(log, 'D');
            plain_write(log, byte);
        }
        if (++reader->n_payload == reader->length)
            plain_end(reader, log);
        return 0;
    }
    reader->header[reader->n_header++] = byte;
    const wsfast_verdict verdict = plain_judge(&reader->rules, reader->header, reader->n_header, &reader->length, &end);
    if (verdict == WSFAST_INCOMPLETE)
        return 0;
    if (verdict != WSFAST_COMPLETE) {
        plain_write(log, 'F');
        plain_write(log, (unsigned)verdict);
        reader->has_failed = 1;
        return 0;
    }
    const uint8_t first = reader->header[0];
    reader->in_frame = 1;
    reader->n_payload = 0;
    if (!(first & 8)) {
        plain_write(log, 'H');
        plain_write(log, first);
        reader->rules.n_fragments++;
        if (first & 15) {
            reader->rules.message = (wsfast_message)(first & 15);
            reader->rules.compressed = reader->rules.inflates && first & 64;
        }
    }
    if (reader->length == 0)
        plain_end(reader, log);
    return end;
}

/* Read a chunk by wsfast_next(), and write the same log. `unmasked` has room for `size` bytes. Returns 1 as long as
 * the contract is kept: payload lies in the chunk, right before `pos`; the chunk is used up; a whole message is known.
 */
static inline int read_chunk(
    wsfast_reader *reader, const uint8_t *chunk, size_t size, uint8_t *unmasked, plain_log *log)
{
    size_t pos = 0, n = 0;
    const uint8_t *payload = NULL;
    for (;;) {
        const wsfast_step step = wsfast_next(reader, chunk, size, &pos, &payload, &n);
        if (reader->verdict == WSFAST_COMPLETE && !wsfast_is_control(reader->header.first)) {
            plain_write(log, 'H');
            plain_write(log, reader->header.first);
        }
        if (step == WSFAST_NEED_MORE)
            return pos == size;
        if (step == WSFAST_FAULT) {
            plain_write(log, 'F');
            plain_write(log, (unsigned)reader->verdict);
            return pos <= size;
        }
        if (step == WSFAST_CONTROL) {
            plain_write(log, 'C');
            plain_write(log, reader->header.first);
            plain_write(log, (unsigned)n);
            for (size_t i = 0; i < n; i++)
                plain_write(log, payload[i]);
            if (reader->in_frame)
                return 0;
            continue;
        }
        if (pos > size || payload + n != chunk + pos)
            return 0;
        reader->masking_key = wsfast_mask(unmasked, payload, n, reader->masking_key);
        for (size_t i = 0; i < n; i++) {
            plain_write(log, 'D');
            plain_write(log, unmasked[i]);
        }
        if (reader->n_missing)
            continue;
        const uint8_t first = reader->header.first;
        const int whole = first & 128 && first & 15 && n == reader->header.payload_length;
        if (!wsfast_is_whole_message(reader, n) != !whole)
            return 0;
        plain_write(log, 'E');
        if (wsfast_end_frame(reader))
            plain_write(log, 'M');
    }
}

#endif
