/* test_slurm_jobs.c: what squeue prints, read: whole jobs and nothing else, whatever stands there. */
#include "cmocka_test.h"

#include "target/slurm_jobs.h"

#include <stdlib.h>
#include <string.h>

static const char two[] = "12|RUNNING|node7|2026-11-28T14:49:54|None|/home/it's | here/chat\n"
                          "9|PENDING|n/a|N/A|Resources|/home/chat\n";

static void test_jobs_are_read_oldest_first(void **state)
{
    slurm_jobs jobs;
    (void)state;
    setenv("TZ", "UTC", 1);

    assert_int_equal(slurm_jobs_parse(two, &jobs, NULL), TN_OK);
    assert_int_equal(jobs.count, 2);
    assert_string_equal(jobs.at[0].id, "9");
    assert_string_equal(jobs.at[0].host, "");
    assert_string_equal(jobs.at[0].reason, "Resources");
    assert_int_equal(jobs.at[0].started_ms, 0);
    assert_string_equal(jobs.at[1].state, "RUNNING");
    assert_string_equal(jobs.at[1].host, "node7");
    assert_string_equal(jobs.at[1].folder, "/home/it's | here/chat");
    assert_int_equal(jobs.at[1].started_ms, 1795877394000ull);
    slurm_jobs_finish(&jobs);
    assert_int_equal(slurm_jobs_parse("", &jobs, NULL), TN_OK);
    assert_int_equal(jobs.count, 0);
    slurm_jobs_finish(&jobs);
}

static void test_parts_of_jobs_are_left_out(void **state)
{
    slurm_jobs jobs;
    (void)state;

    assert_int_equal(slurm_jobs_parse("12_[1-4]|PENDING|n/a|N/A|None|/a\n12+1|RUNNING|b|N/A|None|/a\n"
                                      "123456789012345678901234567890|RUNNING|b|N/A|None|/a\n7|RUNNING|b|N/A|None|/a",
                                      &jobs, NULL),
                     TN_OK);
    assert_int_equal(jobs.count, 1);
    assert_string_equal(jobs.at[0].id, "7");
    slurm_jobs_finish(&jobs);
}

static void test_other_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "slurm_load_jobs error: Unable to contact",
        "|RUNNING|b|N/A|None|/a",
        "7||b|N/A|None|/a",
        "7|RUNNING|b|N/A|None|a",
        "7|RUNNING|b|N/A|None|",
        "7|RUNNING|b|N/A|None",
        "\n",
        "7|RUNNING|b|N/A|None|/a\n\n",
    };
    tn_error err = TN_ERROR_INIT;
    slurm_jobs jobs;
    (void)state;

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(slurm_jobs_parse(lines[i], &jobs, &err), TN_E_CORRUPT);
        assert_non_null(strstr(err.msg, "squeue says what is no line of"));
    }
}

static void test_jobs_and_fields_are_bounded(void **state)
{
    enum { BYTES = 64 * (SLURM_JOBS_MAX + 1) };
    char *text = malloc(BYTES), field[2 * PATH_MAX], line[3 * PATH_MAX];
    size_t used = 0;
    slurm_jobs jobs;
    (void)state;
    assert_non_null(text);

    for (int i = 0; i <= SLURM_JOBS_MAX; i++) {
        if (i == SLURM_JOBS_MAX) {
            assert_int_equal(slurm_jobs_parse(text, &jobs, NULL), TN_OK);
            assert_int_equal(jobs.count, SLURM_JOBS_MAX);
            slurm_jobs_finish(&jobs);
        }
        used += (size_t)snprintf(text + used, BYTES - used, "%d|RUNNING|b|N/A|None|/a\n", i + 1);
    }
    assert_int_equal(slurm_jobs_parse(text, &jobs, NULL), TN_E_CORRUPT);
    free(text);

    memset(field, 'x', sizeof field - 1);
    field[sizeof field - 1] = '\0';
    snprintf(line, sizeof line, "1|%.600s|%.600s|%.600s|%.600s|/a", field, field, field, field);
    assert_int_equal(slurm_jobs_parse(line, &jobs, NULL), TN_OK);
    assert_int_equal(strlen(jobs.at[0].state), sizeof jobs.at[0].state - 1);
    assert_int_equal(strlen(jobs.at[0].host), sizeof jobs.at[0].host - 1);
    assert_int_equal(jobs.at[0].started_ms, 0);
    slurm_jobs_finish(&jobs);
    snprintf(line, sizeof line, "1|RUNNING|b|N/A|None|/%s", field);
    assert_int_equal(slurm_jobs_parse(line, &jobs, NULL), TN_E_CORRUPT);
}

/* Any byte in any place: it is refused, or what comes out is within its bounds. */
static void test_any_byte_anywhere(void **state)
{
    static const char bytes[] = "|\n\x01/0 \xff";
    char text[sizeof two];
    slurm_jobs jobs;
    (void)state;

    for (size_t at = 0; at + 1 < sizeof two; at++) {
        for (size_t b = 0; b < sizeof bytes; b++) { /* the terminator too */
            memcpy(text, two, sizeof two);
            text[at] = bytes[b];
            if (slurm_jobs_parse(text, &jobs, NULL) != TN_OK)
                continue;
            assert_true(jobs.count <= 3);
            for (uint32_t i = 0; i < jobs.count; i++)
                assert_true(jobs.at[i].folder[0] == '/' && jobs.at[i].id[0] && jobs.at[i].state[0]);
            slurm_jobs_finish(&jobs);
        }
    }
}

static void test_live_are_those_that_hold_or_wait_for_nodes(void **state)
{
    static const char *const live[] = {"PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED"};
    static const char *const ended[] = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"};
    slurm_job job = {.started_ms = 0};
    (void)state;

    for (size_t i = 0; i < sizeof live / sizeof *live; i++) {
        snprintf(job.state, sizeof job.state, "%s", live[i]);
        assert_true(slurm_job_is_live(&job));
    }
    for (size_t i = 0; i < sizeof ended / sizeof *ended; i++) {
        snprintf(job.state, sizeof job.state, "%s", ended[i]);
        assert_false(slurm_job_is_live(&job));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_are_read_oldest_first),
        cmocka_unit_test(test_parts_of_jobs_are_left_out),
        cmocka_unit_test(test_other_lines_are_refused),
        cmocka_unit_test(test_jobs_and_fields_are_bounded),
        cmocka_unit_test(test_any_byte_anywhere),
        cmocka_unit_test(test_live_are_those_that_hold_or_wait_for_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
