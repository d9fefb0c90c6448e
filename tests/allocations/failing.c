/* A module that makes allocations of CPython fail: start(n, n_fail) the n-th and the next ones, n_fail in all;
 * stop() tells how many have failed. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyMemAllocatorEx real[3];
static long n_good, n_bad, n_failed; /* allocations still to succeed, then to fail; and those that have failed */

static int fails(void)
{
    if (n_good > 0) {
        n_good--;
        return 0;
    }
    if (n_bad == 0)
        return 0;
    n_bad--;
    n_failed++;
    return 1;
}

static void *fail_malloc(void *context, size_t size)
{
    const PyMemAllocatorEx *const allocator = context;
    return fails() ? NULL : allocator->malloc(allocator->ctx, size);
}

static void *fail_calloc(void *context, size_t n, size_t size)
{
    const PyMemAllocatorEx *const allocator = context;
    return fails() ? NULL : allocator->calloc(allocator->ctx, n, size);
}

static void *fail_realloc(void *context, void *memory, size_t size)
{
    const PyMemAllocatorEx *const allocator = context;
    return fails() ? NULL : allocator->realloc(allocator->ctx, memory, size);
}

static void give_back(void *context, void *memory)
{
    const PyMemAllocatorEx *const allocator = context;
    allocator->free(allocator->ctx, memory);
}

static const PyMemAllocatorDomain domains[3] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};

static PyObject *start(PyObject *Py_UNUSED(module), PyObject *args)
{
    if (!PyArg_ParseTuple(args, "ll", &n_good, &n_bad))
        return NULL;
    n_good--;
    n_failed = 0;
    for (int i = 0; i < 3; i++) {
        PyMem_GetAllocator(domains[i], &real[i]);
        PyMemAllocatorEx failing = {&real[i], fail_malloc, fail_calloc, fail_realloc, give_back};
        PyMem_SetAllocator(domains[i], &failing);
    }
    Py_RETURN_NONE;
}

static PyObject *stop(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    for (int i = 0; i < 3; i++)
        PyMem_SetAllocator(domains[i], &real[i]);
    return PyLong_FromLong(n_failed);
}

static PyMethodDef methods[] = {
    {"start", start, METH_VARARGS, NULL}, {"stop", stop, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "failing", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_failing(void)
{
    return PyModule_Create(&definition);
}
