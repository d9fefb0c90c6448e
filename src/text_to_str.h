/* From masked bytes to a str (RFC 6455 5.6, 8.1): the one place where C knows Python's objects.
 *
 * Two ways, and the text before tells which to try first. ASCII is unmasked straight into the str that it becomes.
 * Anything else goes through a buffer on the stack, a part at a time: unmask, validate and measure; then make the str
 * of the right kind, and transcode into it. A text longer than the buffer is unmasked twice, which costs less than a
 * buffer of its size. What was ASCII up to some place is not looked at again up to there. Where there are no kernels
 * for the CPU, or none for the kind, CPython's strict decoder does the work.
 */
#ifndef WSFAST_TEXT_TO_STR_H
#define WSFAST_TEXT_TO_STR_H

#include <Python.h>

#include "kernels/parts.h"

/* As PyUnicode_DecodeUTF8, but NULL without an exception for what is not UTF-8. */
static PyObject *wsfast_decode_by_cpython(const uint8_t *text, size_t size)
{
    PyObject *const result = PyUnicode_DecodeUTF8((const char *)text, (Py_ssize_t)size, NULL);
    if (result == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        PyErr_Clear();
    return result;
}

static PyObject *wsfast_unmask_and_decode_by_cpython(const uint8_t *payload, size_t size, uint32_t masking_key)
{
    uint8_t *const text = PyMem_Malloc(size);
    if (text == NULL)
        return PyErr_NoMemory();
    wsfast_mask(text, payload, size, masking_key);
    PyObject *const result = wsfast_decode_by_cpython(text, size);
    PyMem_Free(text);
    return result;
}

/* The str of a text that was found valid and was measured.
 *
 * Up to `n_ascii` it is ASCII, and `ascii` has that much of it, unmasked. `rest` is what follows, with the padding that
 * the kernels want, or NULL: then it is unmasked once more from `payload`, part by part.
 */
static inline PyObject *wsfast_transcode(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    const wsfast_measure *measure, const uint8_t *ascii, size_t n_ascii, const uint8_t *rest, wsfast_part *part)
{
    /* The first byte of the highest character tells the kind: C3 is the last of U+00FF, EF of U+FFFF. */
    const uint8_t max_byte = measure->max_byte;
    const Py_UCS4 highest = max_byte < 0x80 ? 0x7F : max_byte <= 0xC3 ? 0xFF : max_byte < 0xF0 ? 0xFFFF : 0x10FFFF;
    if (highest > 0xFFFF && kernels->to_ucs4 == NULL)
        return wsfast_unmask_and_decode_by_cpython(payload, size, masking_key);

    PyObject *const result = PyUnicode_New((Py_ssize_t)measure->n_chars, highest);
    if (result == NULL)
        return NULL;
    uint8_t *const ucs1 = PyUnicode_DATA(result);
    uint16_t *const ucs2 = PyUnicode_DATA(result);
    uint32_t *const ucs4 = PyUnicode_DATA(result);
    if (highest <= 0xFF) {
        memcpy(ucs1, ascii, n_ascii);
    } else if (highest <= 0xFFFF) {
        for (size_t i = 0; i < n_ascii; i++)
            ucs2[i] = ascii[i];
    } else {
        for (size_t i = 0; i < n_ascii; i++)
            ucs4[i] = ascii[i];
    }
    size_t done = n_ascii, n_part = size - n_ascii;
    for (size_t pos = n_ascii; pos < size; pos += n_part) {
        const uint8_t *text = rest;
        if (rest == NULL) {
            n_part = wsfast_load_part(part, payload + pos, size - pos, wsfast_rotate_key(masking_key, pos));
            text = part->bytes + WSFAST_PART_LEAD;
        }
        const size_t room = measure->n_chars - done;
        if (highest == 0x7F) {
            memcpy(ucs1 + done, text, n_part);
            done += n_part;
        } else if (highest == 0xFF) {
            done += kernels->to_ucs1(text, n_part, ucs1 + done, room);
        } else if (highest == 0xFFFF) {
            done += kernels->to_ucs2(text, n_part, ucs2 + done, room);
        } else {
            done += kernels->to_ucs4(text, n_part, ucs4 + done, room);
        }
    }
    return result;
}

/* Up to which place a text is ASCII: so far as that is seen at a glance. */
static inline size_t wsfast_find_non_ascii(const uint8_t *text, size_t size)
{
    size_t pos = 0;
    while (size - pos > 64 && wsfast_is_ascii(text + pos, 64))
        pos += 64;
    return pos;
}

/* A text of no more than a part, by way of the stack. */
static WSFAST_NOINLINE PyObject *wsfast_short_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    uint8_t *expects_ascii)
{
    wsfast_part part;
    uint8_t *const text = part.bytes + WSFAST_PART_LEAD;
    wsfast_measure measure = {0, 0};
    if (kernels != NULL && size - 1 < WSFAST_ONE_PASS_SIZE) {
        if (!kernels->unmask_and_measure(text, payload, size, masking_key, &measure))
            return NULL;
        *expects_ascii = measure.max_byte < 0x80;
        return wsfast_transcode(kernels, payload, size, masking_key, &measure, text, 0, text, NULL);
    }
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
    wsfast_pad_part(&part, size);
    const size_t n_ascii = wsfast_find_non_ascii(text, size);
    measure.n_chars = n_ascii;
    if (!kernels->measure(text + n_ascii, size - n_ascii, &measure))
        return NULL;
    return wsfast_transcode(kernels, payload, size, masking_key, &measure, text, n_ascii, text + n_ascii, NULL);
}

/* A longer text, of which `text` has the first `n_unmasked` bytes, and room for all of it. */
static WSFAST_NOINLINE PyObject *wsfast_long_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key, uint8_t *text,
    size_t n_unmasked)
{
    if (kernels == NULL) {
        const uint32_t key = wsfast_rotate_key(masking_key, n_unmasked);
        wsfast_mask(text + n_unmasked, payload + n_unmasked, size - n_unmasked, key);
        return wsfast_decode_by_cpython(text, size);
    }
    wsfast_part part;
    const size_t n_ascii = wsfast_find_non_ascii(text, n_unmasked);
    wsfast_measure measure = {n_ascii, 0};
    size_t n_part = 0;
    for (size_t pos = n_ascii; pos < size; pos += n_part) {
        n_part = wsfast_load_part(&part, payload + pos, size - pos, wsfast_rotate_key(masking_key, pos));
        if (!kernels->measure(part.bytes + WSFAST_PART_LEAD, n_part, &measure))
            return NULL;
    }
    const uint8_t *const rest = n_part == size - n_ascii ? part.bytes + WSFAST_PART_LEAD : NULL;
    return wsfast_transcode(kernels, payload, size, masking_key, &measure, text, n_ascii, rest, &part);
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

/* The str of a whole text; `kernels` may be NULL. A new reference, or NULL: with an exception when there is no memory,
 * without one when the text is not UTF-8.
 *
 * `expects_ascii`: whether the text before this one was ASCII; for the first 1. Any value gives the same result.
 */
static inline PyObject *wsfast_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    uint8_t *expects_ascii)
{
    if (!*expects_ascii && size <= WSFAST_PART_SIZE)
        return wsfast_short_text_to_str(kernels, payload, size, masking_key, expects_ascii);
    PyObject *const result = PyUnicode_New((Py_ssize_t)size, 0x7F);
    if (result == NULL || size == 0)
        return result;
    uint8_t *const text = PyUnicode_DATA(result);
    size_t n_unmasked = size;
    if (size <= WSFAST_PART_SIZE ? wsfast_mask_to_ascii(text, payload, size, masking_key)
                                 : wsfast_mask_parts_to_ascii(text, payload, size, masking_key, &n_unmasked))
        return result;
    *expects_ascii = 0;
    PyObject *const other = wsfast_long_text_to_str(kernels, payload, size, masking_key, text, n_unmasked);
    Py_DECREF(result);
    return other;
}

/* The str of a text that lies there unmasked, was found valid and, if there are kernels, was measured. Its first
 * `n_ascii` bytes are ASCII. */
static PyObject *wsfast_measured_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *text, size_t size, size_t n_ascii, const wsfast_measure *measure)
{
    wsfast_part part;
    if (kernels == NULL)
        return wsfast_decode_by_cpython(text, size);
    return wsfast_transcode(kernels, text, size, 0, measure, text, n_ascii, NULL, &part);
}

#endif
