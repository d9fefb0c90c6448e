/* The text kernels of x86-64 by AVX2: those of shuffle.h, and what gains by 32 bytes. */
#include "text_levels.h"

#if WSFAST_X86

#define WSFAST_TARGET WSFAST_TARGET_FOR("avx2,popcnt")
#include "from_units.h"
#include "to_units.h"

static WSFAST_TARGET int measure_avx2(const uint8_t *text, size_t size, wsfast_measure *measure)
{
    const __m256i first_high = _mm256_broadcastsi128_si256(v_load(wsfast_pair_errors[0]));
    const __m256i first_low = _mm256_broadcastsi128_si256(v_load(wsfast_pair_errors[1]));
    const __m256i second_high = _mm256_broadcastsi128_si256(v_load(wsfast_pair_errors[2]));
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    __m256i errors = _mm256_setzero_si256(), max = errors;
    size_t n_continuations = 0;
    for (size_t pos = 0; pos < size + 3; pos += 32) {
        const __m256i input = _mm256_loadu_si256((const __m256i *)(const void *)(text + pos));
        const __m256i before1 = _mm256_loadu_si256((const __m256i *)(const void *)(text + pos - 1));
        const __m256i before2 = _mm256_loadu_si256((const __m256i *)(const void *)(text + pos - 2));
        const __m256i before3 = _mm256_loadu_si256((const __m256i *)(const void *)(text + pos - 3));
        const __m256i special = _mm256_and_si256(
            _mm256_and_si256(
                _mm256_shuffle_epi8(first_high, _mm256_and_si256(_mm256_srli_epi16(before1, 4), nibble)),
                _mm256_shuffle_epi8(first_low, _mm256_and_si256(before1, nibble))),
            _mm256_shuffle_epi8(second_high, _mm256_and_si256(_mm256_srli_epi16(input, 4), nibble)));
        const __m256i third = _mm256_subs_epu8(before2, _mm256_set1_epi8(0xE0 - 0x80));
        const __m256i fourth = _mm256_subs_epu8(before3, _mm256_set1_epi8(0xF0 - 0x80));
        const __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
        errors = _mm256_or_si256(errors, _mm256_xor_si256(due, special));
        max = _mm256_max_epu8(max, input);
        n_continuations += v_n_lanes((uint32_t)_mm256_movemask_epi8(
            _mm256_cmpgt_epi8(_mm256_set1_epi8((char)0xC0), input)));
    }
    const uint8_t max0 = v_highest8(_mm_max_epu8(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1)));
    if (max0 > measure->max_byte)
        measure->max_byte = max0;
    measure->n_chars += size - n_continuations;
    return _mm256_testz_si256(errors, errors);
}

static WSFAST_TARGET size_t to_ucs2_avx2(const uint8_t *text, size_t size, uint16_t *units, size_t room)
{
    uint16_t *const start = units, *const end = units + room;
    const __m256i low6 = _mm256_set1_epi16(0x3F);
    for (size_t pos = 0; pos < size; pos += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + pos));
        unsigned keep = ~(unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(_mm_set1_epi8((char)0xC0), bytes)) & 0xFFFF;
        if (size - pos < 16)
            keep &= (1u << (size - pos)) - 1;
        const __m256i b0 = _mm256_cvtepu8_epi16(bytes);
        const __m256i b1 = _mm256_and_si256(
            _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(text + pos + 1))), low6);
        const __m256i b2 = _mm256_and_si256(
            _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(text + pos + 2))), low6);
        const __m256i two = _mm256_cmpgt_epi16(b0, _mm256_set1_epi16(0xBF));
        const __m256i three = _mm256_cmpgt_epi16(b0, _mm256_set1_epi16(0xDF));
        const __m256i pair = _mm256_or_si256(_mm256_slli_epi16(b0, 6), b1);
        __m256i unit = _mm256_blendv_epi8(b0, _mm256_and_si256(pair, _mm256_set1_epi16(0x7FF)), two);
        unit = _mm256_blendv_epi8(unit, _mm256_or_si256(_mm256_slli_epi16(pair, 6), b2), three);
        const unsigned low = keep & 0xFF, n_low = v_n_lanes(low), n = v_n_lanes(keep);
        const __m128i first = _mm_shuffle_epi8(
            _mm256_castsi256_si128(unit), _mm_loadu_si128((const __m128i *)(const void *)wsfast_pack16[low]));
        const __m128i second = _mm_shuffle_epi8(
            _mm256_extracti128_si256(unit, 1), _mm_loadu_si128((const __m128i *)(const void *)wsfast_pack16[keep >> 8]));
        uint16_t packed[24];
        uint16_t *const to = end - units >= 16 ? units : packed;
        _mm_storeu_si128((__m128i *)(void *)to, first);
        _mm_storeu_si128((__m128i *)(void *)(to + n_low), second);
        if (to == packed)
            memcpy(units, packed, n * sizeof *packed);
        units += n;
    }
    return (size_t)(units - start);
}

const wsfast_text_kernels wsfast_text_avx2 = {
    "avx2", measure_avx2, shuffle_to_ucs1, to_ucs2_avx2, shuffle_to_ucs4,
    shuffle_ucs1_size, shuffle_ucs2_size, shuffle_ucs4_size, shuffle_from_ucs1, shuffle_from_ucs2, shuffle_from_ucs4, NULL};

#else
typedef int wsfast_nothing_here; /* a file must not be empty */
#endif
