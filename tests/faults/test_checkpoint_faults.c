/* test_checkpoint_faults.c: opening a model while memory runs out, at every allocation in turn. */
#include "fail_nth.h"
#include "unit/cmocka_test.h"
#include "unit/gguf_writer.h"
#include "unit/scratch_directory.h"

#include "model/container.h"

static byte_writer gguf;
static scratch_directory directory;

static tn_status open_gguf(tn_error *err)
{
    checkpoint *opened = NULL;
    tn_status status = gguf_open_memory("test.gguf", gguf.data, gguf.size, &opened, err);
    checkpoint_close(opened);
    return status;
}

static tn_status open_directory(tn_error *err)
{
    checkpoint *opened = NULL;
    tn_status status = checkpoint_open(directory.path, &opened, err);
    checkpoint_close(opened);
    return status;
}

static void test_gguf_survives_every_failing_allocation(void **state)
{
    (void)state;
    write_header(&gguf, 3, 2, 2);
    write_key_u32(&gguf, "a", 1);
    write_key_array(&gguf, "words", WRITE_STRING, 1);
    write_string(&gguf, "x");
    write_tensor(&gguf, "m", 1, (uint64_t[]){1}, 0, 0);
    write_tensor(&gguf, "n", 1, (uint64_t[]){1}, 0, 32);
    write_padding(&gguf, 32);
    write_zeros(&gguf, 36);
    assert_true(fail_every_allocation(open_gguf, true) > 10);
    free(gguf.data);
}

static void write_shard(const char *name, const char *header)
{
    uint8_t bytes[256];
    uint64_t length = strlen(header);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    memset(bytes + 8 + length, 0, 1);
    scratch_write(&directory, name, bytes, 8 + length + 1);
}

static void test_a_sharded_directory_survives_every_failing_allocation(void **state)
{
    (void)state;
    static const char index[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}";
    directory = scratch_create();
    write_shard("1.safetensors", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
    write_shard("2.safetensors", "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
    scratch_write(&directory, "model.safetensors.index.json", index, strlen(index));
    scratch_write(&directory, "config.json", "{}", 2);
    assert_true(fail_every_allocation(open_directory, false) > 30);
    scratch_destroy(&directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf_survives_every_failing_allocation),
        cmocka_unit_test(test_a_sharded_directory_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
