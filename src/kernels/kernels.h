/* The contracts of all kernels, in one place.
 *
 * A kernel sees bytes and nothing else: it does not allocate, knows no exception, includes no Python.h.
 * Unless its own comment says otherwise:
 *   alignment        none is needed, of any pointer
 *   overrun          nothing is read or written outside [data, data + size)
 *   length 0         allowed; pointers are then not followed
 *   thread safety    no static state; calls on distinct memory may run at once
 *   wide loads       go through memcpy, never through a cast pointer
 * Byte order matters in one place only, wsfast_rotate_key().
 */
#ifndef WSFAST_KERNELS_H
#define WSFAST_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define WSFAST_BIG_ENDIAN 1
#else
#define WSFAST_BIG_ENDIAN 0
#endif

/* MSVC itself. clang-cl defines _MSC_VER too, but it has the built-ins of GNU C, and asks for targets as GCC does. */
#if defined(_MSC_VER) && !defined(__clang__)
#define WSFAST_MSVC 1
#else
#define WSFAST_MSVC 0
#endif

/* For what has to be part of its caller, as the caller decides what of it is needed. */
#if defined(__GNUC__)
#define WSFAST_ALWAYS_INLINE static inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define WSFAST_ALWAYS_INLINE static __forceinline
#else
#define WSFAST_ALWAYS_INLINE static inline
#endif

#if defined(__GNUC__)
#define WSFAST_ALIGNED(size) __attribute__((aligned(size)))
#elif defined(_MSC_VER)
#define WSFAST_ALIGNED(size) __declspec(align(size))
#else
#define WSFAST_ALIGNED(size)
#endif

/* For what would only be in the way of its caller's usual case. */
#if defined(__GNUC__)
#define WSFAST_NOINLINE __attribute__((noinline))
#elif defined(_MSC_VER)
#define WSFAST_NOINLINE __declspec(noinline)
#else
#define WSFAST_NOINLINE
#endif

/* The usual case of a branch: the compiler inlines the code of that, and puts it first. */
#if defined(__GNUC__)
#define WSFAST_USUALLY(condition) __builtin_expect(!!(condition), 1)
#else
#define WSFAST_USUALLY(condition) (condition)
#endif

static const uint64_t wsfast_non_ascii_bits = UINT64_C(0x8080808080808080);

static inline uint32_t wsfast_load32(const uint8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline uint64_t wsfast_load64(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void wsfast_store32(uint8_t *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}

static inline void wsfast_store64(uint8_t *to, uint64_t word)
{
    memcpy(to, &word, sizeof word);
}

#endif
