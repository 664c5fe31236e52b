/* test_cuda_devices.c: what is said of devices and of their links, asked of a library with the names of the driver and
 * of NVML (fake_driver.c), with NVML and without.
 */
#include "cmocka_test.h"

#include "device_probe.h"
#include "links.h"

#include <string.h>

static void test_devices_are_described_without_a_context(void **state)
{
    (void)state;
    device_probe probe;
    tn_devinfo info = {.struct_size = sizeof info};
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(device_probe_open(&probe, FAKE_DRIVER, FAKE_DRIVER, &err), TN_OK);
    for (uint32_t i = 0; i < 3; i++) {
        char words[64];
        assert_int_equal(device_probe_describe(&probe, i, &info, &err), TN_OK);
        assert_int_equal(info.ordinal, i);
        assert_int_equal(info.mem_total, (i + 1ull) << 34);
        assert_int_equal(info.mem_free, i < 2 ? (1ull << 33) + i : info.mem_total); /* NVML does not know the third */
        snprintf(words, sizeof words, "GPU number %u", i);
        assert_string_equal(info.name, words);
        snprintf(words, sizeof words, "sm_90, %u multiprocessors", 132 - i);
        assert_string_equal(info.features, words);
        snprintf(words, sizeof words, "cuda%u", i);
        assert_string_equal(info.mem_domain, words);
    }
    assert_int_equal(device_probe_describe(&probe, 3, &info, &err), TN_E_DEVICE_LOST);
    assert_string_equal(err.msg, "the device: no CUDA-capable device is detected");
    assert_int_equal(err.native_code, 100);
}

static void test_without_nvml_all_memory_is_free(void **state)
{
    (void)state;
    device_probe probe;
    tn_devinfo info = {.struct_size = sizeof info};
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(device_probe_open(&probe, FAKE_DRIVER, "/nowhere/libnvidia-ml.so.1", &err), TN_OK);
    assert_int_equal(device_probe_describe(&probe, 0, &info, &err), TN_OK);
    assert_int_equal(info.mem_free, info.mem_total);
    assert_string_equal(device_probe_link(&probe, 0, 1), "PCIe");
    assert_int_equal(device_probe_open(&probe, FAKE_DRIVER, NO_DRIVER, &err), TN_OK);
    assert_int_equal(device_probe_describe(&probe, 0, &info, &err), TN_OK);
    assert_int_equal(info.mem_free, info.mem_total);
}

static void test_what_is_no_driver_is_refused(void **state)
{
    (void)state;
    device_probe probe;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(device_probe_open(&probe, "/nowhere/libcuda.so.1", FAKE_DRIVER, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nowhere/libcuda.so.1"));
    assert_int_equal(device_probe_open(&probe, NO_DRIVER, FAKE_DRIVER, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "has no cuInit: it is too old"));
}

static void test_links_are_of_nvml_then_of_the_driver(void **state)
{
    (void)state;
    device_probe probe;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(device_probe_open(&probe, FAKE_DRIVER, FAKE_DRIVER, &err), TN_OK);
    assert_string_equal(device_probe_link(&probe, 0, 1), "NVLink");
    assert_string_equal(device_probe_link(&probe, 0, 2), "NVLink");
    assert_string_equal(device_probe_link(&probe, 1, 2), "PCIe");
    assert_string_equal(device_probe_link(&probe, 1, 1), "");
}

/* ---- the sentence ---- */

static const char *nvlink(uint32_t a, uint32_t b)
{
    return a == b ? "" : "NVLink";
}

static const char *pcie(uint32_t a, uint32_t b)
{
    return a == b ? "" : "PCIe";
}

/* Two and two, as cards with bridges are. */
static const char *bridges(uint32_t a, uint32_t b)
{
    return a == b ? "" : a / 2 == b / 2 ? "NVLink" : "PCIe";
}

static void check_sentence(const char *(*link)(uint32_t, uint32_t), uint32_t count, const char *expected,
                           uint32_t expected_level)
{
    const device_api api = {.link = link};
    const uint32_t ordinal[4] = {0, 1, 2, 3};
    char line[448];
    uint32_t level;

    assert_true(links_describe(&api, count, ordinal, line, sizeof line, &level));
    assert_string_equal(line, expected);
    assert_int_equal(level, expected_level);
    assert_int_equal(links_are_fast(&api, count, ordinal), expected_level == TN_LOG_INFO);
}

static void test_links_are_one_sentence(void **state)
{
    (void)state;
    const device_api api = {.link = nvlink};
    const uint32_t same[2] = {1, 1};
    char line[448];
    uint32_t level;

    check_sentence(nvlink, 4, "the 4 GPUs are connected by NVLink, each with each", TN_LOG_INFO);
    check_sentence(
        pcie, 2,
        "the 2 GPUs are connected by PCIe alone: every layer waits for two sums over it; GPUs with NVLink, or a "
        "smaller tensor_parallel_size, are faster",
        TN_LOG_WARNING);
    check_sentence(bridges, 4,
                   "4 of 6 pairs of GPUs are connected by PCIe alone (0-2, 1-2, 0-3, 1-3), the others by NVLink: every "
                   "layer waits for two sums over the slowest",
                   TN_LOG_WARNING);
    assert_false(links_describe(&api, 2, same, line, sizeof line, &level));
    assert_false(links_are_fast(&api, 2, same));
    assert_false(links_describe(&api, 1, same, line, sizeof line, &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_are_described_without_a_context),
        cmocka_unit_test(test_without_nvml_all_memory_is_free),
        cmocka_unit_test(test_what_is_no_driver_is_refused),
        cmocka_unit_test(test_links_are_of_nvml_then_of_the_driver),
        cmocka_unit_test(test_links_are_one_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
