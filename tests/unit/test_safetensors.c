/* test_safetensors.c: good files and directories are read as they are; every lie in a header or an index is refused.
 *
 * Files in memory live in heap blocks of their exact size, so that the address sanitizer sees a read past the end.
 */
#include "cmocka_test.h"
#include "model/container.h"
#include "scratch_directory.h"

#include <stdlib.h>
#include <string.h>

static tn_error error;
static checkpoint *opened;
static uint8_t *file_bytes;

/* A file of this header and `data_bytes` bytes 0, 1, 2, ... */
static uint8_t *make_file(const char *header, size_t data_bytes, size_t *ret_size)
{
    uint64_t length = strlen(header);
    uint8_t *bytes = malloc(8 + length + data_bytes);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++)
        bytes[8 + length + i] = (uint8_t)i;
    *ret_size = 8 + length + data_bytes;
    return bytes;
}

static tn_status open_bytes(uint8_t *bytes, size_t size)
{
    error = (tn_error)TN_ERROR_INIT;
    opened = NULL;
    file_bytes = bytes;
    return safetensors_open_memory("test.safetensors", bytes, size, &opened, &error);
}

static tn_status open_header(const char *header, size_t data_bytes)
{
    size_t size;
    uint8_t *bytes = make_file(header, data_bytes, &size);
    return open_bytes(bytes, size);
}

static void close_file(void)
{
    checkpoint_close(opened);
    free(file_bytes);
    opened = NULL;
    file_bytes = NULL;
}

static void assert_refused(const char *header, size_t data_bytes, tn_status status, const char *text)
{
    tn_status got = open_header(header, data_bytes);
    if (got != status || !strstr(error.msg, text))
        fail_msg("header %.200s: status %d, message '%s'", header, got, error.msg);
    close_file();
}

static void test_a_good_file_is_read(void **state)
{
    (void)state;
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    assert_int_equal(open_header("{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
                                 "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ",
                                 16),
                     TN_OK);
    const tn_source *source = checkpoint_source(opened);
    assert_string_equal(source->container, "safetensors");
    assert_int_equal(source->tensor_count, 2);
    assert_int_equal(source->tensor(source, "b", &tensor), TN_OK);
    assert_int_equal(tensor.dtype, TN_DTYPE_BF16);
    assert_int_equal(tensor.rank, 2);
    assert_int_equal(tensor.dim[0], 2);
    assert_int_equal(tensor.dim[1], 3);
    assert_int_equal(tensor.bytes, 12);
    assert_int_equal(((const uint8_t *)tensor.data)[0], 4);
    assert_int_equal(source->tensor(source, "scalar", &tensor), TN_OK);
    assert_int_equal(tensor.rank, 1);
    assert_int_equal(tensor.dim[0], 1);
    assert_int_equal(source->tensor(source, "__metadata__", &tensor), TN_E_NOT_FOUND);
    assert_null(source->meta_key(source, 0));
    close_file();
}

static void test_header_lengths_that_lie_are_refused(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {UINT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 7, 1000, 100000001};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t size;
        uint8_t *bytes = make_file("{}", 16, &size);
        memcpy(bytes, &lengths[i], 8);
        assert_int_equal(open_bytes(bytes, size), TN_E_CORRUPT);
        assert_non_null(strstr(error.msg, "header"));
        close_file();
    }
    assert_refused("", 0, TN_E_CORRUPT, "no JSON object");
    assert_int_equal(open_bytes(calloc(1, 7), 7), TN_E_CORRUPT);
    assert_non_null(strstr(error.msg, "too few"));
    close_file();
}

static void test_headers_that_are_no_objects_are_refused(void **state)
{
    (void)state;
    assert_refused("[]", 0, TN_E_CORRUPT, "no JSON object");
    assert_refused(" {}", 0, TN_E_CORRUPT, "no JSON object");
    assert_refused("{\"a\":", 0, TN_E_CORRUPT, "bad JSON");
    assert_refused("{} x", 0, TN_E_CORRUPT, "bad JSON");
    assert_refused("{\"a\xff\":1}", 0, TN_E_CORRUPT, "bad JSON");
    assert_refused("{\"__metadata__\":[]}", 0, TN_E_CORRUPT, "__metadata__");
    assert_refused("{\"__metadata__\":{\"a\":1}}", 0, TN_E_CORRUPT, "'a' is no string");
}

static void test_deep_json_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    char *header = malloc(DEPTH + 16);
    assert_non_null(header);
    strcpy(header, "{\"a\":");
    memset(header + 5, '[', DEPTH);
    header[5 + DEPTH] = 0;
    assert_refused(header, 0, TN_E_CORRUPT, "depth");
    free(header);
}

static void test_duplicate_and_bad_names_are_refused(void **state)
{
    (void)state;
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                   "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                   2, TN_E_CORRUPT, "duplicate");
    assert_refused("{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, TN_E_CORRUPT, "empty");
    assert_refused("{\"\\u001b[2J\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, TN_E_CORRUPT,
                   "control characters");
}

/* {"a": {...}} with these values as JSON text. */
static void assert_tensor_refused(const char *dtype, const char *shape, const char *offsets, size_t data_bytes,
                                  tn_status status, const char *text)
{
    char header[512];
    snprintf(header, sizeof header, "{\"a\":{\"dtype\":%s,\"shape\":%s,\"data_offsets\":%s}}", dtype, shape, offsets);
    assert_refused(header, data_bytes, status, text);
}

static void test_tensor_entries_that_lie_are_refused(void **state)
{
    (void)state;
    const tn_status corrupt = TN_E_CORRUPT;
    assert_tensor_refused("\"F32\"", "[2]", "[0,4]", 4, corrupt, "need 8 bytes");
    assert_tensor_refused("\"F32\"", "[4294967296,4294967296]", "[0,0]", 0, corrupt, "64 bits");
    assert_tensor_refused("\"F32\"", "[4611686018427387905]", "[0,4]", 4, corrupt, "impossible size");
    assert_tensor_refused("\"F32\"", "[0]", "[0,0]", 0, corrupt, "positive integer");
    assert_tensor_refused("\"F32\"", "[-1]", "[0,4]", 4, corrupt, "positive integer");
    assert_tensor_refused("\"F32\"", "[1.0]", "[0,4]", 4, corrupt, "positive integer");
    assert_tensor_refused("\"F32\"", "{}", "[0,4]", 4, corrupt, "no array");
    assert_tensor_refused("\"F32\"", "[99999999999999999999]", "[0,4]", 4, corrupt, "too big");
    assert_tensor_refused("\"F32\"", "[1,1,1,1,1]", "[0,4]", 4, TN_E_UNSUPPORTED, "5 dimensions");
    assert_tensor_refused("\"F4\"", "[8]", "[0,4]", 4, TN_E_UNSUPPORTED, "type 'F4'");
    assert_tensor_refused("7", "[8]", "[0,4]", 4, corrupt, "tensor 'a'");
    assert_tensor_refused("\"F32\"", "[1]", "[4,0]", 4, corrupt, "reversed");
    assert_tensor_refused("\"F32\"", "[1]", "[-4,0]", 4, corrupt, "negative");
    assert_tensor_refused("\"F32\"", "[1]", "[0]", 4, corrupt, "two integers");
    assert_tensor_refused("\"F32\"", "[1]", "[0,4,8]", 4, corrupt, "two integers");
    assert_tensor_refused("\"F32\"", "[1]", "[0,\"4\"]", 4, corrupt, "two integers");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, corrupt, "data_offsets");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, corrupt, "x");
    assert_refused("{\"a\":3}", 0, corrupt, "tensor 'a'");
}

#define ENTRY(name, begin, end) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" #begin "," #end "]}"

static void test_tensors_must_cover_the_data_exactly(void **state)
{
    (void)state;
    assert_refused("{" ENTRY("a", 0, 4) "," ENTRY("b", 2, 6) "}", 6, TN_E_CORRUPT, "overlap");
    assert_refused("{" ENTRY("a", 0, 4) "," ENTRY("b", 0, 4) "}", 4, TN_E_CORRUPT, "overlap");
    assert_refused("{" ENTRY("a", 0, 4) "," ENTRY("b", 5, 9) "}", 9, TN_E_CORRUPT, "gap");
    assert_refused("{" ENTRY("a", 1, 5) "}", 5, TN_E_CORRUPT, "gap");
    assert_refused("{" ENTRY("a", 0, 4) "}", 6, TN_E_CORRUPT, "2 bytes follow");
    assert_refused("{" ENTRY("a", 0, 4) "," ENTRY("b", 4, 8) "}", 5, TN_E_CORRUPT, "(3 are missing)");
    assert_refused("{" ENTRY("a", 0, 4) "," ENTRY("b", 4, 8) "," ENTRY("c", 8, 12) "}", 1, TN_E_CORRUPT,
                   "(11 are missing)");
}

/* ---- directories ---- */

static void write_shard(const scratch_directory *directory, const char *name, const char *header, size_t data_bytes)
{
    size_t size;
    uint8_t *bytes = make_file(header, data_bytes, &size);
    scratch_write(directory, name, bytes, size);
    free(bytes);
}

static tn_status open_directory(const scratch_directory *directory)
{
    error = (tn_error)TN_ERROR_INIT;
    opened = NULL;
    return checkpoint_open(directory->path, &opened, &error);
}

static void assert_index_refused(const char *index, const char *text)
{
    scratch_directory directory = scratch_create();
    write_shard(&directory, "s1.safetensors", "{" ENTRY("a", 0, 4) "}", 4);
    write_shard(&directory, "s2.safetensors", "{" ENTRY("b", 0, 4) "," ENTRY("a", 4, 8) "}", 8);
    scratch_write(&directory, "model.safetensors.index.json", index, strlen(index));
    tn_status status = open_directory(&directory);
    if (status == TN_OK || !strstr(error.msg, text))
        fail_msg("index %s: status %d, message '%s'", index, status, error.msg);
    scratch_destroy(&directory);
}

static void test_a_sharded_directory_is_read(void **state)
{
    (void)state;
    static const char index[] = "{\"metadata\":{},\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}";
    scratch_directory directory = scratch_create();
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    tn_meta meta = {.struct_size = sizeof meta};
    write_shard(&directory, "s1.safetensors", "{" ENTRY("a", 0, 4) "}", 4);
    write_shard(&directory, "s2.safetensors", "{" ENTRY("b", 0, 4) "}", 4);
    scratch_write(&directory, "model.safetensors.index.json", index, strlen(index));
    scratch_write(&directory, "config.json", "{\"x\":1}", 7);
    scratch_write(&directory, "tokenizer.json", "", 0);
    assert_int_equal(open_directory(&directory), TN_OK);

    const tn_source *source = checkpoint_source(opened);
    assert_int_equal(source->tensor_count, 2);
    assert_int_equal(source->tensor(source, "b", &tensor), TN_OK);
    assert_int_equal(((const uint8_t *)tensor.data)[3], 3);
    assert_int_equal(source->meta(source, "config.json", &meta), TN_OK);
    assert_int_equal(meta.kind, TN_META_STRING);
    assert_int_equal(meta.count, 7);
    assert_memory_equal(meta.string, "{\"x\":1}", 7);
    assert_int_equal(source->meta(source, "tokenizer.json", &meta), TN_OK);
    assert_int_equal(meta.count, 0);
    assert_int_equal(source->meta(source, "tokenizer.model", &meta), TN_E_NOT_FOUND);
    checkpoint_release(opened, tensor.data, tensor.bytes);
    assert_int_equal(((const uint8_t *)tensor.data)[3], 3); /* still readable */
    checkpoint_close(opened);
    scratch_destroy(&directory);
}

static void test_a_single_file_finds_its_config_beside_it(void **state)
{
    (void)state;
    scratch_directory directory = scratch_create();
    tn_meta meta = {.struct_size = sizeof meta};
    char path[256];
    write_shard(&directory, "model.safetensors", "{" ENTRY("a", 0, 4) "}", 4);
    scratch_write(&directory, "config.json", "{}", 2);
    snprintf(path, sizeof path, "%s/model.safetensors", directory.path);
    assert_int_equal(checkpoint_open(path, &opened, &error), TN_OK);
    assert_int_equal(checkpoint_source(opened)->meta(checkpoint_source(opened), "config.json", &meta), TN_OK);
    checkpoint_close(opened);
    assert_int_equal(open_directory(&directory), TN_OK);
    assert_int_equal(checkpoint_source(opened)->meta(checkpoint_source(opened), "config.json", &meta), TN_OK);
    checkpoint_close(opened);
    scratch_destroy(&directory);
}

static void test_indexes_that_lie_are_refused(void **state)
{
    (void)state;
    assert_index_refused("{", "bad JSON");
    assert_index_refused("[]", "no weight_map");
    assert_index_refused("{\"weight_map\":{}}", "no weight_map");
    assert_index_refused("{\"weight_map\":{\"a\":1}}", "plain name");
    assert_index_refused("{\"weight_map\":{\"a\":\"../s1.safetensors\"}}", "plain name");
    assert_index_refused("{\"weight_map\":{\"a\":\"/etc/s1.safetensors\"}}", "plain name");
    assert_index_refused("{\"weight_map\":{\"a\":\".safetensors\"}}", "plain name");
    assert_index_refused("{\"weight_map\":{\"a\":\"x\\\\..\\\\s1.safetensors\"}}", "plain name");
    assert_index_refused("{\"weight_map\":{\"a\":\"passwd\"}}", "plain name");
    assert_index_refused("{\"weight_map\":{\"a\":\"absent.safetensors\"}}",
                         "the shard is missing; model.safetensors.index.json "
                         "needs it for tensor 'a'");
    assert_index_refused("{\"weight_map\":{\"zz\":\"s1.safetensors\"}}", "not in the shard it names");
    assert_index_refused("{\"weight_map\":{\"a\":\"s1.safetensors\",\"a\":\"s2.safetensors\"}}", "duplicate");
    assert_index_refused("{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}",
                         "two tensors named 'a'");
}

static void test_paths_that_hold_no_model_are_refused(void **state)
{
    (void)state;
    scratch_directory directory = scratch_create();
    char path[256];
    assert_int_equal(open_directory(&directory), TN_E_NOT_FOUND);
    assert_non_null(strstr(error.msg, "neither model.safetensors nor"));
    snprintf(path, sizeof path, "%s/x", directory.path);
    assert_int_equal(checkpoint_open(path, &opened, &error), TN_E_NOT_FOUND);
    scratch_write(&directory, "x", "", 0);
    assert_int_equal(checkpoint_open(path, &opened, &error), TN_E_CORRUPT);
    assert_non_null(strstr(error.msg, "empty"));
    scratch_write(&directory, "x", "PK\3\4zzzz", 8);
    assert_int_equal(checkpoint_open(path, &opened, &error), TN_E_UNSUPPORTED);
    assert_non_null(strstr(error.msg, "pickle"));
    scratch_write(&directory, "x", "plain text", 10);
    assert_int_equal(checkpoint_open(path, &opened, &error), TN_E_UNSUPPORTED);
    assert_int_equal(checkpoint_open("/dev/null", &opened, &error), TN_E_IO);
    assert_non_null(strstr(error.msg, "not a regular file"));
    scratch_destroy(&directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_file_is_read),
        cmocka_unit_test(test_header_lengths_that_lie_are_refused),
        cmocka_unit_test(test_headers_that_are_no_objects_are_refused),
        cmocka_unit_test(test_deep_json_is_refused),
        cmocka_unit_test(test_duplicate_and_bad_names_are_refused),
        cmocka_unit_test(test_tensor_entries_that_lie_are_refused),
        cmocka_unit_test(test_tensors_must_cover_the_data_exactly),
        cmocka_unit_test(test_a_sharded_directory_is_read),
        cmocka_unit_test(test_a_single_file_finds_its_config_beside_it),
        cmocka_unit_test(test_indexes_that_lie_are_refused),
        cmocka_unit_test(test_paths_that_hold_no_model_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
