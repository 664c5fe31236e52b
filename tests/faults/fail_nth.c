/* tests/faults/fail_nth.c: wrappers around the allocators, and the loop over n. */
#include "fail_nth.h"

#include <jansson.h>
#include <stdarg.h>
#include <string.h>

static _Atomic int64_t countdown; /* 1: the next allocation, of any thread, fails; 0 and less: none */

static bool fails_now(void)
{
    return countdown > 0 && --countdown == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
int __wrap_asprintf(char **ret_text, const char *format, ...) TN_PRINTF(2, 3);

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strndup(const char *text, size_t n)
{
    size_t length = strnlen(text, n);
    char *copy = __wrap_malloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, SIZE_MAX - 1);
}

int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    va_list args;

    if (fails_now())
        return -1;
    va_start(args, format);
    int length = vasprintf(ret_text, format, args);
    va_end(args);
    return length;
}

uint32_t fail_every_allocation(tn_status (*action)(tn_error *err), bool exact)
{
    return fail_allocations(action, exact, 1);
}

uint32_t fail_allocations(tn_status (*action)(tn_error *err), bool exact, uint32_t stride)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    for (uint32_t n = 1, lived = 0;; n += stride, lived++) {
        tn_error err = TN_ERROR_INIT;
        countdown = n;
        tn_status status = action(&err);
        bool reached = countdown <= 0;
        countdown = 0;
        if (!reached) { /* fewer than n allocations: nothing failed */
            TN_ASSERT(status == TN_OK);
            return lived;
        }
        TN_ASSERT(exact ? status == TN_E_MEMORY : status != TN_OK);
        TN_ASSERT(err.msg[0] != 0);
    }
}

void fail_allocation(uint32_t n)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    countdown = n;
}
