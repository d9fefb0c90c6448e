/* A stream of frames, taken apart as it arrives (RFC 6455 5.2, 5.4, 5.5).
 *
 *   between frames    header bytes wait in `held` until the header is complete; it is judged from its second byte on
 *   in a data frame   wsfast_next() points at the payload in the chunk, and the caller unmasks it
 *   in a control one  the payload is unmasked into `control`, and told when it is complete
 *
 * The reader knows which frame and which message it is inside of (5.4). It keeps no payload of data, so that its size is
 * fixed. After a fault it must not be used again (7.1.7).
 */
#ifndef WSFAST_FRAME_READER_H
#define WSFAST_FRAME_READER_H

#include "frame_header.h"
#include "mask.h"

/* All bytes 0, but for the limits and the role in `rules`: the reader waits for its first frame. */
typedef struct {
    wsfast_rules rules;      /* the caller sets limits and role once; the message in them is the reader's */
    wsfast_header header;    /* of the frame that began last */
    wsfast_verdict verdict;  /* COMPLETE if the last call completed a header; after a fault, which one */
    uint32_t masking_key;    /* for the next byte of the payload; the caller sets it forward for data */
    uint64_t n_missing;      /* payload bytes of the frame that were not told yet */
    uint8_t in_frame;        /* 1: a header is complete, and the frame has not ended */
    uint8_t n_held;          /* bytes of an unfinished header */
    uint8_t n_control;       /* bytes of an unfinished control payload */
    uint8_t held[WSFAST_MAX_HEADER_SIZE];
    uint8_t control[WSFAST_MAX_CONTROL_SIZE];
} wsfast_reader;

typedef enum {
    WSFAST_NEED_MORE,  /* the chunk is used up */
    WSFAST_DATA,       /* payload of a data frame: all that is missing, or the rest of the chunk */
    WSFAST_CONTROL,    /* the whole payload of a control frame, which has ended */
    WSFAST_FAULT       /* `verdict` tells which rule the header breaks */
} wsfast_step;

/* Read a header at the start of `data`, of which `size` bytes are there, at least one. Returns the bytes used.
 *
 * Only between frames. Afterwards `in_frame` is 1 if the header is complete; `verdict` tells that too, and any fault.
 */
static WSFAST_NOINLINE size_t wsfast_start_frame(wsfast_reader *reader, const uint8_t *data, size_t size)
{
    wsfast_header *const header = &reader->header;
    size_t n_taken = 0;
    if (reader->n_held) {
        n_taken = WSFAST_MAX_HEADER_SIZE - (size_t)reader->n_held;
        if (n_taken > size)
            n_taken = size;
        memcpy(reader->held + reader->n_held, data, n_taken);
        reader->verdict = wsfast_read_header(&reader->rules, reader->held, reader->n_held + n_taken, header);
    } else {
        reader->verdict = wsfast_read_header(&reader->rules, data, size, header);
    }
    if (reader->verdict == WSFAST_COMPLETE) {
        const size_t n_used = (size_t)header->size - reader->n_held;
        reader->n_held = 0;
        reader->in_frame = 1;
        reader->n_missing = header->payload_length;
        reader->masking_key = header->masking_key;
        if (!wsfast_is_control(header->first)) {
            const uint8_t opcode = header->first & 0x0F;
            reader->rules.n_fragments++;
            if (opcode != WSFAST_CONTINUATION) {
                reader->rules.message = (wsfast_message)opcode;
                reader->rules.compressed = reader->rules.inflates && header->first & WSFAST_RSV1; /* RFC 7692 6 */
            }
        }
        return n_used;
    }
    if (reader->verdict == WSFAST_INCOMPLETE) {
        /* Fewer than 14 bytes are there in all, so `held` has room for each of them. */
        if (!reader->n_held) {
            memcpy(reader->held, data, size);
            n_taken = size;
        }
        reader->n_held = (uint8_t)(reader->n_held + n_taken);
    }
    return size;
}

/* Collect `size` bytes of a control frame's payload, of which no more are missing. Returns 1 if it is complete. */
static WSFAST_NOINLINE int wsfast_take_control(wsfast_reader *reader, const uint8_t *data, size_t size)
{
    reader->masking_key = wsfast_mask(reader->control + reader->n_control, data, size, reader->masking_key);
    reader->n_control = (uint8_t)(reader->n_control + size);
    reader->n_missing -= size;
    if (reader->n_missing)
        return 0;
    reader->n_control = 0;
    reader->in_frame = 0;
    return 1;
}

/* Go on at `data + *pos` to the next payload, or to the end of the chunk of `size` bytes. Sets `*pos` to its end.
 *
 * DATA      `*n` bytes at `*payload`, in the chunk and still masked; `n_missing` is without them. There are no bytes
 *           only if the frame has none. The caller uses them with `masking_key`, and if bytes are missing it sets that
 *           forward. If none is missing, it calls wsfast_end_frame() before it calls this again.
 * CONTROL   `*n` bytes at `*payload`, in the reader and unmasked; they are valid until the next call.
 * NEED_MORE and FAULT set neither.
 */
WSFAST_ALWAYS_INLINE wsfast_step wsfast_next(
    wsfast_reader *reader, const uint8_t *data, size_t size, size_t *pos, const uint8_t **payload, size_t *n)
{
    if (*pos == size) {
        reader->verdict = WSFAST_INCOMPLETE;
        return WSFAST_NEED_MORE;
    }
    if (!reader->in_frame) {
        *pos += wsfast_start_frame(reader, data + *pos, size - *pos);
        if (!reader->in_frame)
            return reader->verdict == WSFAST_INCOMPLETE ? WSFAST_NEED_MORE : WSFAST_FAULT;
    } else {
        reader->verdict = WSFAST_INCOMPLETE;
    }
    size_t n_payload = size - *pos;
    if (reader->n_missing <= n_payload)
        n_payload = (size_t)reader->n_missing;
    else if (n_payload == 0)
        return WSFAST_NEED_MORE;
    const uint8_t *const start = data + *pos;
    *pos += n_payload;
    if (wsfast_is_control(reader->header.first)) {
        if (!wsfast_take_control(reader, start, n_payload))
            return WSFAST_NEED_MORE;
        *payload = reader->control;
        *n = (size_t)reader->header.payload_length;
        return WSFAST_CONTROL;
    }
    reader->n_missing -= n_payload;
    *payload = start;
    *n = n_payload;
    return WSFAST_DATA;
}

/* End a data frame of which nothing is missing, and with its last frame the message. Returns 1 if it was the last. */
static inline int wsfast_end_frame(wsfast_reader *reader)
{
    reader->in_frame = 0;
    if (!(reader->header.first & 0x80)) {
        reader->rules.message_size += reader->header.payload_length;
        return 0;
    }
    reader->rules.message = WSFAST_NO_MESSAGE;
    reader->rules.message_size = 0;
    reader->rules.n_fragments = 0;
    reader->rules.compressed = 0;
    return 1;
}

/* Account for `size` payload bytes of a data frame that did not come by wsfast_next(), of which no more are missing. */
static inline void wsfast_received_in_place(wsfast_reader *reader, size_t size)
{
    reader->n_missing -= size;
}

/* True if the `n` bytes that wsfast_next() told are a message of one frame, whole. */
static inline int wsfast_is_whole_message(const wsfast_reader *reader, size_t n)
{
    return WSFAST_USUALLY(
        reader->header.first & 0x80 && n == reader->header.payload_length && reader->rules.n_fragments == 1);
}

#endif
