/* The text kernels of x86-64-v2: SSE4.1 (with SSSE3's shuffle) and POPCNT. */
#include "text_levels.h"

#if WSFAST_X86

#define WSFAST_TARGET WSFAST_TARGET_FOR("ssse3,sse4.1,popcnt")
#include "from_units.h"
#include "to_units.h"

const wsfast_text_kernels wsfast_text_sse4 = {
    "sse4", shuffle_measure, shuffle_to_ucs1, shuffle_to_ucs2, shuffle_to_ucs4,
    shuffle_ucs1_size, shuffle_ucs2_size, shuffle_ucs4_size, shuffle_from_ucs1, shuffle_from_ucs2, shuffle_from_ucs4,
    shuffle_unmask_and_measure};

#else
typedef int wsfast_nothing_here; /* a file must not be empty */
#endif
