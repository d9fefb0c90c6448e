/* The kernels with no Python around them: kernels.py compiles this file, runs it and reads what it prints.
 *
 * Payloads lie as they come, behind headers of 6 to 14 bytes, at any alignment. Every subject is checked first. Then
 * the subjects take turns, sample by sample, and the best sample of each counts. One line a subject, with tabs:
 *   table, row, subject, bytes an operation, ns an operation
 */
#define _POSIX_C_SOURCE 199309L

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "frame_header.h"
#include "mask.h"
#include "parts.h"

enum {
    ARENA_SIZE = 16384, /* bytes of short frames: they stay in the first-level cache */
    N_RANDOM = 16384,   /* random lengths, more of them than a branch predictor learns by heart */
    SAMPLE_NS = 20000,
    SAMPLES_A_TURN = 3,
    MAX_SUBJECTS = 400,
    MAX_LEVELS = 8
};

static const uint32_t masking_key = 0x3D21FA37;

/* Through a pointer that may change, so that the compiler neither knows the function nor leaves it out. */
static void *(*volatile libc_memmove)(void *, const void *, size_t) = memmove;
static void *(*volatile libc_memcpy)(void *, const void *, size_t) = memcpy;
static volatile size_t sink;

static void require(int right, const char *row, const char *name)
{
    if (!right) {
        fprintf(stderr, "wrong result, there is nothing to time: %s, %s\n", row, name);
        exit(1);
    }
}

static void *allocate(size_t size)
{
    void *const memory = calloc(1, size);
    require(memory != NULL, "memory", "calloc");
    return memory;
}

/* Room that begins at a fixed place in its page: two places of which one is 4096 bytes behind the other are slow. */
static uint8_t *allocate_at(size_t page_offset, size_t size)
{
    uint8_t *const memory = allocate(size + 2 * 4096);
    return memory + (-(uintptr_t)memory & 4095) + page_offset;
}

static uint32_t random_below(uint32_t bound)
{
    static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % bound;
}

/* --- what is worked on --- */

typedef struct {
    size_t n_payloads;
    uint32_t *positions, *lengths;
    uint8_t *bytes, *other; /* `other` is for copies */
    size_t size;            /* of both */
    size_t n_units;         /* of the str that the only payload makes, for transcoding */
} work;

/* Payloads of `shortest` to `longest` bytes, in an arena that is gone through again and again. */
static work *new_work(uint32_t shortest, uint32_t longest)
{
    work *const new = allocate(sizeof *new);
    const size_t n_fitting = longest < ARENA_SIZE ? ARENA_SIZE / (longest + 8) : 1;
    new->n_payloads = shortest < longest ? N_RANDOM : n_fitting;
    new->size = ARENA_SIZE + 2 * (longest + 14);
    new->positions = allocate(new->n_payloads * sizeof *new->positions);
    new->lengths = allocate(N_RANDOM * sizeof *new->lengths);
    new->bytes = allocate_at(0, new->size);
    new->other = allocate_at(2048, new->size);
    for (uint32_t i = 0, pos = 0; i < new->n_payloads; i++) {
        const uint32_t length = shortest + random_below(longest - shortest + 1);
        pos += length < 126 ? 6 : length < 65536 ? 8 : 14;
        new->positions[i] = pos;
        new->lengths[i] = length;
        pos += length;
        if (pos > ARENA_SIZE)
            pos = 0;
    }
    return new;
}

/* `text` again and again; what a whole character does not fit into is filled with spaces. */
static void write_text(uint8_t *to, size_t size, const char *text)
{
    const size_t unit = strlen(text);
    size_t pos = 0;
    while (pos < size) {
        const size_t start = pos;
        do
            to[pos] = (uint8_t)text[pos % unit];
        while (++pos < size && ((uint8_t)text[pos % unit] & 0xC0) == 0x80);
        if (pos == size && ((uint8_t)text[pos % unit] & 0xC0) == 0x80)
            memset(to + start, ' ', size - start);
    }
}

/* --- what is timed: a pass over all payloads --- */

typedef size_t operation(const work *work, const wsfast_text_kernels *kernels);

static size_t unmask_in_place(const work *work, const wsfast_text_kernels *kernels)
{
    (void)kernels;
    for (size_t i = 0; i < work->n_payloads; i++) {
        uint8_t *const payload = work->bytes + work->positions[i];
        wsfast_mask(payload, payload, work->lengths[i], masking_key);
    }
    return work->n_payloads;
}

static size_t unmask_elsewhere(const work *work, const wsfast_text_kernels *kernels)
{
    (void)kernels;
    for (size_t i = 0; i < work->n_payloads; i++) {
        const size_t pos = work->positions[i];
        wsfast_mask(work->other + pos, work->bytes + pos, work->lengths[i], masking_key);
    }
    return work->n_payloads;
}

static size_t unmask_by_bytes(const work *work, const wsfast_text_kernels *kernels)
{
    uint8_t key[4];
    memcpy(key, &masking_key, 4);
    (void)kernels;
    for (size_t i = 0; i < work->n_payloads; i++) {
        uint8_t *const payload = work->bytes + work->positions[i];
        for (size_t j = 0; j < work->lengths[i]; j++)
            payload[j] ^= key[j & 3];
    }
    return work->n_payloads;
}

static size_t memmove_in_place(const work *work, const wsfast_text_kernels *kernels)
{
    (void)kernels;
    for (size_t i = 0; i < work->n_payloads; i++) {
        uint8_t *const payload = work->bytes + work->positions[i];
        libc_memmove(payload, payload, work->lengths[i]);
    }
    return work->n_payloads;
}

static size_t memmove_over_header(const work *work, const wsfast_text_kernels *kernels)
{
    (void)kernels;
    for (size_t i = 0; i < work->n_payloads; i++) {
        uint8_t *const payload = work->bytes + work->positions[i];
        libc_memmove(payload - 6, payload, work->lengths[i]);
    }
    return work->n_payloads;
}

static size_t memcpy_elsewhere(const work *work, const wsfast_text_kernels *kernels)
{
    (void)kernels;
    for (size_t i = 0; i < work->n_payloads; i++) {
        const size_t pos = work->positions[i];
        libc_memcpy(work->other + pos, work->bytes + pos, work->lengths[i]);
    }
    return work->n_payloads;
}

static size_t test_ascii(const work *work, const wsfast_text_kernels *kernels)
{
    size_t n_ascii = 0;
    (void)kernels;
    for (size_t i = 0; i < work->n_payloads; i++)
        n_ascii += (size_t)wsfast_is_ascii(work->bytes + work->positions[i], work->lengths[i]);
    return n_ascii;
}

/* As a decoder calls it, in ignorance of what comes. */
static size_t validate(const work *work, const wsfast_text_kernels *kernels)
{
    size_t n_valid = 0;
    for (size_t i = 0; i < work->n_payloads; i++) {
        wsfast_utf8 state = {0, 0, 0};
        wsfast_measure measure = {0, 0};
        const uint8_t *const payload = work->bytes + work->positions[i];
        n_valid += wsfast_utf8_feed_by(kernels, &state, payload, work->lengths[i], &measure) && state.n_due == 0;
    }
    return n_valid;
}

/* The inner kernels want their text alone, with zeroes on both sides: it is the only payload, and that is its place. */
static size_t measure(const work *work, const wsfast_text_kernels *kernels)
{
    wsfast_measure measure = {0, 0};
    return kernels->measure(work->bytes + WSFAST_PART_LEAD, work->lengths[0], &measure) ? measure.n_chars : 0;
}

static size_t to_ucs1(const work *work, const wsfast_text_kernels *kernels)
{
    return kernels->to_ucs1(work->bytes + WSFAST_PART_LEAD, work->lengths[0], work->other, work->n_units);
}

static size_t to_ucs2(const work *work, const wsfast_text_kernels *kernels)
{
    uint16_t *const units = (uint16_t *)(void *)work->other;
    return kernels->to_ucs2(work->bytes + WSFAST_PART_LEAD, work->lengths[0], units, work->n_units);
}

static size_t to_ucs4(const work *work, const wsfast_text_kernels *kernels)
{
    uint32_t *const units = (uint32_t *)(void *)work->other;
    return kernels->to_ucs4(work->bytes + WSFAST_PART_LEAD, work->lengths[0], units, work->n_units);
}

static const wsfast_rules server_rules = {
    .max_frame_size = UINT64_MAX, .max_message_size = UINT64_MAX, .max_fragments = UINT64_MAX, .masked = 0x80};

static size_t walk_headers(const work *work, const wsfast_text_kernels *kernels)
{
    wsfast_header header;
    size_t pos = 0, n_frames = 0;
    (void)kernels;
    while (wsfast_read_header(&server_rules, work->bytes + pos, work->size - pos, &header) == WSFAST_COMPLETE) {
        pos += header.size + header.payload_length;
        n_frames++;
    }
    return n_frames;
}

static size_t walk_and_unmask(const work *work, const wsfast_text_kernels *kernels)
{
    wsfast_header header;
    size_t pos = 0, n_frames = 0;
    (void)kernels;
    while (wsfast_read_header(&server_rules, work->bytes + pos, work->size - pos, &header) == WSFAST_COMPLETE) {
        pos += header.size;
        wsfast_mask(work->other + pos, work->bytes + pos, header.payload_length, header.masking_key);
        pos += header.payload_length;
        n_frames++;
    }
    return n_frames;
}

/* --- taking turns --- */

typedef struct {
    const char *table, *row, *name;
    operation *run;
    const work *work;
    const wsfast_text_kernels *kernels;
    size_t n_passes; /* a sample */
    double best_ns;  /* a pass */
} subject;

static subject subjects[MAX_SUBJECTS];
static size_t n_subjects;

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void sample(subject *subject)
{
    const double start = now_ns();
    for (size_t i = 0; i < subject->n_passes; i++)
        sink += subject->run(subject->work, subject->kernels);
    const double ns = (now_ns() - start) / (double)subject->n_passes;
    if (ns < subject->best_ns)
        subject->best_ns = ns;
}

/* `right`: what a pass has to return. */
static void add(
    const char *table, const char *row, const char *name, operation *run, const work *work,
    const wsfast_text_kernels *kernels, size_t right)
{
    require(run(work, kernels) == right, row, name);
    require(n_subjects < MAX_SUBJECTS, row, "too many subjects");
    subject *const new = &subjects[n_subjects++];
    *new = (subject){table, row, name, run, work, kernels, 1, 1e30};
    for (int i = 0; i < SAMPLES_A_TURN; i++)
        sample(new);
    new->n_passes = 1 + (size_t)(SAMPLE_NS / (new->best_ns + 1));
    new->best_ns = 1e30;
}

static void measure_all(int n_rounds)
{
    for (int round = 0; round < n_rounds; round++) {
        /* The speed of kernels that copy to the stack depends on where it begins: so at another place each time. */
        volatile uint8_t shift[1 + round % 16 * 16];
        shift[0] = 0;
        (void)shift[0];
        for (size_t i = 0; i < n_subjects; i++) {
            sink += subjects[i].run(subjects[i].work, subjects[i].kernels); /* to have the caches it works with */
            for (int j = 0; j < SAMPLES_A_TURN; j++)
                sample(&subjects[i]);
        }
    }
    for (size_t i = 0; i < n_subjects; i++) {
        const subject *const done = &subjects[i];
        size_t n_bytes = 0;
        for (size_t j = 0; j < done->work->n_payloads; j++)
            n_bytes += done->work->lengths[j];
        const double n_payloads = (double)done->work->n_payloads;
        printf("%s\t%s\t%s\t%.1f\t%.4f\n", done->table, done->row, done->name, (double)n_bytes / n_payloads,
               done->best_ns / n_payloads);
    }
}

/* --- the tables --- */

static const wsfast_text_kernels *levels[MAX_LEVELS];
static size_t n_levels;

/* Of the names that WSFAST_KERNEL takes those that this CPU has. */
static void find_levels(int n_names, char **names)
{
    for (int i = 0; i < n_names && n_levels < MAX_LEVELS; i++) {
        const wsfast_text_kernels *const kernels = wsfast_choose_text_kernels(names[i]);
        if (kernels != NULL && strcmp(kernels->name, names[i]) == 0)
            levels[n_levels++] = kernels;
    }
}

static void add_unmasking(const char *row, uint32_t shortest, uint32_t longest)
{
    const char *const table = "unmask";
    work *const work = new_work(shortest, longest);
    const size_t n = work->n_payloads;
    for (size_t i = 0; i < work->size; i++)
        work->bytes[i] = (uint8_t)(i * 31);
    /* Byte by byte and back again by the kernel, and once more through the other buffer. */
    uint8_t *const original = allocate(work->size);
    memcpy(original, work->bytes, work->size);
    unmask_by_bytes(work, NULL);
    require(memcmp(original, work->bytes, work->size) != 0, row, "byte by byte");
    unmask_in_place(work, NULL);
    require(memcmp(original, work->bytes, work->size) == 0, row, "in place");
    if (shortest == longest) {
        unmask_elsewhere(work, NULL);
        unmask_by_bytes(work, NULL);
        for (size_t i = 0; i < n; i++) {
            const size_t pos = work->positions[i];
            require(memcmp(work->other + pos, work->bytes + pos, work->lengths[i]) == 0, row, "elsewhere");
        }
    }
    free(original);

    add(table, row, "in place", unmask_in_place, work, NULL, n);
    add(table, row, "elsewhere", unmask_elsewhere, work, NULL, n);
    if (longest < 126) { /* for more bytes memmove returns at once when it is told to move them nowhere */
        add(table, row, "memmove in place", memmove_in_place, work, NULL, n);
        add(table, row, "memmove over header", memmove_over_header, work, NULL, n);
    }
    add(table, row, "memcpy elsewhere", memcpy_elsewhere, work, NULL, n);
    if (longest <= 4096)
        add(table, row, "byte by byte", unmask_by_bytes, work, NULL, n);
}

static void add_validation(const char *row, const char *text, int is_ascii, uint32_t shortest, uint32_t longest)
{
    const char *const table = "validate";
    work *const work = new_work(shortest, longest);
    const size_t n = work->n_payloads;
    if (is_ascii) /* whatever the lengths, also where payloads lie over each other */
        write_text(work->bytes, work->size, text);
    else
        for (size_t i = 0; i < n; i++)
            write_text(work->bytes + work->positions[i], work->lengths[i], text);
    if (is_ascii)
        add(table, row, "ASCII test", test_ascii, work, NULL, n);
    add(table, row, "baseline", validate, work, NULL, n);
    for (size_t i = 0; i < n_levels; i++)
        add(table, row, levels[i]->name, validate, work, levels[i], n);
    /* What is no UTF-8 at its end has to be seen there. */
    uint8_t *const end = work->bytes + work->positions[n - 1] + work->lengths[n - 1];
    const uint8_t last = end[-1];
    end[-1] = 0xFF;
    require(validate(work, NULL) < n, row, "baseline");
    for (size_t i = 0; i < n_levels; i++)
        require(validate(work, levels[i]) < n, row, levels[i]->name);
    end[-1] = last;
}

static void add_transcoding(const char *row, const char *text, uint32_t size, operation *run)
{
    const char *const table = "transcode";
    work *const work = new_work(size, size);
    work->bytes = allocate_at(0, WSFAST_PART_LEAD + size + WSFAST_TEXT_PADDING);
    work->other = allocate_at(2048, (size + 64) * sizeof(uint32_t));
    work->n_payloads = 1;
    write_text(work->bytes + WSFAST_PART_LEAD, size, text);
    for (size_t i = 0; i < size; i++)
        work->n_units += (work->bytes[WSFAST_PART_LEAD + i] & 0xC0) != 0x80;
    for (size_t i = 0; i < n_levels; i++) {
        add("measure", row, levels[i]->name, measure, work, levels[i], work->n_units);
        if (run != to_ucs4 || levels[i]->to_ucs4 != NULL)
            add(table, row, levels[i]->name, run, work, levels[i], work->n_units);
    }
}

static void add_headers(const char *row, uint32_t shortest, uint32_t longest)
{
    const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    work *const work = new_work(shortest, longest);
    size_t pos = 0, n_frames = 0;
    while (pos + longest + 14 < ARENA_SIZE) {
        const uint32_t length = shortest + random_below(longest - shortest + 1);
        pos += wsfast_write_header(work->bytes + pos, 0x80 | WSFAST_TEXT, length, key) + length;
        work->lengths[n_frames++] = length;
    }
    work->size = pos;
    work->n_payloads = n_frames;
    add("headers", row, "walk", walk_headers, work, NULL, n_frames);
    add("headers", row, "walk and unmask", walk_and_unmask, work, NULL, n_frames);
}

int main(int n_arguments, char **arguments)
{
    const char *const ascii = "The quick brown fox jumps over the lazy dog, and does it again. ";
    const struct { const char *name, *text; operation *transcode; } texts[] = {
        {"French", "Déjà vu : où naît cette forêt, là-bas, près du château gothique ? ", to_ucs1},
        {"Cyrillic", "Съешь же ещё этих мягких французских булок, да выпей чаю. ", to_ucs2},
        {"Korean", "안녕하세요, 웹소켓으로 이야기합니다. 오늘은 날씨가 참 좋네요. ", to_ucs2},
        {"JSON+Korean", "{\"id\": 4711, \"user\": \"김하늘\", \"text\": \"반갑습니다\", \"tags\": [\"a\", \"b\"]}, ", to_ucs2},
        {"emoji", "😀🚀🌍🎉🐍💡🔥🎶", to_ucs4},
    };
    const struct { const char *name; uint32_t size; } sizes[] = {
        {"64 B", 64}, {"125 B", 125}, {"1 KiB", 1024}, {"16 KiB", 16384}};
    static char row_names[128][32];
    size_t n_rows = 0;

    if (n_arguments < 2) {
        fprintf(stderr, "usage: kernels ROUNDS [LEVEL...]\n");
        return 2;
    }
    find_levels(n_arguments - 2, arguments + 2);

    add_unmasking("random 1-125 B", 1, 125);
    add_unmasking("random 1-16 B", 1, 16);
    add_unmasking("8 B", 8, 8);
    add_unmasking("32 B", 32, 32);
    add_unmasking("125 B", 125, 125);
    add_unmasking("1 KiB", 1024, 1024);
    add_unmasking("4 KiB", 4096, 4096);
    add_unmasking("64 KiB", 65536, 65536);
    add_unmasking("1 MiB", 1 << 20, 1 << 20);
    add_validation("ASCII random 16-125 B", ascii, 1, 16, 125);
    add_validation("ASCII 16 B", ascii, 1, 16, 16);
    add_validation("ASCII 32 B", ascii, 1, 32, 32);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(row_names[n_rows], sizeof *row_names, "ASCII %s", sizes[i].name);
        add_validation(row_names[n_rows++], ascii, 1, sizes[i].size, sizes[i].size);
    }
    for (size_t j = 0; j < sizeof texts / sizeof *texts; j++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            snprintf(row_names[n_rows], sizeof *row_names, "%s %s", texts[j].name, sizes[i].name);
            add_validation(row_names[n_rows], texts[j].text, 0, sizes[i].size, sizes[i].size);
            if (sizes[i].size >= 1024)
                add_transcoding(row_names[n_rows], texts[j].text, sizes[i].size, texts[j].transcode);
            n_rows++;
        }
    }
    add_headers("random 1-125 B", 1, 125);
    add_headers("32 B", 32, 32);
    add_headers("random 1-1000 B", 1, 1000);

    measure_all(atoi(arguments[1]));
    return 0;
}
