/* test_siphash.c: the authors' published 128-bit vectors (key 00..0f, input 00 01 02 ...). */
#include "cmocka_test.h"
#include "engine/siphash.h"

#include <string.h>

static void test_published_vectors(void **state)
{
    static const struct {
        size_t n;
        unsigned char hash[16];
    } vector[] = {
        {0, {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93}},
        {1, {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45}},
        {2, {0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7, 0xfc, 0xa3, 0x8b, 0xde, 0xf6, 0x0a, 0xff, 0xe4}},
        {8, {0x3b, 0x62, 0xa9, 0xba, 0x62, 0x58, 0xf5, 0x61, 0x0f, 0x83, 0xe2, 0x64, 0xf3, 0x14, 0x97, 0xb4}},
    };
    unsigned char input[16], key_bytes[16];
    uint64_t key[2];
    (void)state;
    for (unsigned char i = 0; i < 16; i++)
        input[i] = key_bytes[i] = i;
    memcpy(key, key_bytes, sizeof key);
    for (size_t i = 0; i < sizeof vector / sizeof vector[0]; i++) {
        hash128 hash = siphash_128(key, input, vector[i].n);
        assert_memory_equal(&hash, vector[i].hash, sizeof hash);
    }
}

static void test_another_key_gives_another_hash(void **state)
{
    const uint64_t a[2] = {1, 2}, b[2] = {1, 3};
    (void)state;
    hash128 left = siphash_128(a, "prefix", 6), right = siphash_128(b, "prefix", 6);
    assert_memory_not_equal(&left, &right, sizeof left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_vectors),
        cmocka_unit_test(test_another_key_gives_another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
