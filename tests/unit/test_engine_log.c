/* test_engine_log.c: lines with their time, files that rotate, readers that keep up with them. */
#include "cmocka_test.h"

#include "scratch_directory.h"
#include "service/engine_log.h"

#include <string.h>
#include <time.h>

typedef struct lines {
    uint32_t count, stop_after;
    uint64_t last_ms;
    char last[LOG_LINE_BYTES_MAX + 1], first[64];
    long next; /* lines are numbers, each one more than the one before */
    bool in_order;
} lines;

static bool take(void *ctx, uint64_t time_ms, const char *text, size_t bytes)
{
    lines *l = ctx;
    memcpy(l->last, text, bytes);
    l->last[bytes] = '\0';
    if (l->count++ == 0)
        snprintf(l->first, sizeof l->first, "%.60s", l->last);
    l->in_order = (l->count == 1 || strtol(l->last, NULL, 10) == l->next) && (l->in_order || l->count == 1);
    l->next = strtol(l->last, NULL, 10) + 1;
    l->last_ms = time_ms;
    return l->count != l->stop_after;
}

static void put(engine_log *log, const char *text)
{
    engine_log_write(log, text, strlen(text));
}

static void test_lines_are_stamped(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    char path[128];
    engine_log log;
    log_reader reader;
    lines got = {0};
    snprintf(path, sizeof path, "%s/log", folder.path);
    engine_log_open(&log, path, 1 << 20, 2);
    log_reader_open(&reader, path);
    put(&log, "one\ntw");
    assert_true(log_reader_read(&reader, 0, take, &got));
    assert_int_equal(got.count, 1);
    assert_string_equal(got.last, "one");
    assert_true(got.last_ms / 1000 <= (uint64_t)time(NULL) && got.last_ms / 1000 + 60 > (uint64_t)time(NULL));
    put(&log, "o\n\nthree");
    assert_true(log_reader_read(&reader, 0, take, &got));
    assert_int_equal(got.count, 3);
    assert_string_equal(got.last, "");
    engine_log_close(&log);
    assert_true(log_reader_read(&reader, 0, take, &got));
    assert_string_equal(got.last, "three");
    log_reader_close(&reader);
    got = (lines){.stop_after = 2};
    log_reader_open(&reader, path);
    assert_false(log_reader_read(&reader, 0, take, &got));
    assert_int_equal(got.count, 2);
    log_reader_close(&reader);
    log_reader_open(&reader, path);
    got = (lines){0};
    assert_true(log_reader_read(&reader, got.last_ms + (uint64_t)time(NULL) * 1000 + 100000, take, &got));
    assert_int_equal(got.count, 0);
    log_reader_close(&reader);
    scratch_destroy(&folder);
}

static void test_rotates_and_is_followed(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    char path[128], text[32];
    engine_log log;
    log_reader reader;
    lines got = {0};
    uint32_t files = 0;
    snprintf(path, sizeof path, "%s/log", folder.path);
    engine_log_open(&log, path, 4096, 3);
    log_reader_open(&reader, path);
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "%d\n", i);
        put(&log, text);
        if (i % 50 == 0) /* often enough to miss no file */
            assert_true(log_reader_read(&reader, 0, take, &got));
    }
    assert_true(log_reader_read(&reader, 0, take, &got));
    assert_int_equal(got.count, 2000);
    assert_true(got.in_order);
    log_reader_close(&reader);
    for (uint32_t age = 0; age < 5; age++) {
        snprintf(path, sizeof path, age ? "%s/log.%u" : "%s/log", folder.path, age);
        FILE *file = fopen(path, "rb");
        files += file != NULL;
        if (!file)
            continue;
        fseek(file, 0, SEEK_END);
        assert_true(ftell(file) <= 4096);
        fclose(file);
    }
    assert_int_equal(files, 3);
    snprintf(path, sizeof path, "%s/log", folder.path);
    log_reader_open(&reader, path); /* who comes late gets what is kept, from the oldest on */
    got = (lines){0};
    assert_true(log_reader_read(&reader, 0, take, &got));
    assert_true(got.count > 100 && got.count < 2000 && got.in_order);
    assert_string_equal(got.last, "1999");
    log_reader_close(&reader);
    got = (lines){0};
    engine_log_tail(path, 3, take, &got);
    assert_int_equal(got.count, 3);
    assert_string_equal(got.first, "1997");
    engine_log_close(&log);
    scratch_destroy(&folder);
}

static void test_endless_lines_are_cut(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    char path[128], block[1000];
    engine_log log;
    log_reader reader;
    lines got = {0};
    snprintf(path, sizeof path, "%s/log", folder.path);
    memset(block, 'x', sizeof block);
    engine_log_open(&log, path, 1 << 20, 1);
    for (int i = 0; i < 100; i++)
        engine_log_write(&log, block, sizeof block);
    engine_log_close(&log);
    log_reader_open(&reader, path);
    assert_true(log_reader_read(&reader, 0, take, &got));
    assert_int_equal(got.count, (100 * 1000 + LOG_LINE_BYTES_MAX - 1) / LOG_LINE_BYTES_MAX);
    log_reader_close(&reader);
    scratch_destroy(&folder);
}

/* Nowhere to write: nothing happens, and it goes on when there is. */
static void test_cannot_be_written(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    char path[128];
    engine_log log;
    lines got = {0};
    snprintf(path, sizeof path, "%s/none/log", folder.path);
    engine_log_open(&log, path, 4096, 2);
    put(&log, "lost\n");
    snprintf(log.path, sizeof log.path, "%s/log", folder.path);
    put(&log, "kept\n");
    engine_log_close(&log);
    engine_log_tail(log.path, 10, take, &got);
    assert_int_equal(got.count, 1);
    assert_string_equal(got.last, "kept");
    scratch_destroy(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_stamped),
        cmocka_unit_test(test_rotates_and_is_followed),
        cmocka_unit_test(test_endless_lines_are_cut),
        cmocka_unit_test(test_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
