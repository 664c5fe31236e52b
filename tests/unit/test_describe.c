/* test_describe.c: what `tenon inspect` prints is true, valid JSON, and cannot command a terminal. */
#include "model/describe.h"

#include "cmocka_test.h"
#include "gguf_writer.h"
#include "model/container.h"

#include <jansson.h>

static byte_writer file;
static checkpoint *opened;

static int open_sample(void **state)
{
    (void)state;
    write_header(&file, 3, 1, 6);
    write_key(&file, "general.name", WRITE_STRING);
    write_string(&file, "say \"hi\"\x1b[2J\xff\n");
    write_key(&file, "long", WRITE_STRING);
    write_u64(&file, 70000);
    for (int i = 0; i < 70000; i++)
        write_u8(&file, 'x');
    write_key(&file, "eps", WRITE_F32);
    write_bytes(&file, &(float){1e-5f}, 4);
    write_key(&file, "nan", WRITE_F32);
    write_bytes(&file, "\x00\x00\xc0\x7f", 4);
    write_key_array(&file, "ids", WRITE_U32, 100);
    for (uint32_t i = 0; i < 100; i++)
        write_u32(&file, i);
    write_key(&file, "yes", WRITE_BOOL);
    write_u8(&file, 1);
    write_tensor(&file, "w", 2, (uint64_t[]){32, 3}, 8, 0);
    write_padding(&file, 32);
    write_zeros(&file, 3 * 34);
    return gguf_open_memory("a\"b.gguf", file.data, file.size, &opened, NULL) == TN_OK ? 0 : -1;
}

static int close_sample(void **state)
{
    (void)state;
    checkpoint_close(opened);
    free(file.data);
    return 0;
}

static char *describe(bool json)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    checkpoint_describe(opened, to, json);
    fclose(to);
    return text;
}

static void test_json_is_valid_and_true(void **state)
{
    (void)state;
    char *text = describe(true);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "path")), "a\"b.gguf");
    assert_string_equal(json_string_value(json_object_get(json, "container")), "gguf");
    assert_int_equal(json_integer_value(json_object_get(json, "tensor_bytes")), 102);
    json_t *meta = json_object_get(json, "metadata"), *ids = json_object_get(meta, "ids");
    assert_string_equal(json_string_value(json_object_get(meta, "general.name")), "say \"hi\"\x1b[2J\xef\xbf\xbd\n");
    assert_true(json_real_value(json_object_get(meta, "eps")) == 1e-5);
    assert_true(json_is_null(json_object_get(meta, "nan")));
    assert_true(json_is_true(json_object_get(meta, "yes")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(meta, "long"), "bytes")), 70000);
    assert_int_equal(json_integer_value(json_object_get(ids, "count")), 100);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(ids, "first"), 7)), 7);
    json_t *tensor = json_array_get(json_object_get(json, "tensors"), 0);
    assert_string_equal(json_string_value(json_object_get(tensor, "type")), "Q8_0");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(tensor, "shape"), 0)), 3);
    assert_int_equal(json_integer_value(json_object_get(tensor, "bytes")), 102);
    json_decref(json);
    free(text);
}

static void test_text_shows_values_and_cuts_long_ones(void **state)
{
    (void)state;
    char *text = describe(false);
    assert_non_null(strstr(text, "eps           1e-05\n"));
    assert_non_null(strstr(text, "uint[100] [0, 1, 2, 3, 4, 5, 6, 7, ...]"));
    assert_non_null(strstr(text, "... (70000 bytes)"));
    assert_non_null(strstr(text, "[3, 32]"));
    assert_non_null(strstr(text, "\\u001b[2J"));
    assert_null(strchr(text, '\x1b'));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_is_valid_and_true),
        cmocka_unit_test(test_text_shows_values_and_cuts_long_ones),
    };
    return cmocka_run_group_tests(tests, open_sample, close_sample);
}
