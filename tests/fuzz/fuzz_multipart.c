/* fuzz_multipart.c: a form, whole and in pieces, which must say the same. The first line is the content type. */
#include "jobs/multipart.h"

#include <stdlib.h>
#include <string.h>

typedef struct record {
    uint64_t parts, ended, bytes, sum;
} record;

static tn_status begin(void *ctx, const multipart_part *part, tn_error *err)
{
    record *r = ctx;

    (void)err;
    TN_ASSERT(r->parts == r->ended);
    TN_ASSERT(strlen(part->name) <= MULTIPART_NAME_BYTES_MAX && !strchr(part->filename, '/'));
    TN_ASSERT(part->has_filename || part->filename[0] == '\0');
    r->parts++;
    return TN_OK;
}

static tn_status content(void *ctx, const char *bytes, size_t n, tn_error *err)
{
    record *r = ctx;

    (void)err;
    TN_ASSERT(n > 0 && r->parts == r->ended + 1);
    r->bytes += n;
    for (size_t i = 0; i < n; i++)
        r->sum = r->sum * 31 + (unsigned char)bytes[i];
    return TN_OK;
}

static tn_status end(void *ctx, tn_error *err)
{
    record *r = ctx;
    (void)err;
    r->ended++;
    return TN_OK;
}

static tn_status parse(const char *type, const char *bytes, size_t n, size_t piece, record *ret_record)
{
    const multipart_sink sink = {ret_record, begin, content, end};
    multipart *form = malloc(sizeof *form);
    tn_error err = TN_ERROR_INIT;

    TN_ASSERT(form);
    tn_status status = multipart_init(form, type, &sink, &err);
    for (size_t at = 0; status == TN_OK && at < n; at += piece)
        status = multipart_feed(form, bytes + at, n - at < piece ? n - at : piece, &err);
    if (status == TN_OK)
        status = multipart_end(form, &err);
    TN_ASSERT((status == TN_OK) == (err.msg[0] == '\0'));
    TN_ASSERT(status != TN_OK || ret_record->parts == ret_record->ended);
    free(form);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *newline = memchr(bytes, '\n', n);
    size_t head = newline ? (size_t)(newline - bytes) : n;
    char *type = malloc(head + 1);
    record whole = {0}, cut = {0};

    TN_ASSERT(type);
    memcpy(type, bytes, head);
    type[head] = '\0';
    const char *body = newline ? (const char *)newline + 1 : "";
    size_t body_bytes = newline ? n - head - 1 : 0;
    tn_status status = parse(type, body, body_bytes, body_bytes + 1, &whole);
    TN_ASSERT(parse(type, body, body_bytes, 1 + head % 5, &cut) == status);
    TN_ASSERT(memcmp(&whole, &cut, sizeof whole) == 0);
    free(type);
    return 0;
}
