/* Sixteen bytes at a time, by the instruction set that the compiler may take for granted.
 *
 * SSE2 is part of x86-64, NEON of aarch64: no dispatch, everything is inlined. Elsewhere WSFAST_VECTOR is 0, and
 * the kernels work on 64-bit words.
 */
#ifndef WSFAST_VECTOR_H
#define WSFAST_VECTOR_H

#include "kernels.h"

#if defined(__SSE2__) || defined(_M_X64) || (defined(_M_IX86_FP) && _M_IX86_FP >= 2)
#include <emmintrin.h>
#define WSFAST_VECTOR 1
#define WSFAST_KERNEL "sse2"
typedef __m128i wsfast_vector;
static inline wsfast_vector wsfast_load(const uint8_t *from)
{
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}
static inline void wsfast_store(uint8_t *to, wsfast_vector vector)
{
    _mm_storeu_si128((__m128i *)(void *)to, vector);
}
static inline wsfast_vector wsfast_repeat32(uint32_t word)
{
    return _mm_set1_epi32((int)word);
}
static inline wsfast_vector wsfast_xor(wsfast_vector a, wsfast_vector b)
{
    return _mm_xor_si128(a, b);
}
static inline wsfast_vector wsfast_or(wsfast_vector a, wsfast_vector b)
{
    return _mm_or_si128(a, b);
}
/* 1 when some byte is 0x80 or above. */
static inline int wsfast_has_high_bit(wsfast_vector vector)
{
    return _mm_movemask_epi8(vector) != 0;
}

#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#define WSFAST_VECTOR 1
#define WSFAST_KERNEL "neon"
typedef uint8x16_t wsfast_vector;
static inline wsfast_vector wsfast_load(const uint8_t *from)
{
    return vld1q_u8(from);
}
static inline void wsfast_store(uint8_t *to, wsfast_vector vector)
{
    vst1q_u8(to, vector);
}
static inline wsfast_vector wsfast_repeat32(uint32_t word)
{
    return vreinterpretq_u8_u32(vdupq_n_u32(word));
}
static inline wsfast_vector wsfast_xor(wsfast_vector a, wsfast_vector b)
{
    return veorq_u8(a, b);
}
static inline wsfast_vector wsfast_or(wsfast_vector a, wsfast_vector b)
{
    return vorrq_u8(a, b);
}
static inline int wsfast_has_high_bit(wsfast_vector vector)
{
    return vmaxvq_u8(vector) >= 0x80;
}

#else
#define WSFAST_VECTOR 0
#define WSFAST_KERNEL "swar64"
#endif

#endif
