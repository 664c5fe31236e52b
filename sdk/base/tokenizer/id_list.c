/* id_list.c: grows by doubling; texts that are valid are not copied. */
#include "base/tokenizer/id_list.h"

#include "base/utf8.h"

#include <string.h>

tn_status id_list_reserve(id_list *list, uint64_t more, tn_error *err)
{
    if (list->capacity - list->count >= more)
        return TN_OK;
    uint64_t capacity = 2 * (list->count + more) + 64;
    int32_t *id = realloc(list->id, capacity * sizeof *id);
    if (!id)
        return tn_fail(err, TN_E_MEMORY, "no memory for %llu token ids", (unsigned long long)capacity);
    list->id = id;
    list->capacity = capacity;
    return TN_OK;
}

tn_status id_list_append(id_list *list, const int32_t *id, uint64_t count, tn_error *err)
{
    tn_status status = id_list_reserve(list, count, err);
    if (status != TN_OK)
        return status;
    for (uint64_t i = 0; i < count; i++)
        list->id[list->count++] = id[i];
    return TN_OK;
}

tn_status id_list_deliver(const id_list *list, int32_t *ids, uint64_t *n_ids, tn_error *err)
{
    uint64_t capacity = *n_ids, copied = list->count < capacity ? list->count : capacity;
    if (copied > 0)
        memcpy(ids, list->id, copied * sizeof *ids);
    *n_ids = list->count;
    if (list->count > capacity)
        return tn_fail(err, TN_E_MEMORY, "the text has %llu tokens; there is room for %llu",
                       (unsigned long long)list->count, (unsigned long long)capacity);
    return TN_OK;
}

void id_list_finish(id_list *list)
{
    free(list->id);
    *list = (id_list){0};
}

tn_status encode_check(const char *utf8, uint64_t n_bytes, const int32_t *ids, const uint64_t *n_ids, tn_error *err)
{
    if (!n_ids || (!ids && *n_ids > 0) || (!utf8 && n_bytes > 0))
        return tn_fail(err, TN_E_ARGUMENT, "encode: n_ids must not be NULL, nor utf8 or ids with a length");
    if (n_bytes > ENCODE_TEXT_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "a text of %llu bytes is too long to tokenize; the limit is %d",
                       (unsigned long long)n_bytes, ENCODE_TEXT_BYTES_MAX);
    return TN_OK;
}

tn_status encode_repair(const char **text, size_t *n, char **ret_copy, tn_error *err)
{
    *ret_copy = NULL;
    if (utf8_is_valid(*text, *n))
        return TN_OK;
    char *copy = malloc(3 * *n); /* one bad byte becomes three */
    if (!copy)
        return tn_fail(err, TN_E_MEMORY, "no memory to tokenize %zu bytes", *n);
    size_t copied = 0;
    for (size_t at = 0; at < *n;) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(*text + at, *n - at, &codepoint, &valid);
        copied += utf8_encode(codepoint, copy + copied);
    }
    *ret_copy = copy;
    *text = copy;
    *n = copied;
    return TN_OK;
}
