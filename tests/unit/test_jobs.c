/* test_jobs.c: the steps of a job where they are hard to meet by chance: the moments between two daemons, and those of
 * its end. `tenon` is a script here, which says what the real one would and waits where a test wants to be first. What
 * the real one does: tests/e2e/test_jobs.py. */
#include "jobs/jobs.h"

#include "base/clock.h"
#include "file/directory.h"

#include "cmocka_test.h"
#include "scratch_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ID "batch_0123456789abcdef01234567"

enum { WAIT_MS = 60000 };

/* $0 lies in the scratch folder. Each command leaves its words in said.COMMAND; a file stop.COMMAND holds it until
 * go.COMMAND is there. */
static const char script[] =
    "#!/bin/sh\n"
    "cd \"${0%/*}\" || exit 9\n"
    "echo \"$*\" >> said.$2\n"
    "wait_for() { n=0; until [ -e \"$1\" ] || [ $((n += 1)) -gt 6000 ]; do sleep 0.01; done; }\n"
    "if [ -e stop.$2 ]; then : > at.$2; wait_for go.$2; fi\n"
    "case $2 in\n"
    "check) echo '{\"rows\": 5, \"model\": \"m\", \"errors\": []}';;\n"
    "run) if [ -e fail.run ]; then cat fail.run >&2; exit 1; fi\n"
    "     if [ -e refuse.run ]; then rm refuse.run\n"
    "       : > looked; wait_for taken\n"
    "       echo 'tenon: out.jsonl.job: process 1 is running this batch' >&2; exit 1; fi\n"
    "     : >> \"store/jobs/" ID "/out.jsonl.job\"\n"
    "     echo '{\"rows\": 5, \"ok\": 5, \"null\": 0, \"error\": 0}';;\n"
    "export) echo answers > \"$5\"; echo errors > \"$7\"; cat counts;;\n"
    "esac\n";

static scratch_directory folder;
static tn_error err = TN_ERROR_INIT;
static char told[1024];

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder.path, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    scratch_write(&folder, name, text, strlen(text));
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

/* The first line of a file; "" where there is none. */
static const char *read_text(const char *name)
{
    static char text[1024];
    FILE *file = fopen(path_of(name), "r");

    text[0] = '\0';
    if (file) {
        if (!fgets(text, sizeof text, file))
            text[0] = '\0';
        fclose(file);
    }
    return text;
}

static void pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000000};
    nanosleep(&pause, NULL);
}

static void wait_for_file(const char *name)
{
    const uint64_t until = clock_ms() + WAIT_MS;

    while (!is_there(name)) {
        if (clock_ms() > until)
            fail_msg("%s has not come", name);
        pause_a_little();
    }
}

static int make_store(void **state)
{
    (void)state;
    folder = scratch_create();
    told[0] = '\0';
    assert_int_equal(directory_make(path_of("store/jobs/" ID), &err), TN_OK);
    write_text("tenon", script);
    assert_int_equal(chmod(path_of("tenon"), 0700), 0);
    write_text("counts", "{\"ok\": 5, \"error\": 0, \"unasked\": 0}\n");
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    assert_int_equal(directory_remove(folder.path, &err), TN_OK);
    return 0;
}

/* A batch as a daemon left it. */
static void write_job(const char *status, int64_t left_s, int total)
{
    json_t *job = json_pack("{s:s, s:s, s:s, s:s, s:s, s:n, s:I, s:I, s:{s:i, s:i, s:i}, s:{s:s, s:s, s:[], s:s, s:s}}",
                            "id", ID, "object", "batch", "status", status, "endpoint", "/v1/completions",
                            "input_file_id", "file-in", "completed_at", "created_at", (json_int_t)1, "expires_at",
                            (json_int_t)time(NULL) + left_s, "request_counts", "total", total, "completed", 0, "failed",
                            0, "task", "kind", "batch", "service", total ? "m" : "", "words", "output_file_id",
                            "file-00000000000000000000000a", "error_file_id", "file-00000000000000000000000b");

    assert_non_null(job);
    assert_int_equal(json_dump_file(job, path_of("store/jobs/" ID ".json"), JSON_COMPACT), 0);
    json_decref(job);
}

static void tell(const char *sentence)
{
    snprintf(told, sizeof told, "%s", sentence);
}

static job_service look(void *ctx, const char *service)
{
    (void)ctx;
    return strcmp(service, "m") == 0 ? JOB_SERVICE_THERE : JOB_SERVICE_NONE;
}

static jobs *open_jobs(void)
{
    char store[256], program[256];
    snprintf(store, sizeof store, "%s", path_of("store"));
    snprintf(program, sizeof program, "%s", path_of("tenon"));
    const jobs_options options = {.folder = store,
                                  .program = program,
                                  .server = "unix:/none",
                                  .running_max = 1,
                                  .window = 4,
                                  .files = {.file_bytes = 1 << 20, .total_bytes = 1 << 20},
                                  .tell = tell,
                                  .look = look};
    jobs *jobs;

    if (jobs_open(&options, &jobs, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return jobs;
}

static const char *text_in(const json_t *job, const char *name)
{
    const char *text = json_string_value(json_object_get(job, name));
    return text ? text : "";
}

/* Owned: the job once it is so, or has ended. */
static json_t *wait_for(jobs *jobs, const char *status)
{
    const uint64_t until = clock_ms() + WAIT_MS;

    for (;;) {
        json_t *job = jobs_find(jobs, ID);
        assert_non_null(job);
        if (job_has_ended(job) || strcmp(text_in(job, "status"), status) == 0)
            return job;
        if (clock_ms() > until)
            fail_msg("it is still %s", text_in(job, "status"));
        json_decref(job);
        pause_a_little();
    }
}

static void close_jobs(jobs *jobs)
{
    jobs_stop(jobs);
    jobs_close(jobs);
}

static void expect_counts(const json_t *job, int total, int completed, int failed)
{
    const json_t *counts = json_object_get(job, "request_counts");
    assert_int_equal(json_integer_value(json_object_get(counts, "total")), total);
    assert_int_equal(json_integer_value(json_object_get(counts, "completed")), completed);
    assert_int_equal(json_integer_value(json_object_get(counts, "failed")), failed);
}

/* ---- between two daemons ---- */

/* The run of a daemon that was killed: it was slow to begin, and takes the log when the next daemon has looked for it
 * and found nobody. */
static pid_t start_late_process(void)
{
    pid_t child = fork();

    if (child)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!is_there("looked"))
        pause_a_little();
    const int log = open(path_of("store/jobs/" ID "/out.jsonl.job"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (log < 0 || fcntl(log, F_SETLK, &all) != 0)
        _exit(1);
    write_text("taken", "");
    for (;;)
        pause();
}

static void test_a_late_process_takes_the_log(void **state)
{
    int status;
    (void)state;

    write_job("in_progress", 3600, 5);
    write_text("refuse.run", "");
    pid_t late = start_late_process();
    assert_true(late > 0);
    jobs *jobs = open_jobs();
    jobs_start(jobs);
    json_t *job = wait_for(jobs, "completed");
    assert_string_equal(text_in(job, "status"), "completed");
    expect_counts(job, 5, 5, 0);
    json_decref(job);
    close_jobs(jobs);
    assert_non_null(
        strstr(read_text("said.run"), "--timeout 86400")); /* a busy service may have no time for a row yet */
    kill(late, SIGTERM);
    assert_int_equal(waitpid(late, &status, 0), late);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* ended before the log was written again */
}

static void test_what_a_kill_left_is_cleared(void **state)
{
    jobs *jobs;
    (void)state;

    write_job("completed", 3600, 5);
    write_text("store/jobs/" ID "/out.jsonl.job", "{}\n");
    write_text("store/jobs/batch_0123456789abcdef0123456f.json.partial", "{");
    jobs = open_jobs();
    assert_false(is_there("store/jobs/" ID));
    assert_false(is_there("store/jobs/batch_0123456789abcdef0123456f.json.partial"));
    close_jobs(jobs);
    assert_int_equal(directory_make(path_of("store/jobs/" ID), &err), TN_OK);
    write_job("failed", 3600, 5);
    write_text("store/jobs/" ID "/out.jsonl.job", "{}\n");
    jobs = open_jobs();
    assert_true(is_there("store/jobs/" ID "/out.jsonl.job")); /* perhaps these answers are nowhere else */
    close_jobs(jobs);
}

static void test_a_damaged_job_is_left_alone(void **state)
{
    static const char *const bad[] = {
        "{",
        "{\"id\":\"" ID "\",\"status\":\"in_progress\",\"created_at\":1,\"task\":{\"kind\":\"command\",\"service\":"
        "\"m\",\"words\":[]}}",
        "{\"id\":\"" ID "\",\"status\":\"in_progress\",\"created_at\":1,\"task\":{\"kind\":\"batch\",\"service\":"
        "\"m\",\"words\":[]}}",
        "{\"id\":\"" ID "/../x\",\"status\":\"in_progress\",\"created_at\":1,\"task\":{\"kind\":\"command\","
        "\"service\":\"m\",\"words\":[],\"input\":\"/a\",\"output\":\"/b\"}}",
    };
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        told[0] = '\0';
        write_text("store/jobs/" ID ".json", bad[i]);
        jobs *jobs = open_jobs();
        jobs_start(jobs);
        json_t *list = jobs_list(jobs);
        if (json_array_size(list) != 0 || !strstr(told, "is damaged and is left alone"))
            fail_msg("taken: %s", bad[i]);
        json_decref(list);
        close_jobs(jobs);
        assert_true(is_there("store/jobs/" ID ".json"));
    }
}

/* ---- what is kept ---- */

static void test_a_sweep_removes_what_has_expired(void **state)
{
    static const char *const names[] = {"kept", "gone"};
    char id[2][JOB_ID_BYTES], path[PATH_MAX];
    (void)state;

    jobs *jobs = open_jobs();
    for (int i = 0; i < 2; i++) {
        const file_label label = {.filename = names[i], .purpose = "batch", .expiry_s = i ? -1 : 3600};
        file_upload upload;
        json_t *file = NULL;
        assert_int_equal(file_upload_begin(jobs_files(jobs), &upload, &err), TN_OK);
        assert_int_equal(file_upload_write(&upload, "{}\n", 3, &err), TN_OK);
        assert_int_equal(file_upload_end(&upload, &label, &file, &err), TN_OK);
        snprintf(id[i], sizeof id[i], "%s", text_in(file, "id"));
        json_decref(file);
    }
    for (int swept = 0; swept < 2; swept++) {
        json_t *kept = job_files_find(jobs_files(jobs), id[0]);
        assert_non_null(kept);
        json_decref(kept);
        assert_null(job_files_find(jobs_files(jobs), id[1]));
        job_files_path(jobs_files(jobs), id[1], path);
        assert_int_equal(access(path, F_OK), swept ? -1 : 0);
        jobs_sweep(jobs);
    }
    close_jobs(jobs);
}

/* A file that may not grow any more is as good as a disk that is full. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static size_t count_entries(const char *name)
{
    DIR *entries = opendir(path_of(name));
    size_t count = 0;

    assert_non_null(entries);
    while (readdir(entries))
        count++;
    closedir(entries);
    return count - 2;
}

/* At its content, and at what is told of it: nothing is left, and nothing stays reserved. */
static void test_a_full_disk_leaves_no_half_file(void **state)
{
    static const rlim_t rooms[] = {1, 50, RLIM_INFINITY};
    const file_label label = {.filename = "a", .purpose = "batch"};
    static char content[50];
    (void)state;

    signal(SIGXFSZ, SIG_IGN);
    jobs *jobs = open_jobs();
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        file_upload upload;
        json_t *file = NULL;
        tn_error fault = TN_ERROR_INIT;
        limit_files(rooms[i]);
        assert_int_equal(file_upload_begin(jobs_files(jobs), &upload, &fault), TN_OK);
        tn_status status = file_upload_write(&upload, content, sizeof content, &fault);
        if (status == TN_OK)
            status = file_upload_end(&upload, &label, &file, &fault);
        else
            file_upload_abandon(&upload);
        limit_files(RLIM_INFINITY);
        assert_int_equal(status, i < 2 ? TN_E_IO : TN_OK);
        assert_int_equal(fault.native_code, i < 2 ? EFBIG : 0);
        assert_int_equal(count_entries("store/files"), i < 2 ? 0 : 2);
        json_decref(file);
    }
    close_jobs(jobs);
    signal(SIGXFSZ, SIG_DFL);
}

/* ---- the end ---- */

static void test_cancelled_in_the_last_step(void **state)
{
    (void)state;

    write_job("in_progress", 3600, 5);
    write_text("stop.export", "");
    jobs *jobs = open_jobs();
    jobs_start(jobs);
    wait_for_file("at.export");
    assert_int_equal(jobs_cancel(jobs, ID, &err), TN_OK);
    json_t *job = jobs_find(jobs, ID);
    assert_string_equal(text_in(job, "status"), "cancelling");
    json_decref(job);
    write_text("go.export", "");
    job = wait_for(jobs, "cancelled");
    assert_string_equal(text_in(job, "status"), "cancelled");
    assert_true(json_is_integer(json_object_get(job, "cancelled_at")));
    assert_true(json_is_null(json_object_get(job, "completed_at")));
    assert_string_equal(text_in(job, "output_file_id"), "file-00000000000000000000000a");
    expect_counts(job, 5, 5, 0);
    json_decref(job);
    close_jobs(jobs);
}

/* What its process said at last. A folder in the place of every file that one may wish to write here stands for a disk
 * without room. */
static void test_the_last_words_need_no_disk(void **state)
{
    (void)state;

    write_job("validating", 3600, 0);
    assert_int_equal(directory_make(path_of("store/jobs/" ID "/errors.txt"), &err), TN_OK);
    write_text("fail.run", "warning: x\ntenon: out.jsonl.job: No space left on device\n");
    jobs *jobs = open_jobs();
    jobs_start(jobs);
    json_t *job = wait_for(jobs, "failed");
    const json_t *errors = json_object_get(json_object_get(job, "errors"), "data");
    assert_string_equal(text_in(json_array_get(errors, 0), "message"), "out.jsonl.job: No space left on device");
    json_decref(job);
    close_jobs(jobs);
}

/* Ends it as it stands, without another row. export: what it is to be told of rows that were never asked. */
static void expect_end(const char *end, const char *export)
{
    jobs *jobs = open_jobs();

    jobs_start(jobs);
    json_t *job = wait_for(jobs, end);
    assert_string_equal(text_in(job, "status"), end);
    assert_false(is_there("said.run"));
    if (!strstr(read_text("said.export"), export))
        fail_msg("'%s' is not in '%s'", export, read_text("said.export"));
    assert_string_equal(text_in(job, "error_file_id"), "file-00000000000000000000000b");
    json_decref(job);
    close_jobs(jobs);
}

static void test_rows_never_asked_are_told(void **state)
{
    static const char input[] = "/store/files/file-in.jsonl";
    (void)state;

    write_job("in_progress", -5, 5);
    write_text("store/jobs/" ID "/out.jsonl.job", "{}\n");
    write_text("counts", "{\"ok\": 2, \"error\": 1, \"unasked\": 2}\n");
    expect_end("expired", " --expired /");
    assert_non_null(strstr(read_text("said.export"), input));
}

static void test_an_expired_batch_is_checked(void **state)
{
    (void)state;

    write_job("validating", -5, 0);
    write_text("counts", "{\"ok\": 0, \"error\": 0, \"unasked\": 5}\n");
    expect_end("expired", " --expired /");
    assert_true(is_there("said.check"));
}

static void test_a_cancelled_batch_tells_its_rows(void **state)
{
    (void)state;

    write_job("cancelling", 3600, 5);
    write_text("counts", "{\"ok\": 0, \"error\": 0, \"unasked\": 5}\n");
    expect_end("cancelled", " --cancelled /");
}

/* Of a file that nobody has looked into, no row is known. */
static void test_cancelled_before_the_check(void **state)
{
    (void)state;

    write_job("validating", 3600, 0);
    write_text("stop.check", "");
    jobs *jobs = open_jobs();
    jobs_start(jobs);
    wait_for_file("at.check");
    assert_int_equal(jobs_cancel(jobs, ID, &err), TN_OK);
    json_t *job = wait_for(jobs, "cancelled");
    assert_string_equal(text_in(job, "status"), "cancelled");
    assert_false(is_there("said.export"));
    assert_true(json_is_null(json_object_get(job, "error_file_id")) || !json_object_get(job, "error_file_id"));
    json_decref(job);
    close_jobs(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_late_process_takes_the_log, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_what_a_kill_left_is_cleared, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_a_damaged_job_is_left_alone, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_a_sweep_removes_what_has_expired, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_a_full_disk_leaves_no_half_file, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_cancelled_in_the_last_step, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_the_last_words_need_no_disk, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_rows_never_asked_are_told, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_an_expired_batch_is_checked, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_a_cancelled_batch_tells_its_rows, make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_cancelled_before_the_check, make_store, remove_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
