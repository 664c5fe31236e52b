/* tenon/error.h: status codes a scheduler can act on, and the caller-owned message that goes with them.
 *
 * A fallible function returns tn_status and takes `tn_error *err` last; err may be NULL. Outputs are untouched on
 * failure. The deepest function writes the sentence; nothing is allocated and nothing has to be freed.
 */
#ifndef TENON_ERROR_H
#define TENON_ERROR_H

#include "tenon/abi.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

TN_BEGIN_DECLS

/* X(name, value, text). Values are frozen; new ones are appended. */
#define TN_STATUS_LIST(X)                                                                  \
    X(OK, 0, "ok")                                                                         \
    X(E_ARGUMENT, -1, "invalid argument")        /* the caller's input; do not retry */    \
    X(E_UNSUPPORTED, -2, "not supported")        /* valid, but this part cannot do it */   \
    X(E_MEMORY, -3, "out of memory")             /* scheduler: preempt and retry */        \
    X(E_NOT_FOUND, -4, "not found")                                                        \
    X(E_AGAIN, -5, "try again later")            /* scheduler: requeue; front end: 429 */  \
    X(E_CANCELLED, -6, "cancelled")                                                        \
    X(E_DEVICE_LOST, -7, "device lost")          /* scheduler: fail the engine */          \
    X(E_CORRUPT, -8, "corrupt input")            /* a file or message violates its format */ \
    X(E_INTERNAL, -9, "internal error")                                                    \
    X(E_IO, -10, "input/output error")           /* the file system or network said no */

typedef int32_t tn_status;
enum {
#define TN_STATUS_ENUM(name, value, text) TN_##name = (value),
    TN_STATUS_LIST(TN_STATUS_ENUM)
#undef TN_STATUS_ENUM
};

typedef struct tn_error {
    uint32_t struct_size;
    int32_t native_code; /* errno, cudaError_t...; 0 when there is none */
    char msg[504];       /* UTF-8, always terminated, cut at the end if longer */
} tn_error;
TN_SEALED(tn_error, msg);

#define TN_ERROR_INIT {(uint32_t)sizeof(tn_error), 0, {0}}

/* The fixed text of a status; "unknown status" for values from a newer minor. [any] */
static inline const char *tn_status_text(tn_status status)
{
    switch (status) {
#define TN_STATUS_CASE(name, value, text) \
    case TN_##name:                       \
        return text;
        TN_STATUS_LIST(TN_STATUS_CASE)
#undef TN_STATUS_CASE
    default:
        return "unknown status";
    }
}

/* Writes the message into err (if not NULL) and returns status, so that `return tn_fail(...)` is one line. [any] */
static inline tn_status tn_fail(tn_error *err, tn_status status, const char *format, ...) TN_PRINTF(3, 4);
static inline tn_status tn_fail(tn_error *err, tn_status status, const char *format, ...)
{
    if (err && TN_HAS(err, tn_error, msg)) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->msg, sizeof err->msg, format, args);
        va_end(args);
    }
    return status;
}

/* Our own bug, never the world's: stops the process, in release builds too. */
#define TN_ASSERT(condition)                                                                              \
    do {                                                                                                  \
        if (!(condition)) {                                                                               \
            fprintf(stderr, "tenon: %s:%d: assertion failed: %s\n", __FILE__, __LINE__, #condition);      \
            abort();                                                                                      \
        }                                                                                                 \
    } while (0)

TN_END_DECLS
#endif
