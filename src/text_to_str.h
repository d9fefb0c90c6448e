/* From masked bytes to a str (RFC 6455 5.6, 8.1).
 *
 * There are two paths. The previous text decides which is tried first. ASCII is unmasked straight into the str that it
 * becomes. Any other text is unmasked into memory of ours, on the stack up to 16 KiB, else on the heap; it is validated
 * and measured there, and transcoded into a str of the right kind. If there are no kernels for the CPU, or none for the
 * kind, CPython's strict decoder does the work.
 *
 * The payload is read once. The caller's buffer may change meanwhile (shared memory, a thread without the GIL), and the
 * text that was measured has to be the text that is transcoded.
 */
#ifndef WSFAST_TEXT_TO_STR_H
#define WSFAST_TEXT_TO_STR_H

#include <Python.h>

#include "kernels/parts.h"

/* As PyUnicode_DecodeUTF8, but NULL without an exception if it is not UTF-8. */
static PyObject *wsfast_decode_by_cpython(const uint8_t *text, size_t size)
{
    PyObject *const result = PyUnicode_DecodeUTF8((const char *)text, (Py_ssize_t)size, NULL);
    if (result == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        PyErr_Clear();
    return result;
}

/* The str of a text that is valid and measured, in memory of ours. Its first `n_ascii` bytes are ASCII.
 *
 * `part`: NULL if the text after those has the padding that the kernels want; else it is copied there, part by part.
 */
static inline PyObject *wsfast_transcode(
    const wsfast_text_kernels *kernels, const uint8_t *text, size_t size, size_t n_ascii,
    const wsfast_measure *measure, wsfast_part *part)
{
    /* The first byte of the highest character tells the kind: C3 is the last of U+00FF, EF of U+FFFF. */
    const uint8_t max_byte = measure->max_byte;
    const Py_UCS4 highest = max_byte < 0x80 ? 0x7F : max_byte <= 0xC3 ? 0xFF : max_byte < 0xF0 ? 0xFFFF : 0x10FFFF;
    if (highest > 0xFFFF && kernels->to_ucs4 == NULL)
        return wsfast_decode_by_cpython(text, size);

    PyObject *const result = PyUnicode_New((Py_ssize_t)measure->n_chars, highest);
    if (result == NULL)
        return NULL;
    uint8_t *const ucs1 = PyUnicode_DATA(result);
    uint16_t *const ucs2 = PyUnicode_DATA(result);
    uint32_t *const ucs4 = PyUnicode_DATA(result);
    if (highest == 0x7F) {
        memcpy(ucs1, text, size);
        return result;
    }
    if (highest == 0xFF) {
        memcpy(ucs1, text, n_ascii);
    } else if (highest == 0xFFFF) {
        for (size_t i = 0; i < n_ascii; i++)
            ucs2[i] = text[i];
    } else {
        for (size_t i = 0; i < n_ascii; i++)
            ucs4[i] = text[i];
    }
    size_t done = n_ascii, n_part = size - n_ascii;
    for (size_t pos = n_ascii; pos < size; pos += n_part) {
        const uint8_t *padded = text + pos;
        if (part != NULL) {
            n_part = wsfast_load_part(part, text + pos, size - pos, 0);
            padded = part->bytes + WSFAST_PART_LEAD;
        }
        const size_t room = measure->n_chars - done;
        if (highest == 0xFF)
            done += kernels->to_ucs1(padded, n_part, ucs1 + done, room);
        else if (highest == 0xFFFF)
            done += kernels->to_ucs2(padded, n_part, ucs2 + done, room);
        else
            done += kernels->to_ucs4(padded, n_part, ucs4 + done, room);
    }
    return result;
}

/* Up to which place a text is ASCII, as far as that shows by 64 bytes at a time. */
static inline size_t wsfast_find_non_ascii(const uint8_t *text, size_t size)
{
    size_t pos = 0;
    while (size - pos > 64 && wsfast_is_ascii(text + pos, 64))
        pos += 64;
    return pos;
}

/* The str of a text that is unmasked in `memory`, WSFAST_PART_LEAD bytes from its start; it gets its padding here. */
static inline PyObject *wsfast_unmasked_to_str(const wsfast_text_kernels *kernels, uint8_t *memory, size_t size)
{
    uint8_t *const text = memory + WSFAST_PART_LEAD;
    memset(memory, 0, WSFAST_PART_LEAD);
    memset(text + size, 0, WSFAST_TEXT_PADDING);
    const size_t n_ascii = wsfast_find_non_ascii(text, size);
    wsfast_measure measure = {n_ascii, 0};
    if (!kernels->measure(text + n_ascii, size - n_ascii, &measure))
        return NULL;
    return wsfast_transcode(kernels, text, size, n_ascii, &measure, NULL);
}

/* A short text, in one pass over a buffer of its own: aligned, no store of a vector crosses a cache line, and small, it
 * is in the cache with the rest of the stack. */
static WSFAST_NOINLINE PyObject *wsfast_one_pass_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    uint8_t *expects_ascii)
{
    uint8_t memory[WSFAST_PART_LEAD + WSFAST_ONE_PASS_SIZE + WSFAST_TEXT_PADDING];
    uint8_t *const text = memory + WSFAST_PART_LEAD;
    wsfast_measure measure = {0, 0};
    if (!kernels->unmask_and_measure(text, payload, size, masking_key, &measure))
        return NULL;
    *expects_ascii = measure.max_byte < 0x80;
    return wsfast_transcode(kernels, text, size, 0, &measure, NULL);
}

/* A text of no more than a part, by way of the stack. */
static inline PyObject *wsfast_short_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    uint8_t *expects_ascii)
{
    wsfast_part part;
    uint8_t *const text = part.bytes + WSFAST_PART_LEAD;
    if (wsfast_mask_to_ascii(text, payload, size, masking_key)) {
        PyObject *const result = PyUnicode_New((Py_ssize_t)size, 0x7F);
        if (result != NULL)
            memcpy(PyUnicode_DATA(result), text, size);
        *expects_ascii = 1;
        return result;
    }
    *expects_ascii = 0;
    if (kernels == NULL)
        return wsfast_decode_by_cpython(text, size);
    return wsfast_unmasked_to_str(kernels, part.bytes, size);
}

/* A text of any size, by way of the heap. Its first `n_unmasked` bytes are at `begun`. */
static WSFAST_NOINLINE PyObject *wsfast_long_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    const uint8_t *begun, size_t n_unmasked, uint8_t *expects_ascii)
{
    uint8_t *const memory = PyMem_Malloc(WSFAST_PART_LEAD + size + WSFAST_TEXT_PADDING);
    if (memory == NULL)
        return PyErr_NoMemory();
    uint8_t *const text = memory + WSFAST_PART_LEAD;
    if (n_unmasked)
        memcpy(text, begun, n_unmasked);
    wsfast_mask(
        text + n_unmasked, payload + n_unmasked, size - n_unmasked, wsfast_rotate_key(masking_key, n_unmasked));
    PyObject *const result = kernels == NULL ? wsfast_decode_by_cpython(text, size)
                                             : wsfast_unmasked_to_str(kernels, memory, size);
    if (result != NULL)
        *expects_ascii = PyUnicode_IS_COMPACT_ASCII(result) != 0;
    PyMem_Free(memory);
    return result;
}

/* A text that is probably not ASCII. */
static WSFAST_NOINLINE PyObject *wsfast_other_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    uint8_t *expects_ascii)
{
    if (size <= WSFAST_PART_SIZE)
        return wsfast_short_text_to_str(kernels, payload, size, masking_key, expects_ascii);
    return wsfast_long_text_to_str(kernels, payload, size, masking_key, NULL, 0, expects_ascii);
}

/* A text that is not ASCII after all. Its first `n_unmasked` bytes are at `text`, where there is room for all. */
static inline PyObject *wsfast_unmask_rest_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key, uint8_t *text,
    size_t n_unmasked, uint8_t *expects_ascii)
{
    const size_t n_ascii = wsfast_find_non_ascii(text, n_unmasked);
    if (kernels != NULL && n_ascii < size / 2 && size > WSFAST_PART_SIZE)
        return wsfast_long_text_to_str(kernels, payload, size, masking_key, text, n_unmasked, expects_ascii);
    wsfast_mask(
        text + n_unmasked, payload + n_unmasked, size - n_unmasked, wsfast_rotate_key(masking_key, n_unmasked));
    if (kernels == NULL)
        return wsfast_decode_by_cpython(text, size);
    wsfast_part part;
    wsfast_measure measure = {n_ascii, 0};
    size_t n_part = 0;
    for (size_t pos = n_ascii; pos < size; pos += n_part) {
        n_part = wsfast_load_part(&part, text + pos, size - pos, 0);
        if (!kernels->measure(part.bytes + WSFAST_PART_LEAD, n_part, &measure))
            return NULL;
    }
    return wsfast_transcode(kernels, text, size, n_ascii, &measure, &part);
}

/* The same, of which the first bytes are in `begun`, a str of its size; the reference to that is taken. */
static WSFAST_NOINLINE PyObject *wsfast_late_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key, PyObject *begun,
    size_t n_unmasked, uint8_t *expects_ascii)
{
    *expects_ascii = 0;
    PyObject *const result = wsfast_unmask_rest_to_str(
        kernels, payload, size, masking_key, PyUnicode_DATA(begun), n_unmasked, expects_ascii);
    Py_DECREF(begun);
    return result;
}

/* wsfast_mask_to_ascii() in parts, up to the first that is not ASCII; tells how much it has unmasked. */
static WSFAST_NOINLINE int wsfast_mask_parts_to_ascii(
    uint8_t *text, const uint8_t *payload, size_t size, uint32_t masking_key, size_t *n_unmasked)
{
    for (size_t pos = 0; pos < size;) {
        const size_t n_part = size - pos < WSFAST_PART_SIZE ? size - pos : WSFAST_PART_SIZE;
        const int ascii = wsfast_mask_to_ascii(text + pos, payload + pos, n_part, wsfast_rotate_key(masking_key, pos));
        *n_unmasked = pos += n_part;
        if (!ascii)
            return 0;
    }
    return 1;
}

/* The str of a whole text; `kernels` may be NULL. A new reference, or NULL: with an exception if there is no memory,
 * without one if the text is not UTF-8.
 *
 * `expects_ascii`: whether the text before this one was ASCII; for the first 1. Any value gives the same result.
 */
static inline PyObject *wsfast_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    uint8_t *expects_ascii)
{
    if (!*expects_ascii && kernels != NULL && size - 1 < WSFAST_ONE_PASS_SIZE)
        return wsfast_one_pass_to_str(kernels, payload, size, masking_key, expects_ascii);
    if (!*expects_ascii)
        return wsfast_other_text_to_str(kernels, payload, size, masking_key, expects_ascii);
    PyObject *const result = PyUnicode_New((Py_ssize_t)size, 0x7F);
    if (result == NULL || size == 0)
        return result;
    uint8_t *const text = PyUnicode_DATA(result);
    size_t n_unmasked = size;
    if (size <= WSFAST_PART_SIZE ? wsfast_mask_to_ascii(text, payload, size, masking_key)
                                 : wsfast_mask_parts_to_ascii(text, payload, size, masking_key, &n_unmasked))
        return result;
    return wsfast_late_text_to_str(kernels, payload, size, masking_key, result, n_unmasked, expects_ascii);
}

/* The str of a text that lies in memory of ours, is valid and, if there are kernels, measured. Its first `n_ascii`
 * bytes are ASCII. */
static PyObject *wsfast_measured_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *text, size_t size, size_t n_ascii, const wsfast_measure *measure)
{
    wsfast_part part;
    if (kernels == NULL)
        return wsfast_decode_by_cpython(text, size);
    return wsfast_transcode(kernels, text, size, n_ascii, measure, &part);
}

#endif
