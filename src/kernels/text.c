/* Choosing the text kernels, when the module is loaded, and the tables they share (contracts in text.h).
 */
#include "text_levels.h"

#if defined(_MSC_VER) && WSFAST_X86
#include <intrin.h>
#endif

#if WSFAST_X86 || WSFAST_NEON

uint8_t wsfast_pack8[256][16], wsfast_pack16[256][16];
uint8_t wsfast_pack_two[256][16], wsfast_pack_three[256][17], wsfast_pack_four[256][17];

#define NONE_8 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80
const uint8_t wsfast_window[48] = {
    NONE_8, NONE_8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, NONE_8, NONE_8};
const uint8_t wsfast_first_bytes[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

/* In each of 16 / lane_size lanes the `n_bytes` bytes before `end`. Returns how many those are. */
static unsigned fill(uint8_t *shuffle, const unsigned *n_bytes, unsigned lane_size, unsigned end)
{
    unsigned n = 0;
    memset(shuffle, 0x80, 16);
    for (unsigned lane = 0; lane < 16 / lane_size; lane++) {
        for (unsigned byte = end - n_bytes[lane]; byte < end; byte++)
            shuffle[n++] = (uint8_t)(lane * lane_size + byte);
    }
    return n;
}

static void fill_tables(void)
{
    for (unsigned set = 0; set < 256; set++) {
        unsigned n = 0, two[8], three[4], four[4];
        memset(wsfast_pack8[set], 0x80, 16);
        memset(wsfast_pack16[set], 0x80, 16);
        for (uint8_t lane = 0; lane < 8; lane++) {
            two[lane] = 1 + (set >> lane & 1);
            if (set >> lane & 1) {
                wsfast_pack8[set][n] = lane;
                wsfast_pack16[set][2 * n] = (uint8_t)(2 * lane);
                wsfast_pack16[set][2 * n + 1] = (uint8_t)(2 * lane + 1);
                n++;
            }
        }
        for (unsigned lane = 0; lane < 4; lane++) {
            three[lane] = 1 + (set >> lane & 1) + (set >> (4 + lane) & 1);
            four[lane] = 1 + (set >> lane & 1) + 2 * (set >> (4 + lane) & 1);
        }
        fill(wsfast_pack_two[set], two, 2, 2);
        wsfast_pack_three[set][16] = (uint8_t)fill(wsfast_pack_three[set], three, 4, 3);
        wsfast_pack_four[set][16] = (uint8_t)fill(wsfast_pack_four[set], four, 4, 4);
    }
}

#endif

#if WSFAST_X86

#ifdef _MSC_VER /* clang-cl too, which does not link the library of __builtin_cpu_supports() */

/* Bits of CPUID leaf 7 (EBX, ECX) and of XCR0, which tells the registers that the operating system keeps. */
static int has(unsigned ebx, unsigned ecx, unsigned xcr0)
{
    int leaf[4];
    __cpuid(leaf, 0);
    if (leaf[0] < 7)
        return 0;
    __cpuid(leaf, 1);
    if (!(leaf[2] >> 27 & 1) || ((unsigned)_xgetbv(0) & xcr0) != xcr0) /* OSXSAVE */
        return 0;
    __cpuidex(leaf, 7, 0);
    return ((unsigned)leaf[1] & ebx) == ebx && ((unsigned)leaf[2] & ecx) == ecx;
}

static int has_sse4(void)
{
    int leaf[4];
    __cpuid(leaf, 1);
    return (leaf[2] >> 9 & 1) && (leaf[2] >> 19 & 1) && (leaf[2] >> 23 & 1); /* SSSE3, SSE4.1, POPCNT */
}

static int has_avx2(void)
{
    return has_sse4() && has(1u << 5, 0, 0x06); /* YMM registers */
}

static int has_avx512(void)
{
    /* F, BW, VL, BMI2; VBMI, VBMI2; ZMM and mask registers */
    return has_avx2() && has(1u << 16 | 1u << 30 | 1u << 31 | 1u << 8, 1u << 1 | 1u << 6, 0xE6);
}

#else

static int has_sse4(void)
{
    return __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("popcnt");
}

static int has_avx2(void)
{
    return has_sse4() && __builtin_cpu_supports("avx2");
}

static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi2");
}

#endif

/* From the best to the least. */
static const struct { const wsfast_text_kernels *kernels; int (*is_there)(void); } levels[] = {
    {&wsfast_text_avx512, has_avx512}, {&wsfast_text_avx2, has_avx2}, {&wsfast_text_sse4, has_sse4}};

#elif WSFAST_NEON

static int always(void)
{
    return 1;
}

static const struct { const wsfast_text_kernels *kernels; int (*is_there)(void); } levels[] = {
    {&wsfast_text_neon, always}};

#endif

const wsfast_text_kernels *wsfast_choose_text_kernels(const char *at_most)
{
#if WSFAST_X86 || WSFAST_NEON
    int allowed = at_most == NULL;
    fill_tables();
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        allowed |= at_most != NULL && strcmp(levels[i].kernels->name, at_most) == 0;
        if (allowed && levels[i].is_there())
            return levels[i].kernels;
    }
#else
    (void)at_most;
#endif
    return NULL;
}
