/* runtime/batch/export.c: the answers of a batch that has ended, or not, as two files: those, and the rows that failed.
 */
#include "batch/input.h"
#include "batch/output.h"

#include "file/whole_file.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

typedef struct half {
    whole_file whole;
    FILE *lines; /* over a descriptor of its own for the same open file */
    bool begun;
} half;

static tn_status begin(half *half, const char *path, tn_error *err)
{
    char folder[PATH_MAX], name[PATH_MAX];

    snprintf(folder, sizeof folder, "%s", path);
    snprintf(name, sizeof name, "%s", path);
    tn_status status = whole_file_begin(&half->whole, dirname(folder), basename(name), err);
    if (status != TN_OK)
        return status;
    half->begun = true;
    int fd = dup(half->whole.fd);
    half->lines = fd < 0 ? NULL : fdopen(fd, "w");
    if (half->lines)
        return TN_OK;
    status = tn_fail(err, TN_E_IO, "%.300s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}

/* good: what has been written is to stay. */
static tn_status end(half *half, tn_status good, tn_error *err)
{
    if (half->lines && fclose(half->lines) != 0 && good == TN_OK)
        good = tn_fail(err, TN_E_IO, "%.300s: %s", half->whole.path, strerror(errno));
    if (!half->begun)
        return good;
    if (good == TN_OK)
        return whole_file_end(&half->whole, err);
    whole_file_abandon(&half->whole);
    return good;
}

static tn_status write_record(void *context, const json_t *record, tn_error *err)
{
    half *halves = context;
    const char *status = json_string_value(json_object_get(record, "status"));
    half *half = &halves[status && strcmp(status, "error") == 0];

    if (output_line_write(half->lines, record) && !ferror(half->lines))
        return TN_OK;
    return ferror(half->lines) ? tn_fail(err, TN_E_IO, "%.300s: %s", half->whole.path, strerror(errno))
                               : tn_fail(err, TN_E_MEMORY, "out of memory for a line of the output");
}

/* In the place of an answer. NULL: out of memory. */
static json_t *refusal_of(const batch_row *row, uint64_t index, const output_unasked *unasked)
{
    json_t *record = json_pack("{s:I, s:s, s:s, s:s, s:s}", "row", (json_int_t)index, "key", row->key, "status",
                               "error", "error_code", unasked->code, "error", unasked->reason);

    if (record && row->openai && json_object_set_new(record, "response", json_null()) != 0) {
        json_decref(record);
        return NULL;
    }
    return record;
}

/* Rows from number `first` on. */
static tn_status write_unasked(half *halves, const output_unasked *unasked, uint64_t first, uint64_t *ret_unasked,
                               tn_error *err)
{
    const row_form form = {.service = NULL};
    const input_columns columns = {NULL, NULL};
    batch_input input;
    bool any = true;
    tn_status status = input_open(unasked->input, &form, &columns, &input, err);

    *ret_unasked = 0;
    if (status != TN_OK)
        return status;
    for (uint64_t index = 0;; index++) {
        batch_row row;
        status = input_read(&input, &row, &any, err);
        if (status != TN_OK || !any)
            break;
        if (index >= first) {
            json_t *record = refusal_of(&row, index, unasked);
            status = record ? write_record(halves, record, err) : tn_fail(err, TN_E_MEMORY, "out of memory for a row");
            json_decref(record);
            ++*ret_unasked;
        }
        row_finish(&row);
        if (status != TN_OK)
            break;
    }
    input_close(&input);
    return status;
}

tn_status output_export(job_log *log, const output_unasked *unasked, const char *answers, const char *errors,
                        job_counts *ret_counts, uint64_t *ret_unasked, tn_error *err)
{
    half halves[2] = {{.begun = false}, {.begun = false}};
    tn_status status = begin(&halves[0], answers, err);

    *ret_unasked = 0;
    if (status == TN_OK)
        status = begin(&halves[1], errors, err);
    if (status == TN_OK && log)
        status = job_log_each(log, write_record, halves, err);
    if (status == TN_OK && unasked)
        status = write_unasked(halves, unasked, log ? job_log_rows(log) : 0, ret_unasked, err);
    status = end(&halves[0], status, err);
    status = end(&halves[1], status, err);
    if (status == TN_OK)
        *ret_counts = log ? job_log_counts(log) : (job_counts){0};
    return status;
}
