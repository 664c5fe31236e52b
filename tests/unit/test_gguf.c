/* test_gguf.c: what a good GGUF file says is what the view shows; every way a file can lie is refused with one
 * sentence.
 *
 * Each hostile file is written here, byte by byte, into a heap block of its exact size, so that the address sanitizer
 * sees a read past its end.
 */
#include "cmocka_test.h"
#include "gguf_writer.h"
#include "model/container.h"

#include <stdio.h>
#include <unistd.h>

static checkpoint *opened;
static tn_error error;

/* Opens what was written and frees it, unless that succeeded: then the bytes live until close_file. */
static uint8_t *file_bytes;

static tn_status open_written(byte_writer *w)
{
    error = (tn_error)TN_ERROR_INIT;
    opened = NULL;
    file_bytes = malloc(w->size ? w->size : 1);
    assert_non_null(file_bytes);
    if (w->size)
        memcpy(file_bytes, w->data, w->size);
    tn_status status = gguf_open_memory("test.gguf", file_bytes, w->size, &opened, &error);
    free(w->data);
    *w = (byte_writer){0};
    return status;
}

static void close_file(void)
{
    checkpoint_close(opened);
    free(file_bytes);
}

static void assert_refused(byte_writer *w, tn_status status, const char *text)
{
    assert_int_equal(open_written(w), status);
    if (!strstr(error.msg, text))
        fail_msg("message was: %s", error.msg);
    assert_null(opened);
    free(file_bytes);
}

/* One key of each type, and arrays. */
static void write_metadata(byte_writer *w)
{
    write_key(w, "u8", WRITE_U8);
    write_u8(w, 200);
    write_key(w, "i8", WRITE_I8);
    write_u8(w, 0xff);
    write_key(w, "u16", WRITE_U16);
    write_bytes(w, "\x01\x80", 2);
    write_key(w, "i16", WRITE_I16);
    write_bytes(w, "\x01\x80", 2);
    write_key_u32(w, "u32", 4000000000u);
    write_key(w, "i32", WRITE_I32);
    write_u32(w, (uint32_t)-7);
    write_key(w, "f32", WRITE_F32);
    write_bytes(w, &(float){1.5f}, 4);
    write_key(w, "bool", WRITE_BOOL);
    write_u8(w, 1);
    write_key(w, "string", WRITE_STRING);
    write_string(w, "grüße");
    write_key(w, "u64", WRITE_U64);
    write_u64(w, UINT64_MAX);
    write_key(w, "i64", WRITE_I64);
    write_u64(w, (uint64_t)INT64_MIN);
    write_key(w, "f64", WRITE_F64);
    write_bytes(w, &(double){-0.25}, 8);
    write_key_array(w, "words", WRITE_STRING, 3);
    write_string(w, "a");
    write_string(w, "");
    write_string(w, "bcd");
    write_key_array(w, "numbers", WRITE_I16, 2);
    write_bytes(w, "\xff\xff\x02\x00", 4);
    write_key_array(w, "nothing", WRITE_STRING, 0);
}
enum { METADATA_KEYS = 15 };

static tn_meta meta_of(const char *key)
{
    tn_meta meta = {.struct_size = sizeof meta};
    const tn_source *source = checkpoint_source(opened);
    assert_int_equal(source->meta(source, key, &meta), TN_OK);
    return meta;
}

static void test_metadata_of_every_type_is_read(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_header(&w, 3, 0, METADATA_KEYS);
    write_metadata(&w);
    assert_int_equal(open_written(&w), TN_OK);

    assert_int_equal(meta_of("u8").u, 200);
    assert_int_equal(meta_of("i8").i, -1);
    assert_int_equal(meta_of("u16").u, 0x8001);
    assert_int_equal(meta_of("i16").i, -0x7fff);
    assert_int_equal(meta_of("u32").u, 4000000000u);
    assert_int_equal(meta_of("i32").i, -7);
    assert_true(meta_of("f32").f == 1.5);
    assert_int_equal(meta_of("bool").kind, TN_META_BOOL);
    assert_int_equal(meta_of("bool").u, 1);
    assert_int_equal(meta_of("string").count, strlen("grüße"));
    assert_memory_equal(meta_of("string").string, "grüße", strlen("grüße"));
    assert_true(meta_of("u64").u == UINT64_MAX);
    assert_true(meta_of("i64").i == INT64_MIN);
    assert_true(meta_of("f64").f == -0.25);
    close_file();
}

static void test_array_elements_are_read_by_index(void **state)
{
    (void)state;
    byte_writer w = {0};
    tn_meta meta = {.struct_size = sizeof meta};
    write_header(&w, 3, 0, METADATA_KEYS);
    write_metadata(&w);
    assert_int_equal(open_written(&w), TN_OK);
    const tn_source *source = checkpoint_source(opened);

    assert_int_equal(meta_of("words").kind, TN_META_ARRAY);
    assert_int_equal(meta_of("words").element, TN_META_STRING);
    assert_int_equal(meta_of("words").count, 3);
    assert_int_equal(source->meta_element(source, "words", 2, &meta), TN_OK);
    assert_int_equal(meta.count, 3);
    assert_memory_equal(meta.string, "bcd", 3);
    assert_int_equal(source->meta_element(source, "words", 1, &meta), TN_OK);
    assert_int_equal(meta.count, 0);
    assert_int_equal(source->meta_element(source, "words", 3, &meta), TN_E_NOT_FOUND);
    assert_int_equal(source->meta_element(source, "numbers", 0, &meta), TN_OK);
    assert_int_equal(meta.kind, TN_META_INT);
    assert_int_equal(meta.i, -1);
    assert_int_equal(source->meta_element(source, "nothing", 0, &meta), TN_E_NOT_FOUND);
    assert_int_equal(source->meta_element(source, "u32", 0, &meta), TN_E_NOT_FOUND);
    assert_int_equal(source->meta_element(source, "absent", 0, &meta), TN_E_NOT_FOUND);
    assert_string_equal(source->meta_key(source, 0), "u8");
    assert_null(source->meta_key(source, METADATA_KEYS));
    close_file();
}

/* Two tensors: "m" F32 [2 rows, 3], "q" Q8_0 [1, 32], data at 32-byte steps. */
static void write_two_tensors(byte_writer *w)
{
    write_header(w, 3, 2, 0);
    write_tensor(w, "m", 2, (uint64_t[]){3, 2}, 0, 0);
    write_tensor(w, "q", 1, (uint64_t[]){32}, 8, 32);
    write_padding(w, 32);
    for (uint32_t i = 0; i < 6; i++)
        write_bytes(w, &(float){(float)i}, 4);
    write_padding(w, 32);
    write_zeros(w, 34);
}

static void test_tensors_come_slowest_dimension_first(void **state)
{
    (void)state;
    byte_writer w = {0};
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    write_two_tensors(&w);
    assert_int_equal(open_written(&w), TN_OK);
    const tn_source *source = checkpoint_source(opened);

    assert_int_equal(source->tensor_count, 2);
    assert_int_equal(source->tensor(source, "m", &tensor), TN_OK);
    assert_int_equal(tensor.dtype, TN_DTYPE_GGUF + 0);
    assert_int_equal(tensor.rank, 2);
    assert_int_equal(tensor.dim[0], 2);
    assert_int_equal(tensor.dim[1], 3);
    assert_int_equal(tensor.dim[2], 1);
    assert_int_equal(tensor.bytes, 24);
    assert_true(((const float *)tensor.data)[5] == 5.0f);
    assert_int_equal(source->tensor_at(source, 1, &tensor), TN_OK);
    assert_string_equal(tensor.name, "q");
    assert_int_equal(tensor.bytes, 34);
    assert_int_equal(source->tensor(source, "absent", &tensor), TN_E_NOT_FOUND);
    assert_int_equal(source->tensor_at(source, 2, &tensor), TN_E_NOT_FOUND);
    assert_int_equal(checkpoint_tensor_bytes(opened), 58);
    close_file();
}

static void test_a_receiver_of_an_older_size_keeps_its_size(void **state)
{
    (void)state;
    byte_writer w = {0};
    tn_tensor_src tensor = {.struct_size = 8};
    write_two_tensors(&w);
    assert_int_equal(open_written(&w), TN_OK);
    const tn_source *source = checkpoint_source(opened);
    assert_int_equal(source->tensor(source, "m", &tensor), TN_E_ARGUMENT);
    tensor.struct_size = sizeof tensor;
    assert_int_equal(source->tensor(source, "m", &tensor), TN_OK);
    assert_int_equal(tensor.struct_size, sizeof tensor);
    close_file();
}

static void test_version_2_is_read(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_header(&w, 2, 0, 1);
    write_key_u32(&w, "a", 1);
    assert_int_equal(open_written(&w), TN_OK);
    close_file();
}

static void test_every_prefix_of_a_good_file_is_refused(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_header(&w, 3, 1, METADATA_KEYS);
    write_metadata(&w);
    write_tensor(&w, "m", 2, (uint64_t[]){3, 2}, 0, 0);
    write_padding(&w, 32);
    write_zeros(&w, 24);
    for (size_t size = 0; size < w.size; size++) {
        byte_writer prefix = {0};
        write_bytes(&prefix, w.data, size);
        assert_refused(&prefix, TN_E_CORRUPT, "test.gguf: ");
    }
    assert_int_equal(open_written(&w), TN_OK);
    close_file();
}

static void test_a_truncated_file_says_how_many_bytes_are_missing(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_two_tensors(&w);
    w.size -= 10;
    assert_refused(&w, TN_E_CORRUPT, "(10 are missing)");
    write_header(&w, 3, 0, 1);
    write_key(&w, "name", WRITE_STRING);
    write_u64(&w, 100);
    write_zeros(&w, 60);
    assert_refused(&w, TN_E_CORRUPT, "at least 40 bytes are missing");
}

static void test_other_versions_and_files_are_refused_by_name(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_bytes(&w, "GGML", 4);
    write_zeros(&w, 60);
    assert_refused(&w, TN_E_CORRUPT, "not a GGUF file");
    write_header(&w, 1, 0, 0);
    assert_refused(&w, TN_E_UNSUPPORTED, "version 1");
    write_header(&w, 4, 0, 0);
    assert_refused(&w, TN_E_UNSUPPORTED, "version 4");
    write_header(&w, 0x03000000, 0, 0);
    assert_refused(&w, TN_E_UNSUPPORTED, "big-endian");
}

static void test_absurd_counts_are_refused(void **state)
{
    (void)state;
    static const uint64_t counts[] = {UINT64_MAX, (uint64_t)1 << 63, UINT64_MAX / 33 + 1, (uint64_t)1 << 32, 3};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        byte_writer w = {0};
        write_header(&w, 3, counts[i], 0);
        write_zeros(&w, 64);
        assert_refused(&w, TN_E_CORRUPT, "tensor count");
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        byte_writer w = {0};
        write_header(&w, 3, 0, counts[i]);
        write_zeros(&w, 40);
        assert_refused(&w, TN_E_CORRUPT, "key count");
    }
}

static void test_absurd_string_lengths_are_refused(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {UINT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 31, 1000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        byte_writer w = {0};
        write_header(&w, 3, 0, 1);
        write_u64(&w, lengths[i]);
        write_zeros(&w, 64);
        assert_refused(&w, TN_E_CORRUPT, "runs past the end");
        write_header(&w, 3, 0, 1);
        write_key(&w, "k", WRITE_STRING);
        write_u64(&w, lengths[i]);
        write_zeros(&w, 64);
        assert_refused(&w, TN_E_CORRUPT, "key 'k'");
    }
}

static void test_absurd_array_lengths_are_refused(void **state)
{
    (void)state;
    static const uint32_t elements[] = {WRITE_U8, WRITE_U32, WRITE_F64, WRITE_STRING, WRITE_BOOL};
    static const uint64_t counts[] = {UINT64_MAX, (uint64_t)1 << 63, ((uint64_t)1 << 61) + 1, 1000};
    for (size_t e = 0; e < sizeof elements / sizeof elements[0]; e++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            byte_writer w = {0};
            write_header(&w, 3, 0, 1);
            write_key_array(&w, "list", elements[e], counts[i]);
            write_zeros(&w, 64);
            assert_refused(&w, TN_E_CORRUPT, "key 'list'");
        }
    }
}

static void test_nested_arrays_and_unknown_types_are_refused(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_header(&w, 3, 0, 1);
    write_key_array(&w, "list", WRITE_ARRAY, 1);
    write_zeros(&w, 64);
    assert_refused(&w, TN_E_CORRUPT, "arrays inside arrays");
    write_header(&w, 3, 0, 1);
    write_key_array(&w, "list", 13, 1);
    write_zeros(&w, 64);
    assert_refused(&w, TN_E_CORRUPT, "unknown value type 13");
    write_header(&w, 3, 0, 1);
    write_key(&w, "k", UINT32_MAX);
    write_zeros(&w, 64);
    assert_refused(&w, TN_E_CORRUPT, "unknown value type");
    write_header(&w, 3, 0, 1);
    write_key(&w, "k", WRITE_BOOL);
    write_u8(&w, 2);
    assert_refused(&w, TN_E_CORRUPT, "no boolean");
    write_header(&w, 3, 0, 1);
    write_key_array(&w, "k", WRITE_BOOL, 2);
    write_bytes(&w, "\x01\x07", 2);
    assert_refused(&w, TN_E_CORRUPT, "no boolean");
}

static void test_bad_keys_are_refused(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_header(&w, 3, 0, 2);
    write_key_u32(&w, "twice", 1);
    write_key_u32(&w, "twice", 2);
    assert_refused(&w, TN_E_CORRUPT, "'twice' is there twice");
    write_header(&w, 3, 0, 1);
    write_key_u32(&w, "", 1);
    assert_refused(&w, TN_E_CORRUPT, "empty");
    write_header(&w, 3, 0, 1);
    write_key_u32(&w, "esc\x1b[2J", 1);
    assert_refused(&w, TN_E_CORRUPT, "control characters");
    write_header(&w, 3, 0, 1);
    write_key_u32(&w, "bad\xff", 1);
    assert_refused(&w, TN_E_CORRUPT, "UTF-8");
    write_header(&w, 3, 0, 1);
    write_u64(&w, 70000);
    write_zeros(&w, 70100);
    assert_refused(&w, TN_E_CORRUPT, "70000 bytes long");
}

static void test_many_duplicate_keys_do_not_take_quadratic_time(void **state)
{
    (void)state;
    byte_writer w = {0};
    char key[16];
    write_header(&w, 3, 0, 60000);
    for (int i = 0; i < 60000; i++) {
        snprintf(key, sizeof key, "k%d", i == 59999 ? 7 : i);
        write_key_u32(&w, key, 1);
    }
    alarm(20);
    assert_refused(&w, TN_E_CORRUPT, "'k7' is there twice");
    alarm(0);
}

static void test_bad_alignments_are_refused(void **state)
{
    (void)state;
    static const uint32_t alignments[] = {0, 1, 3, 33, 1u << 31, UINT32_MAX};
    byte_writer w = {0};
    for (size_t i = 0; i < sizeof alignments / sizeof alignments[0]; i++) {
        write_header(&w, 3, 0, 1);
        write_key_u32(&w, "general.alignment", alignments[i]);
        assert_refused(&w, TN_E_CORRUPT, "power of two");
    }
    write_header(&w, 3, 0, 1);
    write_key(&w, "general.alignment", WRITE_U64);
    write_u64(&w, 32);
    assert_refused(&w, TN_E_CORRUPT, "not of type uint32");
    write_header(&w, 3, 0, 1);
    write_key(&w, "general.alignment", WRITE_STRING);
    write_string(&w, "32");
    assert_refused(&w, TN_E_CORRUPT, "not of type uint32");
}

static void test_a_part_of_a_split_model_is_refused(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_header(&w, 3, 0, 1);
    write_key(&w, "split.count", WRITE_U16);
    write_bytes(&w, "\x03\x00", 2);
    assert_refused(&w, TN_E_UNSUPPORTED, "one of 3 parts");
    write_header(&w, 3, 0, 1);
    write_key(&w, "split.count", WRITE_U16);
    write_bytes(&w, "\x01\x00", 2);
    assert_int_equal(open_written(&w), TN_OK);
    close_file();
}

static void test_a_given_alignment_moves_the_data(void **state)
{
    (void)state;
    byte_writer w = {0};
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    write_header(&w, 3, 1, 1);
    write_key_u32(&w, "general.alignment", 256);
    write_tensor(&w, "m", 1, (uint64_t[]){1}, 0, 0);
    write_padding(&w, 256);
    write_bytes(&w, &(float){42.0f}, 4);
    assert_int_equal(open_written(&w), TN_OK);
    const tn_source *source = checkpoint_source(opened);
    assert_int_equal(source->tensor(source, "m", &tensor), TN_OK);
    assert_true(*(const float *)tensor.data == 42.0f);
    close_file();
}

/* One tensor of these dims, type and offset, with 4 KiB of data. */
static void write_one_tensor(byte_writer *w, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset)
{
    write_header(w, 3, 1, 0);
    write_tensor(w, "t", n_dims, dims, type, offset);
    write_padding(w, 32);
    write_zeros(w, 4096);
}

static void test_bad_ranks_are_refused(void **state)
{
    (void)state;
    static const uint32_t ranks[] = {0, 5, 1000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        byte_writer w = {0};
        write_header(&w, 3, 1, 0);
        write_string(&w, "t");
        write_u32(&w, ranks[i]);
        write_zeros(&w, 256);
        assert_refused(&w, TN_E_CORRUPT, "dimensions; 1 to 4 are allowed");
    }
}

static void test_bad_dimensions_are_refused(void **state)
{
    (void)state;
    const uint64_t half = (uint64_t)1 << 32;
    byte_writer w = {0};
    write_one_tensor(&w, 2, (uint64_t[]){0, 4}, 0, 0);
    assert_refused(&w, TN_E_CORRUPT, "dimension 0 is 0");
    write_one_tensor(&w, 2, (uint64_t[]){4, (uint64_t)1 << 63}, 0, 0);
    assert_refused(&w, TN_E_CORRUPT, "dimension 1 is 9223372036854775808");
    write_one_tensor(&w, 2, (uint64_t[]){half, half}, 0, 0); /* wraps to 0 elements */
    assert_refused(&w, TN_E_CORRUPT, "more than 64 bits");
    write_one_tensor(&w, 3, (uint64_t[]){half, half / 4 + 1, 4}, 0, 0); /* wraps to few elements */
    assert_refused(&w, TN_E_CORRUPT, "more than 64 bits");
    write_one_tensor(&w, 1, (uint64_t[]){((uint64_t)1 << 62) + 1}, 0, 0); /* wraps to four bytes */
    assert_refused(&w, TN_E_CORRUPT, "impossible size");
    write_one_tensor(&w, 1, (uint64_t[]){(uint64_t)1 << 56}, 0, 0); /* fits 64 bits, but what is made of it may not */
    assert_refused(&w, TN_E_CORRUPT, "impossible size");
    write_one_tensor(&w, 2, (uint64_t[]){31, 2}, 8, 0);
    assert_refused(&w, TN_E_CORRUPT, "whole blocks");
    write_one_tensor(&w, 2, (uint64_t[]){128, 2}, 12, 0); /* 256 elements, but no row holds a whole block */
    assert_refused(&w, TN_E_CORRUPT, "whole blocks");
    write_one_tensor(&w, 2, (uint64_t[]){1024, 2}, 0, 0);
    assert_refused(&w, TN_E_CORRUPT, "(4096 are missing)");
}

static void test_unknown_tensor_types_are_refused_by_number(void **state)
{
    (void)state;
    static const uint32_t types[] = {4, 5, 9, 15, 31, 1000, UINT32_MAX, UINT32_MAX - 255};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        byte_writer w = {0};
        char number[32];
        snprintf(number, sizeof number, "type number %u,", types[i]);
        write_one_tensor(&w, 1, (uint64_t[]){256}, types[i], 0);
        assert_refused(&w, TN_E_UNSUPPORTED, number);
    }
}

static void test_bad_offsets_are_refused(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_one_tensor(&w, 1, (uint64_t[]){8}, 0, 16);
    assert_refused(&w, TN_E_CORRUPT, "not a multiple of the alignment");
    write_one_tensor(&w, 1, (uint64_t[]){8}, 0, UINT64_MAX - 31); /* offset + bytes wraps to 0 */
    assert_refused(&w, TN_E_CORRUPT, "impossible");
    write_one_tensor(&w, 1, (uint64_t[]){8}, 0, UINT64_MAX - 63); /* the file's own position wraps it */
    assert_refused(&w, TN_E_CORRUPT, "impossible");
    write_one_tensor(&w, 1, (uint64_t[]){8}, 0, (uint64_t)1 << 62);
    assert_refused(&w, TN_E_CORRUPT, "cut short");
    write_one_tensor(&w, 1, (uint64_t[]){8}, 0, 4096);
    assert_refused(&w, TN_E_CORRUPT, "(32 are missing)");
}

static void test_overlapping_and_duplicate_tensors_are_refused(void **state)
{
    (void)state;
    byte_writer w = {0};
    write_header(&w, 3, 2, 0);
    write_tensor(&w, "b", 1, (uint64_t[]){16}, 0, 32);
    write_tensor(&w, "a", 1, (uint64_t[]){9}, 0, 0); /* 36 bytes */
    write_padding(&w, 32);
    write_zeros(&w, 128);
    assert_refused(&w, TN_E_CORRUPT, "tensor 'b': its bytes overlap those of tensor 'a'");
    write_header(&w, 3, 2, 0);
    write_tensor(&w, "a", 1, (uint64_t[]){8}, 0, 0);
    write_tensor(&w, "a", 1, (uint64_t[]){8}, 0, 32);
    write_padding(&w, 32);
    write_zeros(&w, 64);
    assert_refused(&w, TN_E_CORRUPT, "two tensors named 'a'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata_of_every_type_is_read),
        cmocka_unit_test(test_array_elements_are_read_by_index),
        cmocka_unit_test(test_tensors_come_slowest_dimension_first),
        cmocka_unit_test(test_a_receiver_of_an_older_size_keeps_its_size),
        cmocka_unit_test(test_version_2_is_read),
        cmocka_unit_test(test_every_prefix_of_a_good_file_is_refused),
        cmocka_unit_test(test_a_truncated_file_says_how_many_bytes_are_missing),
        cmocka_unit_test(test_other_versions_and_files_are_refused_by_name),
        cmocka_unit_test(test_absurd_counts_are_refused),
        cmocka_unit_test(test_absurd_string_lengths_are_refused),
        cmocka_unit_test(test_absurd_array_lengths_are_refused),
        cmocka_unit_test(test_nested_arrays_and_unknown_types_are_refused),
        cmocka_unit_test(test_bad_keys_are_refused),
        cmocka_unit_test(test_many_duplicate_keys_do_not_take_quadratic_time),
        cmocka_unit_test(test_bad_alignments_are_refused),
        cmocka_unit_test(test_a_part_of_a_split_model_is_refused),
        cmocka_unit_test(test_a_given_alignment_moves_the_data),
        cmocka_unit_test(test_bad_ranks_are_refused),
        cmocka_unit_test(test_bad_dimensions_are_refused),
        cmocka_unit_test(test_unknown_tensor_types_are_refused_by_number),
        cmocka_unit_test(test_bad_offsets_are_refused),
        cmocka_unit_test(test_overlapping_and_duplicate_tensors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
