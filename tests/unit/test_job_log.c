/* test_job_log.c: the log of a batch, torn at every byte and damaged at every line. */
#include "batch/job_log.h"

#include "cmocka_test.h"
#include "scratch_directory.h"

#include <sys/stat.h>
#include <sys/wait.h>

static scratch_directory folder;
static char path[128];
static tn_error err = TN_ERROR_INIT;

static int make_folder(void **state)
{
    (void)state;
    folder = scratch_create();
    snprintf(path, sizeof path, "%s/a.job", folder.path);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    scratch_destroy(&folder);
    return 0;
}

static void append(job_log *log, uint64_t row, const char *status, const char *value)
{
    json_t *record = json_pack("{s:I, s:s, s:s}", "row", (json_int_t)row, "status", status, "value", value);

    assert_int_equal(job_log_append(log, record, &err), TN_OK);
    json_decref(record);
}

/* Six rows: 1 and 4 failed at first, 4 twice, 1 never got better; two lines more than rows. */
static void write_log(void)
{
    job_log *log;
    json_t *head = json_pack("{s:s}", "service", "m");

    assert_int_equal(job_log_open(path, JOB_LOG_ANEW, &log, &err), TN_OK);
    assert_int_equal(job_log_begin(log, head, &err), TN_OK);
    for (uint64_t row = 0; row < 6; row++)
        append(log, row, row == 1 || row == 4 ? "error" : row == 2 ? "null" : "ok", "first");
    append(log, 4, "error", "second");
    append(log, 4, "ok", "third");
    json_decref(head);
    job_log_close(log);
}

static tn_status note_value(void *context, const json_t *record, tn_error *visit_err)
{
    (void)visit_err;
    char *text = context;
    snprintf(text + strlen(text), 256 - strlen(text), "%lld%s ",
             (long long)json_integer_value(json_object_get(record, "row")),
             json_string_value(json_object_get(record, "value")));
    return TN_OK;
}

static void test_the_last_record_counts(void **state)
{
    job_log *log;
    char text[256] = "";
    (void)state;

    write_log();
    assert_int_equal(job_log_open(path, JOB_LOG_READ, &log, &err), TN_OK);
    job_counts counts = job_log_counts(log);
    assert_int_equal(counts.ok, 4);
    assert_int_equal(counts.null, 1);
    assert_int_equal(counts.failed, 1);
    assert_int_equal(job_log_rows(log), 6);
    assert_true(job_log_has_failed(log, 1));
    assert_false(job_log_has_failed(log, 4));
    assert_int_equal(job_log_each(log, note_value, text, &err), TN_OK);
    assert_string_equal(text, "0first 1first 2first 3first 4third 5first ");
    job_log_close(log);
}

static char *read_whole(size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(4096);

    assert_non_null(file);
    assert_non_null(bytes);
    *ret_bytes = fread(bytes, 1, 4096, file);
    fclose(file);
    return bytes;
}

/* What a kill leaves is a prefix: whole lines count, the rest is cut, and writing goes on behind. */
static void test_torn_at_every_byte(void **state)
{
    size_t bytes;
    char *whole;
    job_log *log;
    struct stat entry;
    (void)state;

    write_log();
    whole = read_whole(&bytes);
    for (size_t cut = 0; cut <= bytes; cut++) {
        uint64_t lines = 0, kept = 0;
        for (size_t i = 0; i < cut; i++)
            if (whole[i] == '\n') {
                lines++;
                kept = i + 1;
            }
        uint64_t rows = lines == 0 ? 0 : lines - 1 < 6 ? lines - 1 : 6;
        scratch_write(&folder, "a.job", whole, cut);
        assert_int_equal(job_log_open(path, JOB_LOG_READ, &log, &err), TN_OK);
        assert_int_equal(job_log_rows(log), rows);
        assert_int_equal(job_log_head(log) != NULL, lines > 0);
        job_log_close(log);
        assert_int_equal(job_log_open(path, JOB_LOG_WRITE, &log, &err), TN_OK);
        assert_int_equal(stat(path, &entry), 0);
        assert_int_equal(entry.st_size, kept);
        if (lines > 0)
            append(log, rows, "ok", "more");
        job_log_close(log);
        assert_int_equal(job_log_open(path, JOB_LOG_READ, &log, &err), TN_OK);
        assert_int_equal(job_log_rows(log), lines > 0 ? rows + 1 : 0);
        job_log_close(log);
    }
    free(whole);
}

static void test_damage_is_told(void **state)
{
    static const char *const bad[][2] = {
        {"x\n", "line 1: not a JSON object"},
        {"{}\n", "line 1: this is not the log"},
        {"{\"tenon_batch\":2}\n", "version 2"},
        {"{\"tenon_batch\":1}\n{\"row\":1,\"status\":\"ok\"}\n", "line 2: no record"},
        {"{\"tenon_batch\":1}\n{\"row\":-1,\"status\":\"ok\"}\n", "line 2"},
        {"{\"tenon_batch\":1}\n{\"row\":0,\"status\":\"good\"}\n", "line 2"},
        {"{\"tenon_batch\":1}\n{\"row\":0}\n", "line 2"},
        {"{\"tenon_batch\":1}\n{\"row\":0,\"status\":\"ok\"}\n{\"row\":0,\"status\":\"ok\"}\n", "line 3"},
        {"{\"tenon_batch\":1}\n\n", "line 2"},
    };
    job_log *log;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        scratch_write(&folder, "a.job", bad[i][0], strlen(bad[i][0]));
        assert_int_not_equal(job_log_open(path, JOB_LOG_WRITE, &log, &err), TN_OK);
        if (!strstr(err.msg, bad[i][1]))
            fail_msg("'%s' is not in '%s'", bad[i][1], err.msg);
    }
    unlink(path);
    assert_int_equal(job_log_open(path, JOB_LOG_READ, &log, &err), TN_E_NOT_FOUND);
}

static void test_one_process_writes(void **state)
{
    job_log *log;
    int status;
    (void)state;

    write_log();
    assert_int_equal(job_log_open(path, JOB_LOG_WRITE, &log, &err), TN_OK);
    pid_t writer = getpid(), child = fork();
    if (child == 0) {
        job_log *other;
        if (job_log_open(path, JOB_LOG_WRITE, &other, &err) != TN_E_AGAIN)
            _exit(1);
        if (job_log_open(path, JOB_LOG_READ, &other, &err) != TN_OK || job_log_writer(other) != writer)
            _exit(2);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    job_log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_record_counts),
        cmocka_unit_test(test_torn_at_every_byte),
        cmocka_unit_test(test_damage_is_told),
        cmocka_unit_test(test_one_process_writes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
