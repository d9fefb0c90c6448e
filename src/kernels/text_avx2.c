/* The text kernels of x86-64 by AVX2: those of shuffle.h, and the parts that gain by 32 bytes. */
#include "text_levels.h"

#if WSFAST_X86

#define WSFAST_TARGET WSFAST_TARGET_FOR("avx2,popcnt")
#include "from_units.h"
#include "to_units.h"

static inline WSFAST_TARGET __m256i load(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline WSFAST_TARGET void store(void *to, __m256i vector)
{
    _mm256_storeu_si256((__m256i *)to, vector);
}

static inline WSFAST_TARGET __m256i repeated(const uint8_t *table)
{
    return _mm256_broadcastsi128_si256(v_load(table));
}

/* As shuffle_find_errors(). */
static inline WSFAST_TARGET __m256i find_errors(__m256i input, __m256i before1, __m256i before2, __m256i before3)
{
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    const __m256i first_high = _mm256_and_si256(_mm256_srli_epi16(before1, 4), nibble);
    const __m256i second_high = _mm256_and_si256(_mm256_srli_epi16(input, 4), nibble);
    const __m256i special = _mm256_and_si256(
        _mm256_and_si256(
            _mm256_shuffle_epi8(repeated(wsfast_pair_errors[0]), first_high),
            _mm256_shuffle_epi8(repeated(wsfast_pair_errors[1]), _mm256_and_si256(before1, nibble))),
        _mm256_shuffle_epi8(repeated(wsfast_pair_errors[2]), second_high));
    const __m256i third = _mm256_subs_epu8(before2, _mm256_set1_epi8(0xE0 - 0x80));
    const __m256i fourth = _mm256_subs_epu8(before3, _mm256_set1_epi8(0xF0 - 0x80));
    const __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(due, special);
}

static inline WSFAST_TARGET unsigned count_continuations(__m256i input)
{
    /* Below 0xC0 as signed bytes: 0x80 to 0xBF. */
    return v_n_lanes((unsigned)_mm256_movemask_epi8(_mm256_cmpgt_epi8(_mm256_set1_epi8((char)0xC0), input)));
}

static inline WSFAST_TARGET v16 max_of_halves(__m256i v)
{
    return _mm_max_epu8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

static WSFAST_TARGET int measure_avx2(const uint8_t *text, size_t size, wsfast_measure *measure)
{
    __m256i errors = _mm256_setzero_si256(), max = errors;
    size_t n_continuations = 0;
    /* The zeroes after the text make a character that is cut off there too short: so look 3 bytes beyond. */
    for (size_t pos = 0; pos < size + 3; pos += 32) {
        const __m256i input = load(text + pos);
        const __m256i found = find_errors(input, load(text + pos - 1), load(text + pos - 2), load(text + pos - 3));
        errors = _mm256_or_si256(errors, found);
        max = _mm256_max_epu8(max, input);
        n_continuations += count_continuations(input);
    }
    const uint8_t highest = v_highest8(max_of_halves(max));
    if (highest > measure->max_byte)
        measure->max_byte = highest;
    measure->n_chars += size - n_continuations;
    return _mm256_testz_si256(errors, errors);
}

/* The bytes n places before those of `input`; `across` is the second half of what came before, and its first half. */
#define BEFORE(input, across, n) _mm256_alignr_epi8(input, across, 16 - (n))

/* As shuffle_unmask_and_measure(), which does the end. */
static WSFAST_TARGET int unmask_and_measure_avx2(
    uint8_t *text, const uint8_t *payload, size_t size, uint32_t masking_key, wsfast_measure *measure)
{
    const __m256i key = _mm256_set1_epi32((int)masking_key);
    __m256i errors = _mm256_setzero_si256(), max = errors, previous = errors;
    shuffle_progress progress = {v_zero(), v_zero(), v_zero(), 0, 0};
    for (; size - progress.pos >= 32; progress.pos += 32) {
        const __m256i input = _mm256_xor_si256(load(payload + progress.pos), key);
        const __m256i across = _mm256_permute2x128_si256(previous, input, 0x21);
        store(text + progress.pos, input);
        const __m256i found =
            find_errors(input, BEFORE(input, across, 1), BEFORE(input, across, 2), BEFORE(input, across, 3));
        errors = _mm256_or_si256(errors, found);
        max = _mm256_max_epu8(max, input);
        progress.n_continuations += count_continuations(input);
        previous = input;
    }
    progress.errors = v_or(_mm256_castsi256_si128(errors), _mm256_extracti128_si256(errors, 1));
    progress.max = max_of_halves(max);
    progress.previous = _mm256_extracti128_si256(previous, 1);
    return shuffle_unmask_and_measure_rest(text, payload, size, v_all32(masking_key), progress, measure);
}

/* As shuffle_to_ucs2(), which does the end. */
static WSFAST_TARGET size_t to_ucs2_avx2(const uint8_t *text, size_t size, uint16_t *units, size_t room)
{
    uint16_t *const start = units, *const end = units + room;
    size_t pos = 0;
    for (; size - pos >= 32; pos += 32) {
        const __m256i byte0 = load(text + pos);
        if (!_mm256_movemask_epi8(byte0)) {
            if (end - units < 32)
                break;
            store(units, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(byte0)));
            store(units + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(byte0, 1)));
            units += 32;
            continue;
        }
        const unsigned keep = ~(unsigned)_mm256_movemask_epi8(_mm256_cmpgt_epi8(_mm256_set1_epi8((char)0xC0), byte0));
        const unsigned n1 = v_n_lanes(keep & 0xFF), n2 = v_n_lanes(keep & 0xFFFF), n3 = v_n_lanes(keep & 0xFFFFFF);
        if (end - units < (ptrdiff_t)(n3 + 8))
            break;
        const __m256i byte1 = load(text + pos + 1), byte2 = load(text + pos + 2);
        const __m256i not_ascii = _mm256_cmpgt_epi8(_mm256_setzero_si256(), byte0);
        const __m256i three = _mm256_cmpgt_epi8(byte0, _mm256_set1_epi8((char)0xDF)); /* or ASCII */
        const __m256i last = _mm256_blendv_epi8(byte1, byte2, three);
        const __m256i last_but_one = _mm256_blendv_epi8(byte0, byte1, three);
        const __m256i bottom = _mm256_or_si256(
            _mm256_and_si256(_mm256_slli_epi16(last_but_one, 6), _mm256_set1_epi8((char)0xC0)),
            _mm256_and_si256(last, _mm256_set1_epi8(0x3F)));
        const __m256i top2 = _mm256_and_si256(_mm256_srli_epi16(byte0, 2), _mm256_set1_epi8(0x07));
        const __m256i top3 = _mm256_or_si256(
            _mm256_and_si256(_mm256_slli_epi16(byte0, 4), _mm256_set1_epi8((char)0xF0)),
            _mm256_and_si256(_mm256_srli_epi16(byte1, 2), _mm256_set1_epi8(0x0F)));
        const __m256i top = _mm256_and_si256(_mm256_blendv_epi8(top2, top3, three), not_ascii);
        const __m256i unit = _mm256_blendv_epi8(byte0, bottom, byte0);
        /* Lanes 0 to 7 and 16 to 23; 8 to 15 and 24 to 31. */
        const __m256i even = _mm256_unpacklo_epi8(unit, top), odd = _mm256_unpackhi_epi8(unit, top);
        v_store(units, v_shuffle(_mm256_castsi256_si128(even), v_load(wsfast_pack16[keep & 0xFF])));
        v_store(units + n1, v_shuffle(_mm256_castsi256_si128(odd), v_load(wsfast_pack16[keep >> 8 & 0xFF])));
        v_store(units + n2, v_shuffle(_mm256_extracti128_si256(even, 1), v_load(wsfast_pack16[keep >> 16 & 0xFF])));
        v_store(units + n3, v_shuffle(_mm256_extracti128_si256(odd, 1), v_load(wsfast_pack16[keep >> 24])));
        units += v_n_lanes(keep);
    }
    return (size_t)(units - start) + shuffle_to_ucs2(text + pos, size - pos, units, (size_t)(end - units));
}

/* --- from units --- */

/* 16 units, as shuffle_encode16() does 8; 64 bytes may be written. Returns the end of the bytes. */
static inline WSFAST_TARGET uint8_t *write16(__m256i units, uint8_t *to)
{
    if (_mm256_testz_si256(units, _mm256_set1_epi16((short)0xFF80))) {
        v_store(to, _mm_packus_epi16(_mm256_castsi256_si128(units), _mm256_extracti128_si256(units, 1)));
        return to + 16;
    }
    const __m256i two = _mm256_cmpeq_epi16(_mm256_max_epu16(units, _mm256_set1_epi16(0x80)), units);
    const __m256i three = _mm256_cmpeq_epi16(_mm256_max_epu16(units, _mm256_set1_epi16(0x800)), units);
    const unsigned lanes = (unsigned)_mm256_movemask_epi8(_mm256_packs_epi16(two, three));
    if (!(lanes & 0xFF00FF00)) {
        const shuffle_bytes low = shuffle_encode_two(
            _mm256_castsi256_si128(units), _mm256_castsi256_si128(two), lanes & 0xFF);
        const shuffle_bytes high = shuffle_encode_two(
            _mm256_extracti128_si256(units, 1), _mm256_extracti128_si256(two, 1), lanes >> 16);
        v_store(to, low.low);
        v_store(to + low.n, high.low);
        return to + low.n + high.n;
    }
    const __m256i low6 = _mm256_set1_epi16(0x3F);
    const __m256i last = _mm256_blendv_epi8(
        units, _mm256_or_si256(_mm256_and_si256(units, low6), _mm256_set1_epi16(0x80)), two);
    const __m256i middle = _mm256_xor_si256(
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(units, 6), low6), _mm256_set1_epi16(0xC0)),
        _mm256_and_si256(three, _mm256_set1_epi16(0x40)));
    const __m256i first = _mm256_or_si256(_mm256_srli_epi16(units, 12), _mm256_set1_epi16(0xE0));
    const __m256i pairs = _mm256_or_si256(first, _mm256_slli_epi16(middle, 8));
    /* Units 0 to 3 and 8 to 11; 4 to 7 and 12 to 15. */
    const __m256i even = _mm256_unpacklo_epi16(pairs, last), odd = _mm256_unpackhi_epi16(pairs, last);
    const shuffle_bytes low = shuffle_pack(
        _mm256_castsi256_si128(even), _mm256_castsi256_si128(odd), lanes & 0xFFFF, wsfast_pack_three);
    const shuffle_bytes high = shuffle_pack(
        _mm256_extracti128_si256(even, 1), _mm256_extracti128_si256(odd, 1), lanes >> 16, wsfast_pack_three);
    v_store(to, low.low);
    v_store(to + low.n_low, low.high);
    to += low.n;
    v_store(to, high.low);
    v_store(to + high.n_low, high.high);
    return to + high.n;
}

/* As shuffle_from_ucs2(), which does the end. */
static WSFAST_TARGET void from_ucs2_avx2(const uint16_t *units, size_t n_units, uint8_t *text, size_t size)
{
    const uint8_t *const end = text + size;
    for (; n_units >= 16 && end - text >= 64; units += 16, n_units -= 16)
        text = write16(load(units), text);
    shuffle_from_ucs2(units, n_units, text, (size_t)(end - text));
}

const wsfast_text_kernels wsfast_text_avx2 = {
    "avx2", measure_avx2, shuffle_to_ucs1, to_ucs2_avx2, shuffle_to_ucs4,
    shuffle_ucs1_size, shuffle_ucs2_size, shuffle_ucs4_size, shuffle_from_ucs1, from_ucs2_avx2, shuffle_from_ucs4,
    unmask_and_measure_avx2};

#else
typedef int wsfast_nothing_here; /* a file must not be empty */
#endif
