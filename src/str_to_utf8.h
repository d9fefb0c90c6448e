/* From a str to its UTF-8 (RFC 6455 5.6, 8.1), straight into where it is wanted: first its size, then the bytes.
 *
 * The str is one that CPython made: its kind tells the width of its units. ASCII needs neither of these two.
 */
#ifndef WSFAST_STR_TO_UTF8_H
#define WSFAST_STR_TO_UTF8_H

#include <Python.h>

#include "kernels/text.h"

/* Bytes of UTF-8, or -1, without an exception, to leave it to CPython's encoder: there are no kernels (NULL), or no
 * UTF-8 for it, as it holds a surrogate (RFC 3629 3), and that encoder will say which. */
static Py_ssize_t wsfast_utf8_size(const wsfast_text_kernels *kernels, PyObject *str)
{
    if (kernels == NULL)
        return -1;
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(str) < 0) { /* until 3.11 a str could be of wchar_t, and have no kind yet */
        PyErr_Clear();
        return -1;
    }
#endif
    const size_t n_units = (size_t)PyUnicode_GET_LENGTH(str);
    const void *const units = PyUnicode_DATA(str);
    const int kind = (int)PyUnicode_KIND(str);
    const size_t size = kind == 1 ? kernels->ucs1_size(units, n_units)
                        : kind == 2 ? kernels->ucs2_size(units, n_units)
                                    : kernels->ucs4_size(units, n_units);
    return size > (size_t)PY_SSIZE_T_MAX ? -1 : (Py_ssize_t)size; /* WSFAST_SURROGATE is beyond it */
}

/* Write as many bytes as wsfast_utf8_size() said, which was not -1. */
static void wsfast_write_utf8(const wsfast_text_kernels *kernels, PyObject *str, uint8_t *to, Py_ssize_t size)
{
    const size_t n_units = (size_t)PyUnicode_GET_LENGTH(str);
    const void *const units = PyUnicode_DATA(str);
    const int kind = (int)PyUnicode_KIND(str);
    if (kind == 1)
        kernels->from_ucs1(units, n_units, to, (size_t)size);
    else if (kind == 2)
        kernels->from_ucs2(units, n_units, to, (size_t)size);
    else
        kernels->from_ucs4(units, n_units, to, (size_t)size);
}

#endif
