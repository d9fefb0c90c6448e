/* What the levels of the text kernels share: how they are compiled, and their tables. For text*.c alone.
 */
#ifndef WSFAST_TEXT_LEVELS_H
#define WSFAST_TEXT_LEVELS_H

#include "text.h"

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(_MSC_VER))
#define WSFAST_X86 1
#include <immintrin.h>
extern const wsfast_text_kernels wsfast_text_avx512, wsfast_text_avx2, wsfast_text_sse4;
#else
#define WSFAST_X86 0
#endif

#if (defined(__aarch64__) && !WSFAST_BIG_ENDIAN) || defined(_M_ARM64)
#define WSFAST_NEON 1
#include <arm_neon.h>
extern const wsfast_text_kernels wsfast_text_neon;
#else
#define WSFAST_NEON 0
#endif

/* Code for an instruction set that the compiler may not take for granted. MSVC does not ask. */
#if WSFAST_MSVC
#define WSFAST_TARGET_FOR(features)
#else
#define WSFAST_TARGET_FOR(features) __attribute__((target(features)))
#endif

/* The `n` units of one step, but no more than there is room for. More come from invalid text alone. As a branch, the
 * comparison does not delay the next store: by 15 % of a decoded text of 125 B (compare, ratios). */
static inline unsigned wsfast_fitting(unsigned n, size_t room)
{
    return WSFAST_USUALLY(n <= room) ? n : (unsigned)room;
}

/* For each set of 8 lanes to keep, the shuffle that brings them to the front: of bytes, and of 16-bit units. Lanes
 * beyond them are 0x80, which gives 0. */
extern uint8_t wsfast_pack8[256][16], wsfast_pack16[256][16];
/* Back: the shuffles that bring the bytes of characters together, which stand at the end of 2, 3 or 4 bytes of a lane.
 * Of 2: bit n is set when character n of 8 has 2 bytes. Of 3 and 4: of 4 characters the bytes after the first, for 3 as
 * a sum of bits n and n + 4, for 4 as a number of 2 bits, the higher of them n + 4. Behind the shuffle how many bytes
 * those are. */
extern uint8_t wsfast_pack_two[256][16], wsfast_pack_three[256][17], wsfast_pack_four[256][17];

/* Shuffles that move a vector: from 16 + n on, byte n becomes the first; from 16 - n on, the first becomes byte n.
 * Places without a byte become 0. */
extern const uint8_t wsfast_window[48];
/* Masks: from 16 - n on, ones for the first n bytes. */
extern const uint8_t wsfast_first_bytes[32];

/* The lookup algorithm: J. Keiser, D. Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte", 2020.
 *
 * Each pair of neighbouring bytes is looked up by three nibbles: first byte high, first byte low, second byte
 * high. A bit that is set in all three is an error in the pair. Longer sequences are told by must-be-continuation.
 */
enum {
    TOO_SHORT = 1 << 0,   /* 11______ 0_______ or 11______ 11______ */
    TOO_LONG = 1 << 1,    /* 0_______ 10______ */
    OVERLONG_3 = 1 << 2,  /* 11100000 100_____ */
    SURROGATE = 1 << 4,   /* 11101101 101_____ */
    OVERLONG_2 = 1 << 5,  /* 1100000_ 10______ */
    TOO_LARGE_1000 = 1 << 6, /* 11110101 1000____ and above; shared with OVERLONG_4: 11110000 1000____ */
    TOO_LARGE = 1 << 3,   /* 11110100 1001____ and above */
    TWO_CONTS = 1 << 7,   /* 10______ 10______ */
    CARRY = TOO_SHORT | TOO_LONG | TWO_CONTS
};
#define OVERLONG_4 TOO_LARGE_1000

static const uint8_t wsfast_pair_errors[3][16] = {
    { /* first byte, high nibble */
        TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
        TWO_CONTS, TWO_CONTS, TWO_CONTS, TWO_CONTS,
        TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE,
        TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4,
    },
    { /* first byte, low nibble */
        CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, CARRY | OVERLONG_2, CARRY, CARRY,
        CARRY | TOO_LARGE, CARRY | TOO_LARGE | TOO_LARGE_1000,
        CARRY | TOO_LARGE | TOO_LARGE_1000, CARRY | TOO_LARGE | TOO_LARGE_1000,
        CARRY | TOO_LARGE | TOO_LARGE_1000, CARRY | TOO_LARGE | TOO_LARGE_1000,
        CARRY | TOO_LARGE | TOO_LARGE_1000, CARRY | TOO_LARGE | TOO_LARGE_1000,
        CARRY | TOO_LARGE | TOO_LARGE_1000, CARRY | TOO_LARGE | TOO_LARGE_1000 | SURROGATE,
        CARRY | TOO_LARGE | TOO_LARGE_1000, CARRY | TOO_LARGE | TOO_LARGE_1000,
    },
    { /* second byte, high nibble */
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4,
        TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE,
        TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE,
        TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE,
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    },
};

#endif
