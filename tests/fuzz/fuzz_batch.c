/* fuzz_batch.c: the first byte chooses: the rest is CSV, a line of a batch, or the log of one. */
#include "batch/csv_reader.h"
#include "batch/job_log.h"
#include "batch/row.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void read_csv(const char *bytes, size_t n)
{
    FILE *file = fmemopen((void *)bytes, n, "r");
    csv_record record = {.field_count = 0};
    tn_error err = TN_ERROR_INIT;
    bool any = true;
    tn_status status = TN_OK;

    TN_ASSERT(file);
    while (status == TN_OK && any) {
        status = csv_read(file, &record, &any, &err);
        TN_ASSERT((status == TN_OK) == (err.msg[0] == '\0'));
        for (uint32_t i = 0; status == TN_OK && any && i < record.field_count; i++)
            TN_ASSERT(strlen(csv_field(&record, i)) <= n);
    }
    csv_record_finish(&record);
    fclose(file);
}

static void read_row(const char *bytes, size_t n)
{
    const row_form forms[] = {{.service = "m"}, {.service = "m", .raw = true}, {.service = "m", .system = "s"}};
    tn_error err = TN_ERROR_INIT;

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        batch_row row;
        tn_status status = row_from_json(&forms[i], 1, bytes, n, &row, &err);
        TN_ASSERT((status == TN_OK) == (err.msg[0] == '\0'));
        if (status != TN_OK)
            return;
        TN_ASSERT(row.key[0] && row.path[0] == '/');
        row_finish(&row);
    }
}

static tn_status count(void *context, const json_t *record, tn_error *err)
{
    (void)err;
    TN_ASSERT(json_object_get(record, "status"));
    ++*(uint64_t *)context;
    return TN_OK;
}

/* A log is a file: one in memory, under the name that the kernel gives it. */
static void read_log(const char *bytes, size_t n)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    char path[64];
    job_log *log;
    tn_error err = TN_ERROR_INIT;
    uint64_t rows = 0;

    TN_ASSERT(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    tn_status status = job_log_open(path, JOB_LOG_READ, &log, &err);
    TN_ASSERT((status == TN_OK) == (err.msg[0] == '\0'));
    if (status == TN_OK) {
        job_counts counts = job_log_counts(log);
        TN_ASSERT(job_log_each(log, count, &rows, &err) == TN_OK);
        TN_ASSERT(rows == job_log_rows(log) && rows == counts.ok + counts.null + counts.failed);
        job_log_close(log);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static void (*const readers[])(const char *, size_t) = {read_csv, read_row, read_log};

    if (n >= 2)
        readers[bytes[0] % 3]((const char *)bytes + 1, n - 1);
    return 0;
}
