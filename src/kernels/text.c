/* The text kernels of x86-64 (contracts in text.h): AVX2, and AVX-512 with VBMI2, chosen when the module is loaded.
 *
 * Characters become units without a branch on what they are: in every lane the unit that would begin there is
 * computed from this byte and the next ones, and the lanes that begin no character are squeezed out.
 */
#include "text.h"

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(_MSC_VER))
#define WSFAST_X86 1
#else
#define WSFAST_X86 0
#endif

#if WSFAST_X86

#include <immintrin.h>

#ifdef _MSC_VER
#include <intrin.h>
#define WSFAST_AVX2
#define WSFAST_AVX512
#define WSFAST_POPCOUNT(mask) ((unsigned)_mm_popcnt_u64(mask))
#else
#define WSFAST_AVX2 __attribute__((target("avx2,popcnt")))
#define WSFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx2,popcnt,bmi2")))
#define WSFAST_POPCOUNT(mask) ((unsigned)__builtin_popcountll(mask))
#endif

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

#define WSFAST_FIRST_HIGH \
    TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, \
    (char)TWO_CONTS, (char)TWO_CONTS, (char)TWO_CONTS, (char)TWO_CONTS, \
    TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE, \
    TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4
#define WSFAST_FIRST_LOW \
    (char)(CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), (char)(CARRY | OVERLONG_2), (char)CARRY, (char)CARRY, \
    (char)(CARRY | TOO_LARGE), (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), \
    (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), \
    (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), \
    (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), \
    (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), (char)(CARRY | TOO_LARGE | TOO_LARGE_1000 | SURROGATE), \
    (char)(CARRY | TOO_LARGE | TOO_LARGE_1000), (char)(CARRY | TOO_LARGE | TOO_LARGE_1000)
#define WSFAST_SECOND_HIGH \
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, \
    (char)(TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4), \
    (char)(TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE), \
    (char)(TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE), \
    (char)(TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE), \
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT

/* --- AVX-512 with VBMI2 --- */

static WSFAST_AVX512 int measure_avx512(const uint8_t *text, size_t size, wsfast_measure *measure)
{
    const __m512i first_high = _mm512_broadcast_i32x4(_mm_setr_epi8(WSFAST_FIRST_HIGH));
    const __m512i first_low = _mm512_broadcast_i32x4(_mm_setr_epi8(WSFAST_FIRST_LOW));
    const __m512i second_high = _mm512_broadcast_i32x4(_mm_setr_epi8(WSFAST_SECOND_HIGH));
    const __m512i nibble = _mm512_set1_epi8(0x0F);
    __m512i errors = _mm512_setzero_si512(), max = errors;
    size_t n_continuations = 0;
    /* The zeroes after the text make a character that is cut off there too short: so look 3 bytes beyond. */
    for (size_t pos = 0; pos < size + 3; pos += 64) {
        const __m512i input = _mm512_loadu_si512(text + pos);
        const __m512i before1 = _mm512_loadu_si512(text + pos - 1);
        const __m512i before2 = _mm512_loadu_si512(text + pos - 2);
        const __m512i before3 = _mm512_loadu_si512(text + pos - 3);
        const __m512i special = _mm512_ternarylogic_epi64(
            _mm512_shuffle_epi8(first_high, _mm512_and_si512(_mm512_srli_epi16(before1, 4), nibble)),
            _mm512_shuffle_epi8(first_low, _mm512_and_si512(before1, nibble)),
            _mm512_shuffle_epi8(second_high, _mm512_and_si512(_mm512_srli_epi16(input, 4), nibble)), 0x80);
        const __m512i third = _mm512_subs_epu8(before2, _mm512_set1_epi8(0xE0 - 0x80));
        const __m512i fourth = _mm512_subs_epu8(before3, _mm512_set1_epi8(0xF0 - 0x80));
        const __m512i due = _mm512_and_si512(_mm512_or_si512(third, fourth), _mm512_set1_epi8((char)0x80));
        errors = _mm512_or_si512(errors, _mm512_xor_si512(due, special));
        max = _mm512_max_epu8(max, input);
        /* Below 0xC0 as signed bytes: 0x80 to 0xBF. */
        n_continuations += WSFAST_POPCOUNT(_mm512_cmplt_epi8_mask(input, _mm512_set1_epi8((char)0xC0)));
    }
    __m256i max2 = _mm256_max_epu8(_mm512_castsi512_si256(max), _mm512_extracti64x4_epi64(max, 1));
    __m128i max1 = _mm_max_epu8(_mm256_castsi256_si128(max2), _mm256_extracti128_si256(max2, 1));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 8));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 4));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 2));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 1));
    const uint8_t max0 = (uint8_t)_mm_cvtsi128_si32(max1);
    if (max0 > measure->max_byte)
        measure->max_byte = max0;
    measure->n_chars += size - n_continuations;
    return _mm512_test_epi8_mask(errors, errors) == 0;
}

static WSFAST_AVX512 size_t to_ucs1_avx512(const uint8_t *text, size_t size, uint8_t *units, size_t room)
{
    uint8_t *const start = units, *const end = units + room;
    for (size_t pos = 0; pos < size; pos += 64) {
        const __m512i lead = _mm512_loadu_si512(text + pos);
        const __m512i next = _mm512_loadu_si512(text + pos + 1);
        __mmask64 keep = _mm512_cmpge_epi8_mask(lead, _mm512_set1_epi8((char)0xC0));
        if (size - pos < 64)
            keep &= _bzhi_u64(~UINT64_C(0), (unsigned)(size - pos));
        /* 110000xx 10yyyyyy: 0xC2 leaves the second byte as it is, 0xC3 adds 0x40 to it */
        const __mmask64 is_c3 = _mm512_cmpeq_epi8_mask(lead, _mm512_set1_epi8((char)0xC3));
        __m512i unit = _mm512_mask_mov_epi8(lead, _mm512_movepi8_mask(lead), next);
        unit = _mm512_mask_add_epi8(unit, is_c3, next, _mm512_set1_epi8(0x40));
        const unsigned n = WSFAST_POPCOUNT(keep);
        const __m512i packed = _mm512_maskz_compress_epi8(keep, unit);
        if (end - units >= 64)
            _mm512_storeu_si512(units, packed);
        else
            _mm512_mask_storeu_epi8(units, _bzhi_u64(~UINT64_C(0), n), packed);
        units += n;
    }
    return (size_t)(units - start);
}

static WSFAST_AVX512 size_t to_ucs2_avx512(const uint8_t *text, size_t size, uint16_t *units, size_t room)
{
    uint16_t *const start = units, *const end = units + room;
    const __m512i low6 = _mm512_set1_epi16(0x3F);
    for (size_t pos = 0; pos < size; pos += 32) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(text + pos));
        __mmask32 keep = _mm256_cmpge_epi8_mask(bytes, _mm256_set1_epi8((char)0xC0));
        if (size - pos < 32)
            keep &= _bzhi_u32(~UINT32_C(0), (unsigned)(size - pos));
        const __m512i b0 = _mm512_cvtepu8_epi16(bytes);
        __m512i unit = b0;
        if (_mm256_movepi8_mask(bytes)) {
            const __m512i b1 = _mm512_and_si512(
                _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(text + pos + 1))), low6);
            const __m512i b2 = _mm512_and_si512(
                _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(text + pos + 2))), low6);
            const __mmask32 two = _mm512_cmpge_epu16_mask(b0, _mm512_set1_epi16(0xC0));
            const __mmask32 three = _mm512_cmpge_epu16_mask(b0, _mm512_set1_epi16(0xE0));
            /* 110xxxxx 10yyyyyy: xxxxxyyyyyy; 1110xxxx 10yyyyyy 10zzzzzz: xxxxyyyyyyzzzzzz */
            const __m512i pair = _mm512_or_si512(_mm512_slli_epi16(b0, 6), b1);
            unit = _mm512_mask_mov_epi16(unit, two, _mm512_and_si512(pair, _mm512_set1_epi16(0x7FF)));
            unit = _mm512_mask_mov_epi16(unit, three, _mm512_or_si512(_mm512_slli_epi16(pair, 6), b2));
        }
        const unsigned n = WSFAST_POPCOUNT(keep);
        const __m512i packed = _mm512_maskz_compress_epi16(keep, unit);
        if (end - units >= 32)
            _mm512_storeu_si512(units, packed);
        else
            _mm512_mask_storeu_epi16(units, _bzhi_u32(~UINT32_C(0), n), packed);
        units += n;
    }
    return (size_t)(units - start);
}

static WSFAST_AVX512 size_t to_ucs4_avx512(const uint8_t *text, size_t size, uint32_t *units, size_t room)
{
    uint32_t *const start = units, *const end = units + room;
    const __m512i low6 = _mm512_set1_epi32(0x3F);
    for (size_t pos = 0; pos < size; pos += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + pos));
        __mmask16 keep = _mm_cmpge_epi8_mask(bytes, _mm_set1_epi8((char)0xC0));
        if (size - pos < 16)
            keep &= (__mmask16)_bzhi_u32(0xFFFF, (unsigned)(size - pos));
        const __m512i b0 = _mm512_cvtepu8_epi32(bytes);
        __m512i unit = b0;
        if (_mm_movemask_epi8(bytes)) {
            const __m512i b1 = _mm512_and_si512(
                _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(text + pos + 1))), low6);
            const __m512i b2 = _mm512_and_si512(
                _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(text + pos + 2))), low6);
            const __m512i b3 = _mm512_and_si512(
                _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(text + pos + 3))), low6);
            const __mmask16 two = _mm512_cmpge_epu32_mask(b0, _mm512_set1_epi32(0xC0));
            const __mmask16 three = _mm512_cmpge_epu32_mask(b0, _mm512_set1_epi32(0xE0));
            const __mmask16 four = _mm512_cmpge_epu32_mask(b0, _mm512_set1_epi32(0xF0));
            const __m512i pair = _mm512_or_si512(_mm512_slli_epi32(b0, 6), b1);
            const __m512i triple = _mm512_or_si512(_mm512_slli_epi32(pair, 6), b2);
            const __m512i quad = _mm512_or_si512(_mm512_slli_epi32(triple, 6), b3);
            unit = _mm512_mask_and_epi32(unit, two, pair, _mm512_set1_epi32(0x7FF));
            unit = _mm512_mask_and_epi32(unit, three, triple, _mm512_set1_epi32(0xFFFF));
            unit = _mm512_mask_and_epi32(unit, four, quad, _mm512_set1_epi32(0x1FFFFF));
        }
        const unsigned n = WSFAST_POPCOUNT(keep);
        const __m512i packed = _mm512_maskz_compress_epi32(keep, unit);
        if (end - units >= 16)
            _mm512_storeu_si512(units, packed);
        else
            _mm512_mask_storeu_epi32(units, (__mmask16)_bzhi_u32(0xFFFF, n), packed);
        units += n;
    }
    return (size_t)(units - start);
}

static const wsfast_text_kernels avx512 = {"avx512", measure_avx512, to_ucs1_avx512, to_ucs2_avx512, to_ucs4_avx512};

/* --- AVX2: validation by 32 bytes, transcoding by 8 lanes that a table packs --- */

/* For each set of lanes to keep, the shuffle that brings them to the front: of bytes, and of 16-bit units. */
static uint8_t pack8[256][8], pack16[256][16];

static void fill_tables(void)
{
    for (unsigned keep = 0; keep < 256; keep++) {
        unsigned n = 0;
        for (unsigned lane = 0; lane < 8; lane++) {
            if (keep >> lane & 1) {
                pack8[keep][n] = (uint8_t)lane;
                pack16[keep][2 * n] = (uint8_t)(2 * lane);
                pack16[keep][2 * n + 1] = (uint8_t)(2 * lane + 1);
                n++;
            }
        }
    }
}

static WSFAST_AVX2 int measure_avx2(const uint8_t *text, size_t size, wsfast_measure *measure)
{
    const __m256i first_high = _mm256_broadcastsi128_si256(_mm_setr_epi8(WSFAST_FIRST_HIGH));
    const __m256i first_low = _mm256_broadcastsi128_si256(_mm_setr_epi8(WSFAST_FIRST_LOW));
    const __m256i second_high = _mm256_broadcastsi128_si256(_mm_setr_epi8(WSFAST_SECOND_HIGH));
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
        n_continuations += WSFAST_POPCOUNT((uint32_t)_mm256_movemask_epi8(
            _mm256_cmpgt_epi8(_mm256_set1_epi8((char)0xC0), input)));
    }
    __m128i max1 = _mm_max_epu8(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 8));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 4));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 2));
    max1 = _mm_max_epu8(max1, _mm_srli_si128(max1, 1));
    const uint8_t max0 = (uint8_t)_mm_cvtsi128_si32(max1);
    if (max0 > measure->max_byte)
        measure->max_byte = max0;
    measure->n_chars += size - n_continuations;
    return _mm256_testz_si256(errors, errors);
}

static WSFAST_AVX2 size_t to_ucs1_avx2(const uint8_t *text, size_t size, uint8_t *units, size_t room)
{
    uint8_t *const start = units, *const end = units + room;
    for (size_t pos = 0; pos < size; pos += 16) {
        const __m128i lead = _mm_loadu_si128((const __m128i *)(const void *)(text + pos));
        const unsigned high = (unsigned)_mm_movemask_epi8(lead);
        if (!high && size - pos >= 16 && end - units >= 16) {
            _mm_storeu_si128((__m128i *)(void *)units, lead);
            units += 16;
            continue;
        }
        const __m128i next = _mm_loadu_si128((const __m128i *)(const void *)(text + pos + 1));
        const __m128i is_c3 = _mm_cmpeq_epi8(lead, _mm_set1_epi8((char)0xC3));
        const __m128i unit = _mm_blendv_epi8(
            lead, _mm_add_epi8(next, _mm_and_si128(is_c3, _mm_set1_epi8(0x40))), lead);
        unsigned keep = ~(unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(_mm_set1_epi8((char)0xC0), lead)) & 0xFFFF;
        if (size - pos < 16)
            keep &= (1u << (size - pos)) - 1;
        uint8_t packed[24];
        const unsigned low = keep & 0xFF, n_low = WSFAST_POPCOUNT(low), n = WSFAST_POPCOUNT(keep);
        const __m128i shuffle_low = _mm_loadl_epi64((const __m128i *)(const void *)pack8[low]);
        const __m128i shuffle_high = _mm_loadl_epi64((const __m128i *)(const void *)pack8[keep >> 8]);
        uint8_t *const to = end - units >= 16 ? units : packed;
        _mm_storel_epi64((__m128i *)(void *)to, _mm_shuffle_epi8(unit, shuffle_low));
        _mm_storel_epi64(
            (__m128i *)(void *)(to + n_low), _mm_shuffle_epi8(_mm_srli_si128(unit, 8), shuffle_high));
        if (to == packed)
            memcpy(units, packed, n);
        units += n;
    }
    return (size_t)(units - start);
}

static WSFAST_AVX2 size_t to_ucs2_avx2(const uint8_t *text, size_t size, uint16_t *units, size_t room)
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
        const unsigned low = keep & 0xFF, n_low = WSFAST_POPCOUNT(low), n = WSFAST_POPCOUNT(keep);
        const __m128i first = _mm_shuffle_epi8(
            _mm256_castsi256_si128(unit), _mm_loadu_si128((const __m128i *)(const void *)pack16[low]));
        const __m128i second = _mm_shuffle_epi8(
            _mm256_extracti128_si256(unit, 1), _mm_loadu_si128((const __m128i *)(const void *)pack16[keep >> 8]));
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

/* No to_ucs4: of lanes of 32 bits there are too few for the table to pay. */
static const wsfast_text_kernels avx2 = {"avx2", measure_avx2, to_ucs1_avx2, to_ucs2_avx2, NULL};

/* --- choice --- */

static int has_avx2(void)
{
#ifdef _MSC_VER
    int leaf[4];
    __cpuid(leaf, 1);
    if (!(leaf[2] & 1 << 27) || !(leaf[2] & 1 << 23) || (_xgetbv(0) & 0x06) != 0x06) /* OSXSAVE, POPCNT; the OS keeps YMM */
        return 0;
    __cpuidex(leaf, 7, 0);
    return (leaf[1] & 1 << 5) != 0;
#else
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
#endif
}

static int has_avx512(void)
{
#ifdef _MSC_VER
    int leaf[4];
    if (!has_avx2() || (_xgetbv(0) & 0xE6) != 0xE6) /* the OS keeps ZMM and mask registers */
        return 0;
    __cpuidex(leaf, 7, 0);
    /* F, BW, VL, BMI2; VBMI, VBMI2 */
    return (leaf[1] & 1 << 16) && (leaf[1] & 1 << 30) && (leaf[1] & (int)(1u << 31)) && (leaf[1] & 1 << 8) &&
           (leaf[2] & 1 << 1) && (leaf[2] & 1 << 6);
#else
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi2") && has_avx2();
#endif
}

const wsfast_text_kernels *wsfast_choose_text_kernels(const char *at_most)
{
    if (at_most != NULL && strcmp(at_most, "avx512") != 0 && strcmp(at_most, "avx2") != 0)
        return NULL;
    fill_tables();
    if (has_avx512() && (at_most == NULL || strcmp(at_most, "avx512") == 0))
        return &avx512;
    return has_avx2() ? &avx2 : NULL;
}

#else

const wsfast_text_kernels *wsfast_choose_text_kernels(const char *at_most)
{
    (void)at_most;
    return NULL;
}

#endif
