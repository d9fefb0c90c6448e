/* Text: from UTF-8 to the units of a str, and back (RFC 6455 8.1; RFC 3629).
 *
 * To units, for text that is not ASCII: validate and measure, then transcode. These take a whole text, or a part that
 * begins and ends between characters, in a buffer of ours:
 *   padding          16 readable bytes before it, all zero or ASCII; WSFAST_TEXT_PADDING after it, all zero
 *   output           the units of the text, and never more than `room` of them, whatever the text is; the functions
 *                    return how many they wrote
 * From units: the size, then the bytes. Units are code points of at most 8, 16 or 32 bits, at most U+10FFFF.
 *   padding          none
 *   output           exactly `size` bytes, the result of the size function; it must not have been WSFAST_SURROGATE
 *   aliasing         units and bytes must not overlap
 * One table of functions for each instruction set; wsfast_choose_text_kernels() chooses one, once. Where there is none,
 * CPython's own decoder and encoder are the fastest.
 */
#ifndef WSFAST_TEXT_H
#define WSFAST_TEXT_H

#include "kernels.h"

#define WSFAST_TEXT_PADDING 80

/* The "size" of units that hold a surrogate. */
#define WSFAST_SURROGATE SIZE_MAX

typedef struct {
    size_t n_chars;     /* bytes that are no continuation bytes */
    uint8_t max_byte;   /* tells the kind, no more: below 0x80 ASCII, to 0xC3 Latin-1, to 0xEF UCS-2, else UCS-4 */
} wsfast_measure;

typedef struct {
    const char *name;
    /* Adds to `measure`; returns 1 when the text is well-formed. */
    int (*measure)(const uint8_t *text, size_t size, wsfast_measure *measure);
    size_t (*to_ucs1)(const uint8_t *text, size_t size, uint8_t *units, size_t room);
    size_t (*to_ucs2)(const uint8_t *text, size_t size, uint16_t *units, size_t room);
    /* NULL if CPython's decoder is faster. */
    size_t (*to_ucs4)(const uint8_t *text, size_t size, uint32_t *units, size_t room);
    /* Bytes of UTF-8; WSFAST_SURROGATE if a unit is a surrogate, which has none (RFC 3629 3). */
    size_t (*ucs1_size)(const uint8_t *units, size_t n_units);
    size_t (*ucs2_size)(const uint16_t *units, size_t n_units);
    size_t (*ucs4_size)(const uint32_t *units, size_t n_units);
    void (*from_ucs1)(const uint8_t *units, size_t n_units, uint8_t *text, size_t size);
    void (*from_ucs2)(const uint16_t *units, size_t n_units, uint8_t *text, size_t size);
    void (*from_ucs4)(const uint32_t *units, size_t n_units, uint8_t *text, size_t size);
    /* Unmasking (5.3) and measuring in one pass, for a text of 1 byte or more; sets `measure`. `text` must have room
     * for `size` rounded up to 64 bytes, and is zero behind the text; what is around it need only be readable for
     * to_ucs*. */
    int (*unmask_and_measure)(
        uint8_t *text, const uint8_t *payload, size_t size, uint32_t masking_key, wsfast_measure *measure);
} wsfast_text_kernels;

/* The best of those that this CPU runs and `at_most` (a name, or NULL) allows; NULL if there is none. */
const wsfast_text_kernels *wsfast_choose_text_kernels(const char *at_most);

#endif
