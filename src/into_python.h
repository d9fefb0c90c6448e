/* Calls into Python whose exceptions are caught in C.
 *
 * An `except` clause of Cython needs memory for a traceback, and crashes if there is none: so there is none in the codec.
 */
#ifndef WSFAST_INTO_PYTHON_H
#define WSFAST_INTO_PYTHON_H

#include <Python.h>

/* Take the exception that is set if it is of this type: a new reference, or NULL. */
static PyObject *wsfast_take_exception(PyObject *type)
{
    if (!PyErr_ExceptionMatches(type))
        return NULL;
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *found, *value, *traceback;
    PyErr_Fetch(&found, &value, &traceback);
    PyErr_NormalizeException(&found, &value, &traceback);
    Py_XDECREF(traceback);
    if (!PyErr_GivenExceptionMatches(found, type)) { /* there was no memory to make it */
        PyErr_Restore(found, value, NULL);
        return NULL;
    }
    Py_DECREF(found);
    return value;
#endif
}

/* An iterator over inflate(data, fin). NULL: with an exception, or without one and with a `fault` of that type. */
static PyObject *wsfast_start_inflating(
    PyObject *inflate, PyObject *data, int fin, PyObject *fault_type, PyObject **fault)
{
    PyObject *const pieces = PyObject_CallFunctionObjArgs(inflate, data, fin ? Py_True : Py_False, NULL);
    if (pieces == NULL) {
        *fault = wsfast_take_exception(fault_type);
        return NULL;
    }
    PyObject *const iterator = PyObject_GetIter(pieces);
    Py_DECREF(pieces);
    return iterator;
}

/* The next of the pieces. NULL: with an exception, or without one at their end, which may be a `fault`. */
static PyObject *wsfast_next_inflated(PyObject *iterator, PyObject *fault_type, PyObject **fault)
{
    PyObject *const piece = PyIter_Next(iterator);
    if (piece == NULL && PyErr_Occurred())
        *fault = wsfast_take_exception(fault_type);
    return piece;
}

/* End a memoryview. It stays if somebody has taken a part of it; then there is nothing else to do here. */
static void wsfast_release_view(PyObject *view)
{
    PyObject *const none = PyObject_CallMethod(view, "release", NULL);
    if (none == NULL)
        PyErr_Clear();
    Py_XDECREF(none);
}

#endif
