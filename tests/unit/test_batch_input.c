/* test_batch_input.c: the rows of a batch from JSON lines and CSV, good and hostile. Databases:
 * tests/e2e/test_batch.py. */
#include "batch/input.h"
#include "batch/key_set.h"

#include "cmocka_test.h"
#include "scratch_directory.h"

static scratch_directory folder;
static tn_error err = TN_ERROR_INIT;

static int make_folder(void **state)
{
    (void)state;
    folder = scratch_create();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    scratch_destroy(&folder);
    return 0;
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder.path, name);
    return path;
}

/* Rows of the bytes as a file of this name; every key and prompt, or the first error. */
static tn_status read_bytes(const char *name, const char *bytes, size_t count, char *ret_rows, size_t room)
{
    const row_form form = {.service = "m"};
    const input_columns columns = {NULL, NULL};
    batch_input input;
    bool any = true;
    size_t at = 0;

    ret_rows[0] = err.msg[0] = '\0';
    scratch_write(&folder, name, bytes, count);
    tn_status status = input_open(path_of(name), &form, &columns, &input, &err);
    if (status != TN_OK)
        return status;
    for (;;) {
        batch_row row;
        status = input_read(&input, &row, &any, &err);
        if (status != TN_OK || !any)
            break;
        const char *prompt =
            json_string_value(json_object_get(json_array_get(json_object_get(row.body, "messages"), 0), "content"));
        at += (size_t)snprintf(ret_rows + at, room - at, "%llu:%s=%s;", (unsigned long long)row.place, row.key,
                               prompt ? prompt : "(null)");
        row_finish(&row);
    }
    input_close(&input);
    return status;
}

static void expect(const char *name, const char *text, const char *rows)
{
    char got[1024];

    if (read_bytes(name, text, strlen(text), got, sizeof got) != TN_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_string_equal(got, rows);
}

static void refuse(const char *name, const char *bytes, size_t count, const char *words)
{
    char got[1024];

    if (read_bytes(name, bytes, count, got, sizeof got) != TN_E_ARGUMENT)
        fail_msg("taken: %s", bytes);
    if (!strstr(err.msg, words))
        fail_msg("'%s' is not in '%s'", words, err.msg);
}

static void test_csv_as_the_rfc_has_it(void **state)
{
    (void)state;
    expect("a.csv", "key,prompt\na,b\n", "2:a=b;");
    expect("a.csv", "key,prompt\r\na,b", "2:a=b;");
    expect("a.csv", "\xEF\xBB\xBFprompt\n\n\nx\n", "4:1=x;");
    expect("a.csv", "\xEF\xBC\xA1,prompt\nx,y\n", "2:1=y;");
    expect("a.csv", "prompt,key\n\"a \"\"b\"\",\nc\",k\n\"\",l\n", "2:k=a \"b\",\nc;4:l=;");
    expect("a.csv", "prompt\r\n\r\n\r\nx\r\n\r\n\r", "4:1=x;");
    expect("a.csv", "prompt\n", "");
}

static void test_csv_that_is_none(void **state)
{
    static const char *const bad[][2] = {
        {"prompt\n\"a", "line 2: a quote that begins"},
        {"prompt\n\"a\"b\n", "line 2: text stands behind"},
        {"prompt\na\"b\n", "in the middle"},
        {"prompt\na\rb\n", "carriage return"},
        {"prompt\n\rb\n", "line 2: a carriage return"},
        {"prompt\n\r\r\n", "line 2: a carriage return"},
        {"prompt\n\xFF\n", "UTF-8"},
        {"prompt,key\nx\n", "1 fields under 2"},
        {"prompt,key\nx,\n", "a key must be"},
        {"", "must name the columns"},
        {"prompt,params\nx,[]\n", "params"},
        {"prompt,params\nx,\"{\"\"messages\"\":1}\"\n", "'messages'"},
    };
    char many[600] = "prompt";
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse("a.csv", bad[i][0], strlen(bad[i][0]), bad[i][1]);
    refuse("a.csv", "prompt\na\0b\n", 11, "zero byte");
    refuse("a.csv", "prompt\n\"a\0b\"\n", 13, "zero byte");
    for (int i = 0; i < 256; i++)
        strcat(many, ",");
    refuse("a.csv", many, strlen(many), "256 fields");
}

static void test_json_lines(void **state)
{
    static const char *const bad[][2] = {
        {"{\"prompt\":\"x\"}\n[]\n", "line 2: not a JSON object"},
        {"{\"prompt\":\"x\",\"prompt\":\"y\"}", "line 1"},
        {"{\"prompt\":1}", "'prompt' must be"},
        {"{\"messages\":1}", "'messages' must be"},
        {"{\"messages\":[],\"prompt\":\"x\"}", "either"},
        {"{\"key\":true,\"prompt\":\"x\"}", "a text or an integer"},
        {"{\"key\":\"a\\u0000b\",\"prompt\":\"x\"}", "without a zero"},
        {"{\"custom_id\":\"a\",\"method\":\"GET\",\"url\":\"/v1/completions\",\"body\":{}}", "'method'"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"messages\":[]}}",
         "with 'prompt'"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":[]}", "'body'"},
    };
    (void)state;

    expect("a.jsonl", "{\"key\":-5,\"prompt\":\"x\"}\n \t\r\n{\"prompt\":null}", "1:-5=x;3:3=(null);");
    expect("a.ndjson", "", "");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse("a.jsonl", bad[i][0], strlen(bad[i][0]), bad[i][1]);
    refuse("a.jsonl", "{\"prompt\":\"x\"}\n\0\n", 17, "line 2");
    refuse("a.jsonl", "{\"prompt\":\"\xFF\"}", 14, "line 1");
}

static void test_lines_have_a_bound(void **state)
{
    size_t bytes = ROW_BYTES_MAX + 16;
    char *long_line = malloc(bytes);
    (void)state;

    assert_non_null(long_line);
    memset(long_line, ' ', bytes);
    memcpy(long_line, "prompt\n", 7);
    refuse("a.csv", long_line, bytes, "16 MiB");
    memset(long_line, ' ', bytes);
    refuse("a.jsonl", long_line, bytes, "16 MiB");
    free(long_line);
}

static void test_keys(void **state)
{
    key_set set;
    uint64_t before;
    char key[16];
    (void)state;

    assert_int_equal(key_set_create(&set, &err), TN_OK);
    for (uint64_t i = 1; i <= 2000; i++) {
        snprintf(key, sizeof key, "%llu", (unsigned long long)(i % 1500));
        assert_int_equal(key_set_add(&set, key, i, &before, &err), TN_OK);
        assert_int_equal(before, i > 1500 ? i - 1500 : 0);
    }
    key_set_destroy(&set);
    key_set_destroy(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_as_the_rfc_has_it),
        cmocka_unit_test(test_csv_that_is_none),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_lines_have_a_bound),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
