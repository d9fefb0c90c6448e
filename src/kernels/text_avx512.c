/* The text kernels of x86-64 by AVX-512 with VBMI2 (contracts in text.h): Ice Lake, Zen 4 and later.
 *
 * Characters become units, and units bytes, without a branch on what they are, ASCII apart. To units: in every lane the
 * unit that would begin there is computed from this byte and the next ones, and the lanes that begin no character are
 * squeezed out. From units: every unit becomes as many bytes as any could have, and those it does not have are.
 * VPCOMPRESS goes through a register, as writing to memory it is slow on Zen 4.
 */
#include "text_levels.h"

#if WSFAST_X86

#define TARGET WSFAST_TARGET_FOR("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx2,popcnt,bmi2")
#if WSFAST_MSVC
#define POPCOUNT(mask) ((unsigned)_mm_popcnt_u64(mask))
#else
#define POPCOUNT(mask) ((unsigned)__builtin_popcountll(mask))
#endif

static inline TARGET __m512i repeated(const uint8_t *table)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
}

/* A masked access beside a page that is not there, or was not written yet, takes some 300 ns (Zen 4), though it does
 * not touch that page. So near the end of a page short texts, and the ends of others, are left to SSE4.1. The rest
 * goes by way of a buffer, where each call can pay for one on its stack. */
static inline int ends_near(const void *address)
{
    return ((uintptr_t)address & 4095) > 4096 - 64;
}

/* The first `n` bytes there, of at most 64, and zeroes. */
static inline TARGET __m512i get(const void *from, size_t n)
{
    if (n >= 64)
        return _mm512_loadu_si512(from);
    if (ends_near(from)) {
        uint8_t bytes[64] = {0};
        memcpy(bytes, from, n);
        return _mm512_loadu_si512(bytes);
    }
    return _mm512_maskz_loadu_epi8(_bzhi_u64(~UINT64_C(0), (unsigned)n), from);
}

/* The first `n` bytes of the vector; there is `room` for at least as many. */
static inline TARGET void put(void *to, size_t room, __m512i vector, unsigned n)
{
    if (room >= 64) {
        _mm512_storeu_si512(to, vector);
    } else if (!ends_near(to)) {
        _mm512_mask_storeu_epi8(to, _bzhi_u64(~UINT64_C(0), n), vector);
    } else {
        uint8_t bytes[64];
        _mm512_storeu_si512(bytes, vector);
        memcpy(to, bytes, n);
    }
}

/* The same, but no more bytes than there is room for, and not near the end of a page. Returns how many. */
static inline TARGET unsigned put_fitting(void *to, size_t room, __m512i vector, unsigned n)
{
    if (room >= 64) {
        _mm512_storeu_si512(to, vector);
        return n;
    }
    const uint64_t all = ~UINT64_C(0);
    _mm512_mask_storeu_epi8(to, _bzhi_u64(all, n) & _bzhi_u64(all, (unsigned)room), vector);
    return wsfast_fitting(n, room);
}

/* --- to units --- */

/* The faults in the bytes of `input`, given those 1, 2 and 3 places before each. A lane without a fault is 0. */
static inline TARGET __m512i find_errors(__m512i input, __m512i before1, __m512i before2, __m512i before3)
{
    const __m512i nibble = _mm512_set1_epi8(0x0F);
    const __m512i first_high = _mm512_and_si512(_mm512_srli_epi16(before1, 4), nibble);
    const __m512i first_low = _mm512_and_si512(before1, nibble);
    const __m512i second_high = _mm512_and_si512(_mm512_srli_epi16(input, 4), nibble);
    const __m512i special = _mm512_ternarylogic_epi64(
        _mm512_shuffle_epi8(repeated(wsfast_pair_errors[0]), first_high),
        _mm512_shuffle_epi8(repeated(wsfast_pair_errors[1]), first_low),
        _mm512_shuffle_epi8(repeated(wsfast_pair_errors[2]), second_high), 0x80);
    const __m512i third = _mm512_subs_epu8(before2, _mm512_set1_epi8(0xE0 - 0x80));
    const __m512i fourth = _mm512_subs_epu8(before3, _mm512_set1_epi8(0xF0 - 0x80));
    const __m512i due = _mm512_and_si512(_mm512_or_si512(third, fourth), _mm512_set1_epi8((char)0x80));
    return _mm512_xor_si512(due, special);
}

static inline TARGET unsigned count_continuations(__m512i input)
{
    /* Below 0xC0 as signed bytes: 0x80 to 0xBF. */
    return POPCOUNT(_mm512_cmplt_epi8_mask(input, _mm512_set1_epi8((char)0xC0)));
}

static inline TARGET uint8_t kind_of(__m512i max)
{
    return _mm512_cmpge_epu8_mask(max, _mm512_set1_epi8((char)0xF0))   ? 0xF0
           : _mm512_cmpge_epu8_mask(max, _mm512_set1_epi8((char)0xC4)) ? 0xC4
           : _mm512_movepi8_mask(max)                                  ? 0x80
                                                                       : 0;
}

static TARGET int measure(const uint8_t *text, size_t size, wsfast_measure *result)
{
    __m512i errors = _mm512_setzero_si512(), max = errors;
    size_t n_continuations = 0;
    /* The zeroes after the text make a character that is cut off there too short: so look 3 bytes beyond. */
    for (size_t pos = 0; pos < size + 3; pos += 64) {
        const __m512i input = _mm512_loadu_si512(text + pos);
        const __m512i found = find_errors(
            input, _mm512_loadu_si512(text + pos - 1), _mm512_loadu_si512(text + pos - 2),
            _mm512_loadu_si512(text + pos - 3));
        errors = _mm512_or_si512(errors, found);
        max = _mm512_max_epu8(max, input);
        n_continuations += count_continuations(input);
    }
    const uint8_t max_byte = kind_of(max);
    if (max_byte > result->max_byte)
        result->max_byte = max_byte;
    result->n_chars += size - n_continuations;
    return _mm512_test_epi8_mask(errors, errors) == 0;
}

/* The bytes n places before those of `input`, which follow those of `previous`. */
#define BEFORE(input, previous, n) \
    _mm512_alignr_epi8(input, _mm512_alignr_epi64(input, previous, 6), 16 - (n))

static TARGET int unmask_and_measure(
    uint8_t *text, const uint8_t *payload, size_t size, uint32_t masking_key, wsfast_measure *result)
{
    if (ends_near(payload + size - size % 64))
        return wsfast_text_sse4.unmask_and_measure(text, payload, size, masking_key, result);
    const __m512i key = _mm512_set1_epi32((int)masking_key);
    __m512i errors = _mm512_setzero_si512(), max = errors, previous = errors;
    size_t n_continuations = 0;
    for (size_t pos = 0; pos < size; pos += 64) {
        const size_t n = size - pos;
        const __mmask64 here = n < 64 ? _bzhi_u64(~UINT64_C(0), (unsigned)n) : ~UINT64_C(0);
        const __m512i input = _mm512_maskz_mov_epi8(
            here, _mm512_xor_si512(_mm512_maskz_loadu_epi8(here, payload + pos), key));
        _mm512_storeu_si512(text + pos, input);
        /* In registers: loading stored bytes again would wait for the store. */
        const __m512i found = find_errors(
            input, BEFORE(input, previous, 1), BEFORE(input, previous, 2), BEFORE(input, previous, 3));
        errors = _mm512_or_si512(errors, found);
        max = _mm512_max_epu8(max, input);
        n_continuations += count_continuations(input);
        previous = input;
    }
    result->max_byte = kind_of(max);
    result->n_chars = size - n_continuations;
    /* Nothing may follow that a character cut off at the end would be too short for: 110xxxxx, 1110xxxx, 11110xxx. */
    return _mm512_test_epi8_mask(errors, errors) == 0 && text[size - 1] < 0xC0 &&
           (size < 2 || text[size - 2] < 0xE0) && (size < 3 || text[size - 3] < 0xF0);
}

static TARGET size_t to_ucs1(const uint8_t *text, size_t size, uint8_t *units, size_t room)
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
        const size_t n_left = (size_t)(end - units);
        if (n_left < 64 && ends_near(units))
            return (size_t)(units - start) + wsfast_text_sse4.to_ucs1(text + pos, size - pos, units, n_left);
        units += put_fitting(units, n_left, _mm512_maskz_compress_epi8(keep, unit), POPCOUNT(keep));
    }
    return (size_t)(units - start);
}

static TARGET size_t to_ucs2(const uint8_t *text, size_t size, uint16_t *units, size_t room)
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
        const size_t n_left = (size_t)(end - units);
        if (n_left < 32 && ends_near(units))
            return (size_t)(units - start) + wsfast_text_sse4.to_ucs2(text + pos, size - pos, units, n_left);
        units += put_fitting(units, 2 * n_left, _mm512_maskz_compress_epi16(keep, unit), 2 * POPCOUNT(keep)) / 2;
    }
    return (size_t)(units - start);
}

/* The characters of 16 lanes, each 4 bytes from its first byte on, the first on top. */
static inline TARGET __m512i decode_lanes(__m512i bytes)
{
    /* By the first nibble: the bits that count, when the last byte of the character has come down to the bottom. */
    const __m512i bits = _mm512_setr_epi32(
        0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0, 0, 0, 0, 0x1F3F, 0x1F3F, 0x0F3F3F, 0x073F3F3F);
    const __m512i shifts = _mm512_setr_epi32(24, 24, 24, 24, 24, 24, 24, 24, 0, 0, 0, 0, 16, 16, 8, 0);
    const __m512i nibble = _mm512_srli_epi32(bytes, 28);
    const __m512i fields = _mm512_and_si512(
        _mm512_srlv_epi32(bytes, _mm512_permutexvar_epi32(nibble, shifts)), _mm512_permutexvar_epi32(nibble, bits));
    /* 4 fields of 6 bits: the higher one of two times 0x40, then the higher pair times 0x1000 */
    const __m512i pairs = _mm512_maddubs_epi16(fields, _mm512_set1_epi32(0x40014001));
    return _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x10000001));
}

static TARGET size_t to_ucs4(const uint8_t *text, size_t size, uint32_t *units, size_t room)
{
    uint32_t *const start = units, *const end = units + room;
    const __m512i places = _mm512_set_epi8(
        63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36,
        35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8,
        7, 6, 5, 4, 3, 2, 1, 0);
    /* Each of 4 numbers four times, in each quarter those of its own. */
    const __m512i fourfold = _mm512_set_epi32(
        0x0F0F0F0F, 0x0E0E0E0E, 0x0D0D0D0D, 0x0C0C0C0C, 0x0B0B0B0B, 0x0A0A0A0A, 0x09090909, 0x08080808,
        0x07070707, 0x06060606, 0x05050505, 0x04040404, 0x03030303, 0x02020202, 0x01010101, 0x00000000);
    for (size_t pos = 0; pos < size;) {
        const __m512i bytes = _mm512_loadu_si512(text + pos);
        if (!(uint32_t)_mm512_movepi8_mask(bytes) && end - units >= 32 && size - pos >= 32) {
            _mm512_storeu_si512(units, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes)));
            _mm512_storeu_si512(units + 16, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 1)));
            units += 32;
            pos += 32;
            continue;
        }
        /* Of 64 bytes those that begin a character which ends in them. */
        const size_t n_bytes = size - pos < 61 ? size - pos : 61;
        const __mmask64 leads = _mm512_cmpge_epi8_mask(bytes, _mm512_set1_epi8((char)0xC0));
        const __mmask64 keep = _bzhi_u64(leads, (unsigned)n_bytes);
        __m512i firsts = _mm512_maskz_compress_epi8(keep, places);
        for (int n = (int)POPCOUNT(keep); n > 0; n -= 16) {
            const __m512i four = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm512_castsi512_si128(firsts)), fourfold);
            const __m512i numbers = _mm512_add_epi8(four, _mm512_set1_epi32(0x00010203));
            const __m512i unit = decode_lanes(_mm512_permutexvar_epi8(numbers, bytes));
            const unsigned n_here = wsfast_fitting(n < 16 ? (unsigned)n : 16, (size_t)(end - units));
            put(units, (size_t)(end - units) * 4, unit, n_here * 4);
            units += n_here;
            firsts = _mm512_alignr_epi64(firsts, firsts, 2);
        }
        pos += 61;
    }
    return (size_t)(units - start);
}

/* --- from units: the size --- */

static TARGET size_t ucs1_size(const uint8_t *units, size_t n_units)
{
    size_t size = n_units;
    if (n_units < 64 && ends_near(units))
        return wsfast_text_sse4.ucs1_size(units, n_units);
    for (size_t pos = 0; pos < n_units; pos += 64) {
        size += POPCOUNT(_mm512_movepi8_mask(get(units + pos, n_units - pos)));
    }
    return size;
}

static TARGET size_t ucs2_size(const uint16_t *units, size_t n_units)
{
    size_t size = n_units;
    if (n_units < 32 && ends_near(units))
        return wsfast_text_sse4.ucs2_size(units, n_units);
    __mmask32 surrogates = 0;
    for (size_t pos = 0; pos < n_units; pos += 32) {
        const __m512i unit = get(units + pos, 2 * (n_units - pos));
        const __m512i above = _mm512_and_si512(unit, _mm512_set1_epi16((short)0xF800));
        const __mmask32 two = _mm512_test_epi16_mask(unit, _mm512_set1_epi16((short)0xFF80));
        const __mmask32 three = _mm512_test_epi16_mask(above, above);
        size += POPCOUNT((uint64_t)two << 32 | three);
        surrogates |= _mm512_cmpeq_epi16_mask(above, _mm512_set1_epi16((short)0xD800));
    }
    return surrogates ? WSFAST_SURROGATE : size;
}

static TARGET size_t ucs4_size(const uint32_t *units, size_t n_units)
{
    size_t size = n_units;
    if (n_units < 16 && ends_near(units))
        return wsfast_text_sse4.ucs4_size(units, n_units);
    __mmask16 surrogates = 0;
    for (size_t pos = 0; pos < n_units; pos += 16) {
        const __m512i unit = get(units + pos, 4 * (n_units - pos));
        const uint64_t two = _mm512_cmpge_epu32_mask(unit, _mm512_set1_epi32(0x80));
        const uint64_t three = _mm512_cmpge_epu32_mask(unit, _mm512_set1_epi32(0x800));
        const uint64_t four = _mm512_cmpge_epu32_mask(unit, _mm512_set1_epi32(0x10000));
        size += POPCOUNT(two | three << 16 | four << 32);
        surrogates |= _mm512_cmpeq_epi32_mask(_mm512_srli_epi32(unit, 11), _mm512_set1_epi32(0xD800 >> 11));
    }
    return surrogates ? WSFAST_SURROGATE : size;
}

/* --- from units: the bytes --- */

static TARGET void from_ucs1(const uint8_t *units, size_t n_units, uint8_t *text, size_t size)
{
    const uint8_t *const end = text + size;
    if (size < 64 && (ends_near(units) || ends_near(text))) {
        wsfast_text_sse4.from_ucs1(units, n_units, text, size);
        return;
    }
    for (size_t pos = 0; pos < n_units;) {
        const unsigned n = n_units - pos < 64 ? (unsigned)(n_units - pos) : 64;
        const __m512i narrow = get(units + pos, n);
        if (!_mm512_movepi8_mask(narrow)) {
            put(text, (size_t)(end - text), narrow, n);
            text += n;
            pos += n;
            continue;
        }
        for (int half = 0; half < 2 && pos < n_units; half++, pos += 32) {
            const __m512i unit = _mm512_cvtepu8_epi16(
                half ? _mm512_extracti64x4_epi64(narrow, 1) : _mm512_castsi512_si256(narrow));
            /* 1xyyyyyy: 1100001x 10yyyyyy, and no first byte for 0yyyyyyy */
            const __mmask32 two = _mm512_test_epi16_mask(unit, _mm512_set1_epi16(0x80));
            const __m512i second = _mm512_slli_epi16(unit, 8);
            const __m512i first = _mm512_or_si512(_mm512_srli_epi16(unit, 6), _mm512_set1_epi16(0xC0));
            /* first | (second & 0xBF00) */
            const __m512i bytes = _mm512_mask_blend_epi16(
                two, second, _mm512_ternarylogic_epi64(first, second, _mm512_set1_epi16((short)0xBF00), 0xF8));
            const unsigned n_here = n_units - pos < 32 ? (unsigned)(n_units - pos) : 32;
            __mmask64 keep = _mm512_movepi8_mask(bytes) | UINT64_C(0xAAAAAAAAAAAAAAAA);
            keep = _bzhi_u64(keep, 2 * n_here);
            put(text, (size_t)(end - text), _mm512_maskz_compress_epi8(keep, bytes), POPCOUNT(keep));
            text += POPCOUNT(keep);
        }
    }
}

/* Write up to 16 units in lanes of 32 bits; `four`: some may be beyond U+FFFF. Returns the end of their bytes. */
static inline TARGET uint8_t *put_characters(uint8_t *to, const uint8_t *end, __m512i unit, unsigned n_units, int four)
{
    /* Of each lane 8 bits from bit 18 on, from 12, 6 and 0; in pairs of lanes. */
    const __m512i bits = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x20262C3200060C12), unit);
    const __mmask16 not_ascii = _mm512_cmpge_epu32_mask(unit, _mm512_set1_epi32(0x80));
    /* Their last bytes: 110xxxxx 10xxxxxx; 1110xxxx 10xxxxxx 10xxxxxx; 11110xxx 10xxxxxx 10xxxxxx 10xxxxxx */
    __m512i marks = _mm512_mask_mov_epi32(
        _mm512_set1_epi32((int)0x80C00000), _mm512_cmpge_epu32_mask(unit, _mm512_set1_epi32(0x800)),
        _mm512_set1_epi32((int)0x8080E000));
    if (four)
        marks = _mm512_mask_mov_epi32(
            marks, _mm512_cmpge_epu32_mask(unit, _mm512_set1_epi32(0x10000)), _mm512_set1_epi32((int)0x808080F0));
    /* bits & 0x3F | marks; ASCII is in its last byte as it is */
    const __m512i bytes = _mm512_mask_ternarylogic_epi32(bits, not_ascii, _mm512_set1_epi8(0x3F), marks, 0xEA);
    /* Kept are the last byte, and those that have got a mark. */
    const __mmask64 keep =
        _bzhi_u64(_mm512_movepi8_mask(bytes) | UINT64_C(0x8888888888888888), 4 * n_units);
    put(to, (size_t)(end - to), _mm512_maskz_compress_epi8(keep, bytes), POPCOUNT(keep));
    return to + POPCOUNT(keep);
}

static TARGET void from_ucs2(const uint16_t *units, size_t n_units, uint8_t *text, size_t size)
{
    const uint8_t *const end = text + size;
    if (size < 64 && (ends_near(units) || ends_near(text))) {
        wsfast_text_sse4.from_ucs2(units, n_units, text, size);
        return;
    }
    for (size_t pos = 0; pos < n_units; pos += 32) {
        const unsigned n = n_units - pos < 32 ? (unsigned)(n_units - pos) : 32;
        const __m512i unit = get(units + pos, n * 2);
        if (!_mm512_test_epi16_mask(unit, _mm512_set1_epi16((short)0xFF80))) {
            put(text, (size_t)(end - text), _mm512_zextsi256_si512(_mm512_cvtepi16_epi8(unit)), n);
            text += n;
            continue;
        }
        text = put_characters(text, end, _mm512_cvtepu16_epi32(_mm512_castsi512_si256(unit)), n < 16 ? n : 16, 0);
        if (n > 16)
            text = put_characters(text, end, _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(unit, 1)), n - 16, 0);
    }
}

static TARGET void from_ucs4(const uint32_t *units, size_t n_units, uint8_t *text, size_t size)
{
    const uint8_t *const end = text + size;
    if (size < 64 && (ends_near(units) || ends_near(text))) {
        wsfast_text_sse4.from_ucs4(units, n_units, text, size);
        return;
    }
    for (size_t pos = 0; pos < n_units; pos += 16) {
        const unsigned n = n_units - pos < 16 ? (unsigned)(n_units - pos) : 16;
        const __m512i unit = get(units + pos, n * 4);
        text = put_characters(text, end, unit, n, 1);
    }
}

const wsfast_text_kernels wsfast_text_avx512 = {
    "avx512", measure, to_ucs1, to_ucs2, to_ucs4,
    ucs1_size, ucs2_size, ucs4_size, from_ucs1, from_ucs2, from_ucs4, unmask_and_measure};

#else
typedef int wsfast_nothing_here; /* a file must not be empty */
#endif
