/* runtime/admin/body.h: a request's JSON, hostile until it is parsed, and its fields, each named when it is wrong. */
#ifndef ADMIN_BODY_H
#define ADMIN_BODY_H

#include "admin/answer.h"

#include <stdbool.h>

enum { BODY_BYTES_MAX = 1 << 20, BODY_DEPTH_MAX = 8, BODY_TEXT_BYTES_MAX = 4096 };

/* An object, or NULL where there are no bytes. TN_E_ARGUMENT says what is wrong with it. [any] */
tn_status body_parse(const char *bytes, uint64_t n, json_t **ret_body, tn_error *err);

typedef enum field_kind {
    FIELD_TEXT,   /* const char ** */
    FIELD_COUNT,  /* uint32_t *, less than UINT32_MAX */
    FIELD_BOOL,   /* bool * */
    FIELD_SCALAR, /* json_t **: text, number or boolean */
    FIELD_OBJECT, /* json_t **, of scalars */
    FIELD_TEXTS   /* json_t **, an array of texts */
} field_kind;

typedef struct field {
    const char *name;
    field_kind kind;
    void *target; /* left as it is when the field is absent or null; borrowed from the body */
    bool required;
} field;

/* Everything that body holds, in its target; body may be NULL. A field that there is not, one of another kind, and one
 * that is missing are refused, and *ret_param is its name, borrowed from body or fields. [any] */
tn_status fields_read(json_t *body, const field *fields, uint32_t count, const char **ret_param, tn_error *err);

/* A scalar as settings and flags spell it: "8192", "0.9", "true"; text as it is. False: it does not fit. */
bool scalar_text(const json_t *scalar, char *text, size_t bytes);

#endif
