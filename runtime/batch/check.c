/* runtime/batch/check.c: see check.h. Lines are read by row.c, as the run will read them. */
#include "batch/check.h"

#include "base/utf8.h"
#include "batch/key_set.h"
#include "batch/row.h"
#include "batch/text_line.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

typedef struct checker {
    const char *endpoint;
    key_set keys;
    json_t *errors; /* owned */
    char *model;    /* owned; the first line's; NULL: none yet */
    uint64_t line, rows;
} checker;

/* message may quote bytes of the file, and end in the middle of a character. */
static bool add_error(checker *c, const char *code, const char *param, const char *message, uint64_t line)
{
    char text[sizeof((tn_error *)NULL)->msg];

    snprintf(text, sizeof text, "%s", message);
    utf8_repair(text);
    json_t *error = json_pack("{s:s, s:s, s:o, s:s?}", "code", code, "message", text, "line",
                              line ? json_integer((json_int_t)line) : json_null(), "param", param);
    return json_array_append_new(c->errors, error) == 0;
}

/* The model of the first line that names one: it is that of all. */
static void find_model(checker *c, const char *text, size_t bytes)
{
    json_t *root = c->model ? NULL : json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const json_t *model = json_object_get(json_object_get(root, "body"), "model");

    if (json_string_length(model) > 0)
        c->model = strdup(json_string_value(model));
    json_decref(root);
}

static const char *code_of(const char *message)
{
    if (strncmp(message, "not a JSON object", 17) == 0)
        return "invalid_json_line";
    if (strncmp(message, "the row asks for the model", 26) == 0)
        return "mismatched_model";
    if (strncmp(message, "'url'", 5) == 0)
        return "invalid_url";
    if (strncmp(message, "'method'", 8) == 0)
        return "invalid_method";
    return "invalid_request";
}

/* A row that can be read, beside the others. */
static tn_status check_row(checker *c, const batch_row *row, tn_error *err)
{
    uint64_t before = 0;
    char message[256];
    bool told = true;

    if (!row->openai)
        return add_error(c, "missing_required_parameter", "custom_id", "'custom_id' is missing", c->line)
                   ? TN_OK
                   : tn_fail(err, TN_E_MEMORY, "out of memory for errors");
    if (strcmp(row->path, c->endpoint) != 0) {
        snprintf(message, sizeof message, "'url' is \"%s\", and the batch is for \"%s\"", row->path, c->endpoint);
        told = add_error(c, "mismatched_url", "url", message, c->line);
    } else if (!json_is_string(json_object_get(row->body, "model"))) {
        told = add_error(c, "missing_required_parameter", "body.model", "'body' names no model", c->line);
    }
    tn_status status = told ? key_set_add(&c->keys, row->key, c->line, &before, err)
                            : tn_fail(err, TN_E_MEMORY, "out of memory for errors");
    if (status == TN_OK && before) {
        snprintf(message, sizeof message, "the custom_id is that of line %" PRIu64 " too; they must differ", before);
        if (!add_error(c, "duplicate_custom_id", "custom_id", message, c->line))
            status = tn_fail(err, TN_E_MEMORY, "out of memory for errors");
    }
    return status;
}

static tn_status check_line(checker *c, const text_line *line, tn_error *err)
{
    tn_error fault = TN_ERROR_INIT;
    batch_row row;

    if (strspn(line->bytes, " \t\r") == line->count)
        return TN_OK;
    c->rows++;
    find_model(c, line->bytes, line->count);
    const row_form form = {.service = c->model ? c->model : ""};
    tn_status status = row_from_json(&form, c->line, line->bytes, line->count, &row, &fault);
    if (status == TN_E_MEMORY)
        return tn_fail(err, status, "%s", fault.msg);
    if (status != TN_OK)
        return add_error(c, code_of(fault.msg), NULL, fault.msg, c->line)
                   ? TN_OK
                   : tn_fail(err, TN_E_MEMORY, "out of memory for errors");
    status = check_row(c, &row, err);
    row_finish(&row);
    return status;
}

/* An over-long line ends the check: what follows it cannot be told from it. */
static tn_status check_lines(checker *c, FILE *file, text_line *line, tn_error *err)
{
    bool any = true, whole;
    tn_error fault = TN_ERROR_INIT;
    tn_status status = TN_OK;

    while (status == TN_OK && json_array_size(c->errors) < CHECK_ERRORS_MAX) {
        c->line++;
        status = text_line_read(file, ROW_BYTES_MAX, line, &any, &whole, &fault);
        if (status == TN_E_ARGUMENT)
            return add_error(c, "line_too_long", NULL, fault.msg, c->line)
                       ? TN_OK
                       : tn_fail(err, TN_E_MEMORY, "out of memory for errors");
        if (status != TN_OK)
            return tn_fail(err, status, "%s", fault.msg);
        if (!any)
            break;
        status = check_line(c, line, err);
    }
    if (status == TN_OK && c->rows == 0)
        add_error(c, "empty_file", NULL, "the file holds no line", 0);
    return status;
}

tn_status batch_check(const char *path, const char *endpoint, json_t **ret_found, tn_error *err)
{
    checker c = {.endpoint = endpoint, .errors = json_array()};
    text_line line = {.bytes = NULL};
    FILE *file = fopen(path, "re");
    tn_status status = !c.errors ? tn_fail(err, TN_E_MEMORY, "out of memory for errors")
                       : !file   ? tn_fail(err, TN_E_IO, "%.300s: %s", path, strerror(errno))
                                 : key_set_create(&c.keys, err);

    if (status == TN_OK) {
        status = check_lines(&c, file, &line, err);
        key_set_destroy(&c.keys);
    }
    if (status == TN_OK) {
        *ret_found = json_pack("{s:I, s:s?, s:O}", "rows", (json_int_t)c.rows, "model", c.model, "errors", c.errors);
        if (!*ret_found)
            status = tn_fail(err, TN_E_MEMORY, "out of memory for what is found");
    }
    if (file)
        fclose(file);
    text_line_finish(&line);
    json_decref(c.errors);
    free(c.model);
    return status;
}
