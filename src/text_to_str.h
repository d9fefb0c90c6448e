/* From masked bytes to a str (RFC 6455 5.6, 8.1): the one place where C knows Python's objects.
 *
 * ASCII is unmasked straight into the str that it becomes. Anything else goes through a buffer on the stack, a part
 * at a time: unmask, validate and measure; then make the str of the right kind, and transcode into it. A text longer
 * than the buffer is unmasked twice, which costs less than a buffer of its size. Where there are no kernels for the
 * CPU, or none for the kind, CPython's strict decoder does the work.
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

/* The str of a text that was found valid and was measured. `part` has all of it if it fits into one part. */
static PyObject *wsfast_transcode(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key,
    const wsfast_measure *measure, wsfast_part *part)
{
    /* The first byte of the highest character tells the kind: C3 is the last of U+00FF, EF of U+FFFF. */
    const uint8_t max_byte = measure->max_byte;
    const Py_UCS4 highest = max_byte < 0x80 ? 0x7F : max_byte <= 0xC3 ? 0xFF : max_byte < 0xF0 ? 0xFFFF : 0x10FFFF;
    if (highest > 0xFFFF && kernels->to_ucs4 == NULL)
        return wsfast_unmask_and_decode_by_cpython(payload, size, masking_key);

    PyObject *const result = PyUnicode_New((Py_ssize_t)measure->n_chars, highest);
    if (result == NULL)
        return NULL;
    const uint8_t *const text = part->bytes + WSFAST_PART_LEAD;
    uint8_t *const data = PyUnicode_DATA(result);
    size_t done = 0, n_part = size;
    for (size_t pos = 0; pos < size; pos += n_part) {
        if (size > WSFAST_PART_SIZE)
            n_part = wsfast_load_part(part, payload + pos, size - pos, wsfast_rotate_key(masking_key, pos));
        const size_t room = measure->n_chars - done;
        if (highest == 0x7F) {
            memcpy(data + done, text, n_part);
            done += n_part;
        } else if (highest == 0xFF) {
            done += kernels->to_ucs1(text, n_part, data + done, room);
        } else if (highest == 0xFFFF) {
            done += kernels->to_ucs2(text, n_part, (uint16_t *)(void *)data + done, room);
        } else {
            done += kernels->to_ucs4(text, n_part, (uint32_t *)(void *)data + done, room);
        }
    }
    return result;
}

static PyObject *wsfast_decode_by_kernels(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key)
{
    wsfast_part part;
    wsfast_measure measure = {0, 0};
    size_t n_part = 0;
    for (size_t pos = 0; pos < size; pos += n_part) {
        n_part = wsfast_load_part(&part, payload + pos, size - pos, wsfast_rotate_key(masking_key, pos));
        if (!kernels->measure(part.bytes + WSFAST_PART_LEAD, n_part, &measure))
            return NULL;
    }
    return wsfast_transcode(kernels, payload, size, masking_key, &measure, &part);
}

/* The str of a whole text; `kernels` may be NULL. A new reference, or NULL: with an exception when there is no memory,
 * without one when the text is not UTF-8. */
static PyObject *wsfast_text_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *payload, size_t size, uint32_t masking_key)
{
    uint8_t beginning[16];
    if (kernels != NULL && size >= sizeof beginning) {
        /* A look before anything is allocated: most text that is not ASCII shows it early. */
        if (!wsfast_mask_to_ascii(beginning, payload, sizeof beginning, masking_key))
            return wsfast_decode_by_kernels(kernels, payload, size, masking_key);
    }
    PyObject *result = PyUnicode_New((Py_ssize_t)size, 0x7F);
    if (result == NULL || size == 0)
        return result;
    uint8_t *const data = PyUnicode_DATA(result);
    if (wsfast_mask_to_ascii(data, payload, size, masking_key))
        return result;
    PyObject *const other = kernels != NULL ? wsfast_decode_by_kernels(kernels, payload, size, masking_key)
                                            : wsfast_decode_by_cpython(data, size);
    Py_DECREF(result);
    return other;
}

/* The str of a text that lies there unmasked, was found valid and, if there are kernels, was measured. */
static PyObject *wsfast_measured_to_str(
    const wsfast_text_kernels *kernels, const uint8_t *text, size_t size, const wsfast_measure *measure)
{
    wsfast_part part;
    if (kernels == NULL)
        return wsfast_decode_by_cpython(text, size);
    if (size <= WSFAST_PART_SIZE)
        wsfast_load_part(&part, text, size, 0);
    return wsfast_transcode(kernels, text, size, 0, measure, &part);
}

#endif
