/* test_tar.c: headers as tar writes them; tests/e2e/test_registry.py has tar itself read and write whole bundles. */
#include "registry/tar.h"

#include "cmocka_test.h"

#include <string.h>

static uint8_t block[TAR_BLOCK];
static char name[TAR_NAME_BYTES_MAX + 1];
static uint64_t bytes;
static bool end;

static tn_status read_back(void)
{
    tn_error err = TN_ERROR_INIT;
    return tar_read_header("x.tar", block, name, &bytes, &end, &err);
}

/* Makes the checksum right again after a change. */
static void reseal(void)
{
    uint32_t sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += block[i];
    snprintf((char *)block + 148, 7, "%06o", sum);
}

static void test_sizes(void **state)
{
    static const uint64_t sizes[] = {0, 1, 511, 512, 1ull << 20, (1ull << 33) - 1, 1ull << 33, 1ull << 40, INT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tar_write_header("blobs/a", sizes[i], block);
        assert_int_equal(read_back(), TN_OK);
        assert_true(bytes == sizes[i] && !end && strcmp(name, "blobs/a") == 0);
        assert_int_equal((sizes[i] + tar_padding(sizes[i])) % TAR_BLOCK, 0);
        assert_true(tar_padding(sizes[i]) < TAR_BLOCK);
    }
}

static void test_end(void **state)
{
    (void)state;
    memset(block, 0, sizeof block);
    assert_int_equal(read_back(), TN_OK);
    assert_true(end);
}

static void test_lies(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) { /* any changed byte but those of the mode and such that a checksum covers too */
        tar_write_header("a", 100, block);
        block[i] ^= 1;
        tn_status status = read_back();
        assert_true(status == TN_E_CORRUPT || i == 148 + 6 || i == 148 + 7 || i >= 262);
    }
    tar_write_header("a", 100, block);
    block[156] = '2'; /* a link */
    reseal();
    assert_int_equal(read_back(), TN_E_CORRUPT);
    tar_write_header("a", 100, block);
    block[345] = 'p'; /* a prefix of the name */
    reseal();
    assert_int_equal(read_back(), TN_E_CORRUPT);
    tar_write_header("a", 100, block);
    memcpy(block + 124, "-0000000144", 12);
    reseal();
    assert_int_equal(read_back(), TN_E_CORRUPT);
    tar_write_header("a", 100, block);
    memset(block + 124, 0xff, 12); /* a negative size in base 256 */
    reseal();
    assert_int_equal(read_back(), TN_E_CORRUPT);
    tar_write_header("a", 1ull << 40, block);
    block[125] = 1; /* beyond 64 bits */
    reseal();
    assert_int_equal(read_back(), TN_E_CORRUPT);
    tar_write_header("a", 1ull << 40, block);
    block[128] = 0x80; /* beyond 63 */
    reseal();
    assert_int_equal(read_back(), TN_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_end),
                                       cmocka_unit_test(test_lies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
