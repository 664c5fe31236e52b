/* field.h: request objects read through tables of known fields, so that a field nobody reads is an error instead of a
 * silently different answer. */
#ifndef HTTP_FIELD_H
#define HTTP_FIELD_H

#include "api_error.h"

#include <jansson.h>

/* One known key. The reader stores into the struct at `into` + offset; a JSON null means "absent" and is never passed
 * to a reader. min, max: inclusive range of numbers, lengths of strings in bytes. */
typedef struct field_rule field_rule;
typedef tn_status field_reader(const field_rule *field, json_t *value, void *into, api_error *error);
struct field_rule {
    const char *name;
    field_reader *read;
    size_t offset;
    double min, max;
};
typedef struct field_table {
    const field_rule *fields;
    size_t count;
} field_table;

/* Reads every key of object through the tables; an unknown key is refused with the nearest known name. Values borrowed
 * from object stay so. */
tn_status fields_read(json_t *object, const field_table *tables, size_t table_count, void *into, api_error *error);

field_reader field_float;   /* float */
field_reader field_integer; /* int64_t */
field_reader field_bool;    /* bool */
field_reader field_string;  /* const char *, borrowed; also checks min..max bytes when max > 0 */
field_reader field_value;   /* json_t *, borrowed */
field_reader field_array;   /* json_t *, borrowed, an array */
field_reader field_object;  /* json_t *, borrowed, an object */
/* Accepted and without effect on the answer. */
field_reader field_harmless;
/* Only a value that asks for nothing (false, 0, "", [], {}) is accepted. */
field_reader field_unsupported;
/* Only true, or only the number 1, is accepted: what the server does anyway. */
field_reader field_only_true;
field_reader field_only_one;

#endif
