/* Shared by the checks of the kernels: memory between guard pages, randomness that repeats, and plain UTF-8. */
#ifndef CHECK_H
#define CHECK_H

#define _DEFAULT_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { ROOM = 131072, MAX_LENGTH = 300, N_ALIGNMENTS = 64 };

extern uint64_t random_state;

static inline uint8_t random_byte(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint8_t)(random_state >> 56);
}

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            printf(__VA_ARGS__); \
            printf("\n"); \
            exit(1); \
        } \
    } while (0)

/* ROOM bytes each, with a guard page before and after. */
extern uint8_t *source, *destination;

/* Bytes of the well-formed character at `data`, by Unicode's table 3-7; 0 if there is none. */
size_t character(const uint8_t *data, size_t size);
int plainly_valid(const uint8_t *data, size_t size);

/* The bytes of a unit, by `max_byte` of a measure; 0 for ASCII. */
static inline int kind_of(uint8_t max_byte)
{
    return max_byte < 0x80 ? 0 : max_byte <= 0xC3 ? 1 : max_byte < 0xF0 ? 2 : 4;
}

/* Every text kernel of one level: in check_text.c. */
void check_text(const wsfast_text_kernels *kernels);

/* The reader of frames: in check_reader.c. */
void check_reader(void);

#endif
