/* runtime/batch/export.c: the answers of a batch that has ended, or not, as two files: those, and the rows that failed.
 */
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

tn_status output_export(job_log *log, const char *answers, const char *errors, job_counts *ret_counts, tn_error *err)
{
    half halves[2] = {{.begun = false}, {.begun = false}};
    tn_status status = begin(&halves[0], answers, err);

    if (status == TN_OK)
        status = begin(&halves[1], errors, err);
    if (status == TN_OK)
        status = job_log_each(log, write_record, halves, err);
    status = end(&halves[0], status, err);
    status = end(&halves[1], status, err);
    if (status == TN_OK)
        *ret_counts = job_log_counts(log);
    return status;
}
