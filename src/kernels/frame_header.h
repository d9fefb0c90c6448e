/* Reading and judging frame headers (RFC 6455 5.2).
 *
 *   first byte   FIN RSV1 RSV2 RSV3 opcode(4)
 *   second byte  MASK payload length(7); 126: 2 bytes of length follow, 127: 8
 *   then         the masking key, 4 bytes, if MASK is set
 *
 * A header is judged from its second byte on, without waiting for the rest of it. wsfast/faults.py fixes the order for
 * both codecs. Judging changes nothing: it may be repeated when more bytes are there.
 */
#ifndef WSFAST_FRAME_HEADER_H
#define WSFAST_FRAME_HEADER_H

#include "kernels.h"

#define WSFAST_MAX_HEADER_SIZE 14
#define WSFAST_MAX_CONTROL_SIZE 125

enum {
    WSFAST_CONTINUATION = 0x0,
    WSFAST_TEXT = 0x1,
    WSFAST_BINARY = 0x2,
    WSFAST_CLOSE = 0x8,
    WSFAST_PING = 0x9,
    WSFAST_PONG = 0xA
};

enum { WSFAST_RSV1 = 0x40 };

/* The message a decoder is inside of. Touched by data frames only (5.4). */
typedef enum { WSFAST_NO_MESSAGE = 0, WSFAST_TEXT_MESSAGE = 1, WSFAST_BINARY_MESSAGE = 2 } wsfast_message;

/* The limits, and the message so far: a header is judged by both. */
typedef struct {
    uint64_t max_frame_size;    /* bytes; UINT64_MAX: no limit, as below */
    uint64_t max_message_size;  /* bytes */
    uint64_t max_deflated_size; /* bytes of a compressed message as it is received */
    uint64_t max_fragments;     /* frames a message */
    uint64_t message_size;      /* payload bytes received of the unfinished message */
    uint64_t n_fragments;       /* frames begun of the unfinished message */
    wsfast_message message;
    uint8_t masked;             /* 0x80 when the peer has to mask, else 0 (5.1) */
    uint8_t allowed_rsv;        /* RSV bits an extension defines, at their place in the first byte */
    uint8_t inflates;           /* 1: RSV1 says that a message is compressed (RFC 7692 6) */
    uint8_t compressed;         /* 1: the message we are inside of is */
} wsfast_rules;

typedef struct {
    uint64_t payload_length;
    uint32_t masking_key;       /* as wsfast_mask() takes it; 0 when the frame is not masked */
    uint8_t first;              /* FIN RSV1 RSV2 RSV3 opcode(4) */
    uint8_t size;               /* bytes of the header itself */
} wsfast_header;

typedef enum {
    WSFAST_INCOMPLETE = -1,
    WSFAST_COMPLETE = 0,
    WSFAST_RESERVED_BITS,
    WSFAST_RESERVED_OPCODE,
    WSFAST_NOT_MASKED,
    WSFAST_MASKED,
    WSFAST_CONTROL_FRAGMENTED,
    WSFAST_CONTROL_TOO_LONG,
    WSFAST_NOTHING_TO_CONTINUE,
    WSFAST_MESSAGE_UNFINISHED,
    WSFAST_TOO_MANY_FRAGMENTS,
    WSFAST_LENGTH_TOP_BIT,
    WSFAST_LENGTH_NOT_MINIMAL,
    WSFAST_FRAME_TOO_BIG,
    WSFAST_MESSAGE_TOO_BIG,
    WSFAST_COMPRESSED_CONTINUATION,
    WSFAST_DEFLATED_TOO_BIG
} wsfast_verdict;

static inline int wsfast_is_control(uint8_t first)
{
    return (first & 0x08) != 0; /* 5.5: control opcodes have their top bit set */
}

/* Judge the first two bytes. */
static inline wsfast_verdict wsfast_judge_start(const wsfast_rules *rules, uint8_t first, uint8_t second)
{
    const uint8_t opcode = first & 0x0F;
    const int control = wsfast_is_control(first);
    /* 5.2: RSV bits MUST be 0 unless an extension defines them; none of ours defines them on control frames. */
    if (first & 0x70 & ~(control ? 0 : rules->allowed_rsv))
        return WSFAST_RESERVED_BITS;
    if (rules->inflates && opcode == WSFAST_CONTINUATION && first & WSFAST_RSV1)
        return WSFAST_COMPRESSED_CONTINUATION; /* RFC 7692 6.1 */
    if (opcode > WSFAST_PONG || (opcode > WSFAST_BINARY && opcode < WSFAST_CLOSE))
        return WSFAST_RESERVED_OPCODE; /* 5.2 */
    if ((second & 0x80) != rules->masked)
        return rules->masked ? WSFAST_NOT_MASKED : WSFAST_MASKED; /* 5.1 */
    if (control) {
        if (!(first & 0x80))
            return WSFAST_CONTROL_FRAGMENTED; /* 5.5 */
        if ((second & 0x7F) > WSFAST_MAX_CONTROL_SIZE)
            return WSFAST_CONTROL_TOO_LONG; /* 5.5 */
        return WSFAST_COMPLETE;
    }
    if (opcode == WSFAST_CONTINUATION) {
        if (rules->message == WSFAST_NO_MESSAGE)
            return WSFAST_NOTHING_TO_CONTINUE; /* 5.4 */
    } else if (rules->message != WSFAST_NO_MESSAGE) {
        return WSFAST_MESSAGE_UNFINISHED; /* 5.4 */
    }
    if (rules->n_fragments >= rules->max_fragments)
        return WSFAST_TOO_MANY_FRAGMENTS; /* 10.4 */
    return WSFAST_COMPLETE;
}

/* Judge the payload length. It ended `length_end` bytes after the start of the header: 2, 4 or 10. */
static inline wsfast_verdict wsfast_judge_length(
    const wsfast_rules *rules, uint8_t first, size_t length_end, uint64_t length)
{
    if (length_end > 2) {
        if (length >> 63)
            return WSFAST_LENGTH_TOP_BIT; /* 5.2: the most significant bit MUST be 0 */
        if (length < (length_end == 4 ? 126u : 65536u))
            return WSFAST_LENGTH_NOT_MINIMAL; /* 5.2: the minimal number of bytes MUST be used */
    }
    if (wsfast_is_control(first))
        return WSFAST_COMPLETE; /* 5.5 has limited it */
    if (length > rules->max_frame_size)
        return WSFAST_FRAME_TOO_BIG; /* 10.4 */
    /* By subtraction: a sum could wrap. message_size never exceeds the limit. */
    if (rules->inflates && (rules->compressed || first & WSFAST_RSV1)) {
        if (length > rules->max_deflated_size - rules->message_size)
            return WSFAST_DEFLATED_TOO_BIG; /* 10.4 */
    } else if (length > rules->max_message_size - rules->message_size) {
        return WSFAST_MESSAGE_TOO_BIG; /* 10.4 */
    }
    return WSFAST_COMPLETE;
}

/* Read the header at `data`, of which `size` bytes are there, and judge those.
 *
 * `header` is filled as far as it was read. `first` is set from 2 bytes on, and `payload_length` if a fault of the length
 * is returned. With WSFAST_COMPLETE all of it is set.
 */
static inline wsfast_verdict wsfast_read_header(
    const wsfast_rules *rules, const uint8_t *data, size_t size, wsfast_header *header)
{
    if (size < 2)
        return WSFAST_INCOMPLETE;
    /* Each byte is read once: in memory that others write to, the judged byte has to be the one that is used. */
    const uint8_t first = data[0], second = data[1];
    header->first = first;
    const wsfast_verdict verdict = wsfast_judge_start(rules, first, second);
    if (verdict != WSFAST_COMPLETE)
        return verdict;

    uint64_t length = second & 0x7F;
    size_t pos = 2;
    if (length >= 126) {
        const size_t length_end = length == 126 ? 4 : 10;
        if (size < length_end)
            return WSFAST_INCOMPLETE;
        for (length = 0; pos < length_end; pos++)
            length = length << 8 | data[pos]; /* network byte order */
    }
    header->payload_length = length;
    const wsfast_verdict on_length = wsfast_judge_length(rules, first, pos, length);
    if (on_length != WSFAST_COMPLETE)
        return on_length;

    header->masking_key = 0;
    if (rules->masked) {
        if (size < pos + 4)
            return WSFAST_INCOMPLETE;
        header->masking_key = wsfast_load32(data + pos);
        pos += 4;
    }
    header->size = (uint8_t)pos;
    return WSFAST_COMPLETE;
}

/* Write the numbers of a verdict's text to `numbers`, in their order. Returns how many there are, at most 2. */
static inline int wsfast_fault_numbers(
    wsfast_verdict verdict, const wsfast_rules *rules, const wsfast_header *header, uint64_t *numbers)
{
    switch (verdict) {
    case WSFAST_RESERVED_BITS: /* as a number of 3 bits, RSV1 the highest */
        numbers[0] = (header->first & 0x70 & ~(wsfast_is_control(header->first) ? 0 : rules->allowed_rsv)) >> 4;
        return 1;
    case WSFAST_RESERVED_OPCODE:
        numbers[0] = header->first & 0x0F;
        return 1;
    case WSFAST_TOO_MANY_FRAGMENTS:
        numbers[0] = rules->max_fragments;
        return 1;
    case WSFAST_LENGTH_NOT_MINIMAL:
        numbers[0] = header->payload_length;
        return 1;
    case WSFAST_FRAME_TOO_BIG:
        numbers[0] = header->payload_length;
        numbers[1] = rules->max_frame_size;
        return 2;
    case WSFAST_MESSAGE_TOO_BIG:
    case WSFAST_DEFLATED_TOO_BIG:
        numbers[0] = rules->message_size + header->payload_length;
        numbers[1] = rules->max_message_size;
        return 2;
    default:
        return 0;
    }
}

/* Write the header of a frame to `to`, which has room for WSFAST_MAX_HEADER_SIZE bytes; returns its size.
 *
 * `masking_key`: the four bytes in their order in memory, or NULL for a frame that is not masked.
 */
static inline size_t wsfast_write_header(uint8_t *to, uint8_t first, uint64_t payload_length, const uint8_t *masking_key)
{
    const uint8_t masked = masking_key ? 0x80 : 0;
    size_t pos = 2;
    to[0] = first;
    if (payload_length < 126) { /* 5.2: the minimal number of bytes */
        to[1] = masked | (uint8_t)payload_length;
    } else {
        const unsigned n_bytes = payload_length < 65536 ? 2 : 8;
        to[1] = masked | (n_bytes == 2 ? 126 : 127);
        for (unsigned shift = n_bytes * 8; shift; pos++) {
            shift -= 8;
            to[pos] = (uint8_t)(payload_length >> shift);
        }
    }
    if (masking_key) {
        memcpy(to + pos, masking_key, 4);
        pos += 4;
    }
    return pos;
}

/* Bytes that wsfast_write_header() will write. */
static inline size_t wsfast_header_size(uint64_t payload_length, int masked)
{
    return 2u + (payload_length < 126 ? 0u : payload_length < 65536 ? 2u : 8u) + (masked ? 4u : 0u);
}

#endif
