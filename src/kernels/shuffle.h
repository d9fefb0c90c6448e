/* Sixteen bytes at a time, with shuffles, by SSE4.1 or NEON: the vocabulary of to_units.h and from_units.h.
 *
 * The file that includes this one has defined WSFAST_TARGET, the instruction set as an attribute of functions. Lanes of
 * 8 or 16 bits; comparisons answer lanes of ones or zeroes; `lanes` are bits, lane 0 the lowest.
 */
#ifndef WSFAST_SHUFFLE_H
#define WSFAST_SHUFFLE_H

#include "text_levels.h"

#define WSFAST_OP static inline WSFAST_TARGET

#if WSFAST_X86

typedef __m128i v16;

WSFAST_OP v16 v_load(const void *from) { return _mm_loadu_si128((const __m128i *)from); }
WSFAST_OP v16 v_load_half(const void *from) { return _mm_loadl_epi64((const __m128i *)from); }
WSFAST_OP void v_store(void *to, v16 v) { _mm_storeu_si128((__m128i *)to, v); }
WSFAST_OP void v_store_half(void *to, v16 v) { _mm_storel_epi64((__m128i *)to, v); }
WSFAST_OP v16 v_from64(uint64_t low, uint64_t high) { return _mm_set_epi64x((int64_t)high, (int64_t)low); }
WSFAST_OP v16 v_zero(void) { return _mm_setzero_si128(); }
WSFAST_OP v16 v_all8(uint8_t byte) { return _mm_set1_epi8((char)byte); }
WSFAST_OP v16 v_all16(uint16_t unit) { return _mm_set1_epi16((short)unit); }
WSFAST_OP v16 v_all32(uint32_t unit) { return _mm_set1_epi32((int)unit); }
WSFAST_OP v16 v_and(v16 a, v16 b) { return _mm_and_si128(a, b); }
WSFAST_OP v16 v_or(v16 a, v16 b) { return _mm_or_si128(a, b); }
WSFAST_OP v16 v_xor(v16 a, v16 b) { return _mm_xor_si128(a, b); }
/* Of a mask: b where it is ones, a where it is zeroes. */
WSFAST_OP v16 v_select(v16 a, v16 b, v16 mask) { return _mm_blendv_epi8(a, b, mask); }
WSFAST_OP int v_any(v16 v) { return !_mm_testz_si128(v, v); }
/* Bytes of `table` by their numbers: 0 to 15, or 0x80, which gives 0. */
WSFAST_OP v16 v_shuffle(v16 table, v16 numbers) { return _mm_shuffle_epi8(table, numbers); }
WSFAST_OP v16 v_high_half(v16 v) { return _mm_srli_si128(v, 8); }
/* The bytes `n` places before those of `v`, which follow those of `previous`. */
#define v_before(v, previous, n) _mm_alignr_epi8(v, previous, 16 - (n))
WSFAST_OP v16 v_add8(v16 a, v16 b) { return _mm_add_epi8(a, b); }
WSFAST_OP v16 v_sub8(v16 a, v16 b) { return _mm_sub_epi8(a, b); }
WSFAST_OP v16 v_sub_to_zero8(v16 a, v16 b) { return _mm_subs_epu8(a, b); }
WSFAST_OP v16 v_max8(v16 a, v16 b) { return _mm_max_epu8(a, b); }
WSFAST_OP v16 v_equal8(v16 a, v16 b) { return _mm_cmpeq_epi8(a, b); }
/* 1xxxxxxx, as a mask. */
WSFAST_OP v16 v_tops8(v16 v) { return _mm_cmpgt_epi8(_mm_setzero_si128(), v); }
/* 10xxxxxx: as signed bytes, those below 0xC0. */
WSFAST_OP v16 v_continuations(v16 v) { return _mm_cmpgt_epi8(_mm_set1_epi8((char)0xC0), v); }
/* As signed bytes: of a negative one, 0x80 to 0xFF, true also for 0x00 to 0x7F. */
WSFAST_OP v16 v_above8(v16 v, uint8_t byte) { return _mm_cmpgt_epi8(v, _mm_set1_epi8((char)byte)); }
WSFAST_OP v16 v_high_nibbles(v16 v) { return _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(0x0F)); }
/* The lanes of 8 bits whose top bit is set. */
WSFAST_OP unsigned v_lanes8(v16 v) { return (unsigned)_mm_movemask_epi8(v); }
/* Of two masks of 16-bit lanes: bits 0 to 7, and 8 to 15. */
WSFAST_OP unsigned v_lanes16(v16 a, v16 b) { return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(a, b)); }
WSFAST_OP v16 v_widen_low(v16 v) { return _mm_cvtepu8_epi16(v); }
WSFAST_OP v16 v_widen_high(v16 v) { return _mm_unpackhi_epi8(v, _mm_setzero_si128()); }
WSFAST_OP v16 v_widen_low16(v16 v) { return _mm_cvtepu16_epi32(v); }
WSFAST_OP v16 v_widen_high16(v16 v) { return _mm_unpackhi_epi16(v, _mm_setzero_si128()); }
/* 16-bit lanes below 0x100 to bytes, 32-bit lanes below 0x10000 to 16 bits. */
WSFAST_OP v16 v_narrow(v16 a, v16 b) { return _mm_packus_epi16(a, b); }
WSFAST_OP v16 v_narrow32(v16 a, v16 b) { return _mm_packus_epi32(a, b); }
/* Masks of 32-bit lanes to 16 bits. */
WSFAST_OP v16 v_narrow_masks(v16 a, v16 b) { return _mm_packs_epi32(a, b); }
#define v_shift_left16(v, n) _mm_slli_epi16(v, n)
#define v_shift_right16(v, n) _mm_srli_epi16(v, n)
#define v_shift_left32(v, n) _mm_slli_epi32(v, n)
#define v_shift_right32(v, n) _mm_srli_epi32(v, n)
/* One of its 4 words of 32 bits. */
#define v_word(v, n) ((uint32_t)_mm_extract_epi32(v, n))
WSFAST_OP v16 v_sub16(v16 a, v16 b) { return _mm_sub_epi16(a, b); }
WSFAST_OP v16 v_sub32(v16 a, v16 b) { return _mm_sub_epi32(a, b); }
WSFAST_OP v16 v_equal16(v16 a, v16 b) { return _mm_cmpeq_epi16(a, b); }
WSFAST_OP v16 v_equal32(v16 a, v16 b) { return _mm_cmpeq_epi32(a, b); }
WSFAST_OP v16 v_at_least16(v16 a, v16 b) { return _mm_cmpeq_epi16(_mm_max_epu16(a, b), a); }
/* Lanes of 32 bits, below 2 to the 31. */
WSFAST_OP v16 v_at_least32(v16 a, uint32_t b) { return _mm_cmpgt_epi32(a, _mm_set1_epi32((int)b - 1)); }
WSFAST_OP v16 v_zip_low8(v16 a, v16 b) { return _mm_unpacklo_epi8(a, b); }
WSFAST_OP v16 v_zip_high8(v16 a, v16 b) { return _mm_unpackhi_epi8(a, b); }
WSFAST_OP v16 v_zip_low16(v16 a, v16 b) { return _mm_unpacklo_epi16(a, b); }
WSFAST_OP v16 v_zip_high16(v16 a, v16 b) { return _mm_unpackhi_epi16(a, b); }
WSFAST_OP uint8_t v_highest8(v16 v)
{
    v = _mm_max_epu8(v, _mm_srli_si128(v, 8));
    v = _mm_max_epu8(v, _mm_srli_si128(v, 4));
    v = _mm_max_epu8(v, _mm_srli_si128(v, 2));
    return (uint8_t)_mm_cvtsi128_si32(_mm_max_epu8(v, _mm_srli_si128(v, 1)));
}
WSFAST_OP size_t v_sum8(v16 v)
{
    v = _mm_sad_epu8(v, _mm_setzero_si128());
    return (size_t)(_mm_cvtsi128_si64(v) + _mm_cvtsi128_si64(_mm_srli_si128(v, 8)));
}
WSFAST_OP size_t v_sum32(v16 v)
{
    v = _mm_add_epi64(_mm_cvtepu32_epi64(v), _mm_unpackhi_epi32(v, _mm_setzero_si128()));
    return (size_t)(_mm_cvtsi128_si64(v) + _mm_cvtsi128_si64(_mm_srli_si128(v, 8)));
}
WSFAST_OP size_t v_sum16(v16 v)
{
    return v_sum32(_mm_add_epi32(_mm_cvtepu16_epi32(v), _mm_unpackhi_epi16(v, _mm_setzero_si128())));
}
WSFAST_OP unsigned v_n_lanes(unsigned lanes)
{
#if WSFAST_MSVC
    return (unsigned)_mm_popcnt_u32(lanes);
#else
    return (unsigned)__builtin_popcount(lanes);
#endif
}

#else

typedef uint8x16_t v16;

#define V_AS16(v) vreinterpretq_u16_u8(v)
#define V_AS32(v) vreinterpretq_u32_u8(v)
#define V_FROM16(v) vreinterpretq_u8_u16(v)
#define V_FROM32(v) vreinterpretq_u8_u32(v)

WSFAST_OP v16 v_load(const void *from) { return vld1q_u8((const uint8_t *)from); }
WSFAST_OP v16 v_load_half(const void *from)
{
    return vcombine_u8(vld1_u8((const uint8_t *)from), vdup_n_u8(0));
}
WSFAST_OP void v_store(void *to, v16 v) { vst1q_u8((uint8_t *)to, v); }
WSFAST_OP void v_store_half(void *to, v16 v) { vst1_u8((uint8_t *)to, vget_low_u8(v)); }
WSFAST_OP v16 v_from64(uint64_t low, uint64_t high)
{
    return vcombine_u8(vcreate_u8(low), vcreate_u8(high));
}
WSFAST_OP v16 v_zero(void) { return vdupq_n_u8(0); }
WSFAST_OP v16 v_all8(uint8_t byte) { return vdupq_n_u8(byte); }
WSFAST_OP v16 v_all16(uint16_t unit) { return V_FROM16(vdupq_n_u16(unit)); }
WSFAST_OP v16 v_all32(uint32_t unit) { return V_FROM32(vdupq_n_u32(unit)); }
WSFAST_OP v16 v_and(v16 a, v16 b) { return vandq_u8(a, b); }
WSFAST_OP v16 v_or(v16 a, v16 b) { return vorrq_u8(a, b); }
WSFAST_OP v16 v_xor(v16 a, v16 b) { return veorq_u8(a, b); }
WSFAST_OP v16 v_select(v16 a, v16 b, v16 mask) { return vbslq_u8(mask, b, a); }
WSFAST_OP int v_any(v16 v) { return vmaxvq_u32(V_AS32(v)) != 0; }
WSFAST_OP v16 v_shuffle(v16 table, v16 numbers) { return vqtbl1q_u8(table, numbers); }
WSFAST_OP v16 v_high_half(v16 v) { return vextq_u8(v, vdupq_n_u8(0), 8); }
#define v_before(v, previous, n) vextq_u8(previous, v, 16 - (n))
WSFAST_OP v16 v_add8(v16 a, v16 b) { return vaddq_u8(a, b); }
WSFAST_OP v16 v_sub8(v16 a, v16 b) { return vsubq_u8(a, b); }
WSFAST_OP v16 v_sub_to_zero8(v16 a, v16 b) { return vqsubq_u8(a, b); }
WSFAST_OP v16 v_max8(v16 a, v16 b) { return vmaxq_u8(a, b); }
WSFAST_OP v16 v_equal8(v16 a, v16 b) { return vceqq_u8(a, b); }
WSFAST_OP v16 v_tops8(v16 v) { return vcltzq_s8(vreinterpretq_s8_u8(v)); }
WSFAST_OP v16 v_continuations(v16 v) { return vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(-0x40)); }
WSFAST_OP v16 v_above8(v16 v, uint8_t byte) { return vcgtq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8((int8_t)byte)); }
WSFAST_OP v16 v_high_nibbles(v16 v) { return vshrq_n_u8(v, 4); }
WSFAST_OP unsigned v_lanes8(v16 v)
{
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t sums = vandq_u8(v_tops8(v), vld1q_u8(bits));
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    return vgetq_lane_u16(V_AS16(sums), 0);
}
WSFAST_OP unsigned v_lanes16(v16 a, v16 b)
{
    return v_lanes8(vcombine_u8(vmovn_u16(V_AS16(a)), vmovn_u16(V_AS16(b))));
}
WSFAST_OP v16 v_widen_low(v16 v) { return V_FROM16(vmovl_u8(vget_low_u8(v))); }
WSFAST_OP v16 v_widen_high(v16 v) { return V_FROM16(vmovl_high_u8(v)); }
WSFAST_OP v16 v_widen_low16(v16 v) { return V_FROM32(vmovl_u16(vget_low_u16(V_AS16(v)))); }
WSFAST_OP v16 v_widen_high16(v16 v) { return V_FROM32(vmovl_high_u16(V_AS16(v))); }
WSFAST_OP v16 v_narrow(v16 a, v16 b) { return vmovn_high_u16(vmovn_u16(V_AS16(a)), V_AS16(b)); }
WSFAST_OP v16 v_narrow32(v16 a, v16 b) { return V_FROM16(vmovn_high_u32(vmovn_u32(V_AS32(a)), V_AS32(b))); }
WSFAST_OP v16 v_narrow_masks(v16 a, v16 b) { return v_narrow32(a, b); }
#define v_shift_left16(v, n) V_FROM16(vshlq_n_u16(V_AS16(v), n))
#define v_shift_right16(v, n) V_FROM16(vshrq_n_u16(V_AS16(v), n))
#define v_shift_left32(v, n) V_FROM32(vshlq_n_u32(V_AS32(v), n))
#define v_shift_right32(v, n) V_FROM32(vshrq_n_u32(V_AS32(v), n))
#define v_word(v, n) vgetq_lane_u32(V_AS32(v), n)
WSFAST_OP v16 v_sub16(v16 a, v16 b) { return V_FROM16(vsubq_u16(V_AS16(a), V_AS16(b))); }
WSFAST_OP v16 v_sub32(v16 a, v16 b) { return V_FROM32(vsubq_u32(V_AS32(a), V_AS32(b))); }
WSFAST_OP v16 v_equal16(v16 a, v16 b) { return V_FROM16(vceqq_u16(V_AS16(a), V_AS16(b))); }
WSFAST_OP v16 v_equal32(v16 a, v16 b) { return V_FROM32(vceqq_u32(V_AS32(a), V_AS32(b))); }
WSFAST_OP v16 v_at_least16(v16 a, v16 b) { return V_FROM16(vcgeq_u16(V_AS16(a), V_AS16(b))); }
WSFAST_OP v16 v_at_least32(v16 a, uint32_t b) { return V_FROM32(vcgeq_u32(V_AS32(a), vdupq_n_u32(b))); }
WSFAST_OP v16 v_zip_low8(v16 a, v16 b) { return vzip1q_u8(a, b); }
WSFAST_OP v16 v_zip_high8(v16 a, v16 b) { return vzip2q_u8(a, b); }
WSFAST_OP v16 v_zip_low16(v16 a, v16 b) { return V_FROM16(vzip1q_u16(V_AS16(a), V_AS16(b))); }
WSFAST_OP v16 v_zip_high16(v16 a, v16 b) { return V_FROM16(vzip2q_u16(V_AS16(a), V_AS16(b))); }
WSFAST_OP uint8_t v_highest8(v16 v) { return vmaxvq_u8(v); }
WSFAST_OP size_t v_sum8(v16 v) { return vaddlvq_u8(v); }
WSFAST_OP size_t v_sum16(v16 v) { return vaddlvq_u16(V_AS16(v)); }
WSFAST_OP size_t v_sum32(v16 v) { return (size_t)vaddlvq_u32(V_AS32(v)); }
WSFAST_OP unsigned v_n_lanes(unsigned lanes)
{
    return vaddlv_u8(vcnt_u8(vreinterpret_u8_u32(vdup_n_u32(lanes)))) / 2;
}

#endif

/* Bytes squeezed together, in two vectors: `n_low` in the first, the rest of `n` in the second; zeroes behind. */
typedef struct {
    v16 low, high;
    unsigned n_low, n;
} shuffle_bytes;

/* Write the first `n` of them, and not one more. */
WSFAST_OP void shuffle_put(uint8_t *to, shuffle_bytes bytes, size_t n)
{
    /* The last 16, and the first ones. */
    const size_t n_high = n > bytes.n_low ? n - bytes.n_low : 0;
    const v16 last = v_or(
        v_shuffle(bytes.low, v_load(wsfast_window + n)), v_shuffle(bytes.high, v_load(wsfast_window + n_high)));
    const v16 first = v_or(bytes.low, v_shuffle(bytes.high, v_load(wsfast_window + 16 - bytes.n_low)));
    if (n >= 16) {
        v_store(to, first);
        v_store(to + n - 16, last);
    } else if (n >= 8) {
        v_store_half(to, first);
        v_store_half(to + n - 8, v_high_half(last));
    } else if (n >= 4) {
        wsfast_store32(to, v_word(first, 0));
        wsfast_store32(to + n - 4, v_word(last, 3));
    } else {
        for (uint32_t word = v_word(first, 0); n; n--, word >>= 8)
            *to++ = (uint8_t)word;
    }
}

#endif
