/* The object in which a message is collected, and which becomes the message.
 *
 * It is a bytes, or a str as long as a text is ASCII: then nothing is copied at the end. It is larger than its content
 * while the message is unfinished. Its memory follows the bytes received: at most twice of them.
 *
 * One reference is ours. If there is another, somebody has a view of the memory (get_buffer) and may write to it. Then
 * the object is never resized: the content moves to a new one.
 */
#ifndef WSFAST_COLLECTED_H
#define WSFAST_COLLECTED_H

#include <Python.h>

#include <stdint.h>
#include <string.h>

/* All bytes 0: nothing is collected, and a bytes will be. */
typedef struct {
    PyObject *object;   /* NULL while there is nothing */
    Py_ssize_t size;    /* bytes collected, from the start of the object */
    int is_str;         /* the object is a str, all ASCII; if it is NULL, it will be one */
} wsfast_collected;

/* The memory of a str or a bytes that is ours. */
static inline uint8_t *wsfast_memory_of(PyObject *object, int is_str)
{
    return is_str ? (uint8_t *)PyUnicode_DATA(object) : (uint8_t *)PyBytes_AS_STRING(object);
}

/* The place of the next byte. There has to be an object. */
static inline uint8_t *wsfast_collected_end(const wsfast_collected *collected)
{
    return wsfast_memory_of(collected->object, collected->is_str) + collected->size;
}

/* The capacity of the object, in bytes. */
static inline Py_ssize_t wsfast_collected_room(const wsfast_collected *collected)
{
    if (collected->object == NULL)
        return 0;
    return collected->is_str ? PyUnicode_GET_LENGTH(collected->object) : PyBytes_GET_SIZE(collected->object);
}

/* Drop the object, and begin anew with a bytes. */
static inline void wsfast_collected_drop(wsfast_collected *collected)
{
    PyObject *const object = collected->object;
    collected->object = NULL;
    collected->size = 0;
    collected->is_str = 0;
    Py_XDECREF(object);
}

/* Make the capacity `room` bytes, and keep the first `n_used` bytes. Returns 0, or -1 with MemoryError. */
static int wsfast_collected_resize(wsfast_collected *collected, Py_ssize_t room, Py_ssize_t n_used)
{
    PyObject *const old = collected->object;
    if (old != NULL && Py_REFCNT(old) == 1) {
        const int status = collected->is_str ? PyUnicode_Resize(&collected->object, room)
                                             : _PyBytes_Resize(&collected->object, room);
        if (collected->object == NULL)
            collected->size = 0; /* _PyBytes_Resize() frees the object if there is no memory */
        return status;
    }
    PyObject *const moved = collected->is_str ? PyUnicode_New(room, 0x7F) : PyBytes_FromStringAndSize(NULL, room);
    if (moved == NULL)
        return -1;
    if (old != NULL) {
        memcpy(wsfast_memory_of(moved, collected->is_str), wsfast_memory_of(old, collected->is_str), (size_t)n_used);
        Py_DECREF(old);
    }
    collected->object = moved;
    return 0;
}

/* Make room for `size` bytes, after which at most `rest` can come. Returns 0, or -1 with MemoryError.
 *
 * It grows to twice of what is needed, if so much can come, so that many small pieces are not copied each time.
 */
static inline int wsfast_collected_reserve(wsfast_collected *collected, Py_ssize_t size, uint64_t rest)
{
    const Py_ssize_t needed = collected->size + size;
    if (needed <= wsfast_collected_room(collected))
        return 0;
    const Py_ssize_t more = rest < (uint64_t)needed ? (Py_ssize_t)rest : needed;
    return wsfast_collected_resize(collected, needed + more, collected->size);
}

/* The object, of the size of its content: a new reference, b"" for nothing, or NULL with MemoryError.
 *
 * Afterwards nothing is collected. After an error the content may be lost.
 */
static inline PyObject *wsfast_collected_take(wsfast_collected *collected)
{
    if (collected->object == NULL)
        return PyBytes_FromStringAndSize(NULL, 0);
    if (wsfast_collected_room(collected) != collected->size
        && wsfast_collected_resize(collected, collected->size, collected->size) < 0)
        return NULL;
    PyObject *const whole = collected->object;
    collected->object = NULL;
    wsfast_collected_drop(collected);
    return whole;
}

/* Go on in a bytes, with the content of the str. Returns 0, or -1 with MemoryError. */
static inline int wsfast_collected_leave_ascii(wsfast_collected *collected)
{
    PyObject *const text = collected->object;
    PyObject *const moved = PyBytes_FromStringAndSize(NULL, PyUnicode_GET_LENGTH(text));
    if (moved == NULL)
        return -1;
    memcpy(PyBytes_AS_STRING(moved), PyUnicode_DATA(text), (size_t)collected->size);
    collected->object = moved;
    collected->is_str = 0;
    Py_DECREF(text);
    return 0;
}

#endif
