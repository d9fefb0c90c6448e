/* From a masked payload to a str, in loops without Python: text_to_str.py compiles this module.
 *
 * A pass makes the str of each text and frees it again. What it is compared with is what everybody did before:
 * unmask into a buffer that is there already, and PyUnicode_DecodeUTF8.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <time.h>

#include "text_to_str.h"

enum { HEADER_SIZE = 6, SCRATCH_SIZE = 1 << 21 };

static const uint32_t masking_key = 0x3D21FA37;
static uint8_t scratch[SCRATCH_SIZE];

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static PyObject *by_cpython(const uint8_t *payload, size_t size)
{
    wsfast_mask(scratch, payload, size, masking_key);
    return wsfast_decode_by_cpython(scratch, size);
}

/* The least that there is to do: the object, and its units, which are known here. */
static PyObject *copy_of(PyObject *text)
{
    const Py_UCS4 highest = PyUnicode_MAX_CHAR_VALUE(text);
    PyObject *const copy = PyUnicode_New(PyUnicode_GET_LENGTH(text), highest);
    if (copy != NULL)
        memcpy(PyUnicode_DATA(copy), PyUnicode_DATA(text), (size_t)PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text));
    return copy;
}

/* What `name` stands for. -1 with an exception: nothing. */
typedef enum { COPY, CPYTHON, KERNELS } way;

static int find_way(const char *name, way *way, const wsfast_text_kernels **kernels)
{
    *kernels = NULL;
    *way = KERNELS;
    if (strcmp(name, "copy") == 0) {
        *way = COPY;
    } else if (strcmp(name, "CPython") == 0) {
        *way = CPYTHON;
    } else if (strcmp(name, "baseline") != 0) {
        *kernels = wsfast_choose_text_kernels(name);
        if (*kernels == NULL || strcmp((*kernels)->name, name) != 0) {
            PyErr_Format(PyExc_LookupError, "there are no kernels %s", name);
            return -1;
        }
    }
    return 0;
}

static inline PyObject *make(way way, const wsfast_text_kernels *kernels, PyObject *item)
{
    if (way == COPY)
        return copy_of(item);
    const uint8_t *const payload = (const uint8_t *)PyBytes_AS_STRING(item) + HEADER_SIZE;
    const size_t size = (size_t)PyBytes_GET_SIZE(item) - HEADER_SIZE;
    if (way == CPYTHON)
        return by_cpython(payload, size);
    static uint8_t expects_ascii = 1; /* as each decoder has it: the text before this one was ASCII */
    return wsfast_text_to_str(kernels, payload, size, masking_key, &expects_ascii);
}

/* decode(name, item): the str, or None for what is not UTF-8. An item is a str (copy), else bytes with a payload
 * behind HEADER_SIZE bytes. */
static PyObject *decode(PyObject *module, PyObject *arguments)
{
    const char *name;
    PyObject *item;
    way way;
    const wsfast_text_kernels *kernels;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "sO", &name, &item) || find_way(name, &way, &kernels))
        return NULL;
    PyObject *const result = make(way, kernels, item);
    if (result == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    return result;
}

/* time(name, items, n_passes): ns a pass over the list. */
static PyObject *time_passes(PyObject *module, PyObject *arguments)
{
    const char *name;
    PyObject *items;
    Py_ssize_t n_passes;
    way way;
    const wsfast_text_kernels *kernels;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "sO!n", &name, &PyList_Type, &items, &n_passes) ||
        find_way(name, &way, &kernels))
        return NULL;
    const Py_ssize_t n_items = PyList_GET_SIZE(items);
    const double start = now_ns();
    for (Py_ssize_t pass = 0; pass < n_passes; pass++) {
        for (Py_ssize_t i = 0; i < n_items; i++)
            Py_XDECREF(make(way, kernels, PyList_GET_ITEM(items, i)));
    }
    return PyFloat_FromDouble((now_ns() - start) / (double)n_passes);
}

static PyMethodDef functions[] = {
    {"decode", decode, METH_VARARGS, NULL}, {"time", time_passes, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "text_to_str", NULL, -1, functions,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_text_to_str(void);
PyMODINIT_FUNC PyInit_text_to_str(void)
{
    return PyModule_Create(&definition);
}
