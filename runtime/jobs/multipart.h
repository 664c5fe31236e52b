/* runtime/jobs/multipart.h: multipart/form-data, taken apart as it comes.
 *
 * A body may arrive in pieces of any size, cut anywhere; nothing of it is held but the head of a part and the bytes
 * that may be the beginning of a boundary. Parts are not nested, and their bytes stand for themselves.
 * Source: RFC 7578, RFC 2046 section 5.1.
 */
#ifndef JOBS_MULTIPART_H
#define JOBS_MULTIPART_H

#include "tenon/error.h"

#include <stdbool.h>

enum {
    MULTIPART_BOUNDARY_MAX = 70,
    MULTIPART_HEAD_BYTES_MAX = 8192, /* of one part's lines before its content */
    MULTIPART_PARTS_MAX = 16,
    MULTIPART_NAME_BYTES_MAX = 64,
    MULTIPART_FILENAME_BYTES_MAX = 255
};

/* Of the part that has begun. */
typedef struct multipart_part {
    char name[MULTIPART_NAME_BYTES_MAX + 1];
    char filename[MULTIPART_FILENAME_BYTES_MAX + 1]; /* without folders; "" where there is none */
    bool has_filename;
} multipart_part;

/* Where parts go; a failure ends the body with it. */
typedef struct multipart_sink {
    void *ctx;
    tn_status (*begin)(void *ctx, const multipart_part *part, tn_error *err);
    tn_status (*content)(void *ctx, const char *bytes, size_t n, tn_error *err);
    tn_status (*end)(void *ctx, tn_error *err);
} multipart_sink;

typedef enum multipart_state {
    MULTIPART_BEFORE, /* what stands before the first boundary is dropped */
    MULTIPART_MARK,   /* behind a boundary: the end of its line, or "--" */
    MULTIPART_HEAD,
    MULTIPART_CONTENT,
    MULTIPART_AFTER /* what stands behind the last one is dropped */
} multipart_state;

typedef struct multipart {
    multipart_sink sink;
    multipart_state state;
    char mark[MULTIPART_BOUNDARY_MAX + 5]; /* "\r\n--BOUNDARY" */
    size_t mark_bytes, matched;            /* of mark, at the end of what has come */
    char head[MULTIPART_HEAD_BYTES_MAX + 1];
    size_t head_bytes;
    uint32_t parts;
} multipart;

/* content_type: of the request. TN_E_ARGUMENT: it is another type, or has no boundary that could be one. */
tn_status multipart_init(multipart *form, const char *content_type, const multipart_sink *sink, tn_error *err);
/* The next bytes. TN_E_ARGUMENT: it cannot be such a body; or what sink said. */
tn_status multipart_feed(multipart *form, const char *bytes, size_t n, tn_error *err);
/* No more comes. TN_E_ARGUMENT: it is cut off. */
tn_status multipart_end(const multipart *form, tn_error *err);

#endif
