/* test_pool.c: predefined pools, sections that make or change one, costs, and mangled sections with file and line. */
#include "cmocka_test.h"

#include "pool/pool.h"
#include "scratch_directory.h"

#include <string.h>

typedef struct fixture {
    scratch_directory directory;
    char path[96];
    settings *settings;
    tn_error err;
} fixture;

static tn_status open_fixture(fixture *f, const char *text)
{
    *f = (fixture){.directory = scratch_create(), .err = TN_ERROR_INIT};
    scratch_write(&f->directory, "t.ini", text, strlen(text));
    snprintf(f->path, sizeof f->path, "%s/t.ini", f->directory.path);
    return settings_read(f->path, NULL, &f->settings, &f->err);
}

static void close_fixture(fixture *f)
{
    settings_destroy(f->settings);
    scratch_destroy(&f->directory);
}

static pool must_find(fixture *f, const char *name)
{
    pool pool;
    if (pool_find(f->settings, name, &pool, &f->err) != TN_OK)
        fail_msg("%s", f->err.msg);
    return pool;
}

static void test_predefined_pools(void **state)
{
    (void)state;
    fixture f;
    assert_int_equal(open_fixture(&f, ""), TN_OK);
    pool small = must_find(&f, "GPU_NV_S"), medium = must_find(&f, "GPU_NV_M"), large = must_find(&f, "GPU_NV_L");

    assert_string_equal(small.device.name, "A10G");
    assert_int_equal(small.count, 1);
    assert_int_equal(medium.count, 4);
    assert_int_equal(medium.link, DEVICE_LINK_PCIE);
    assert_string_equal(large.device.name, "A100-40GB");
    assert_int_equal(large.count, 8);
    assert_int_equal(large.link, DEVICE_LINK_NVLINK);
    assert_string_equal(large.backend, "cuda_tp");
    assert_true(large.device.flags & TN_DEVICE_DESCRIBED && !large.priced);
    pool none;
    assert_int_equal(pool_at(f.settings, 3, &none, NULL), TN_E_NOT_FOUND);
    close_fixture(&f);
}

/* A driver shows less than the box says, but never less than nine tenths. */
static void test_cards_have_what_their_names_say(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double box_gib;
    } cards[] = {{"A10G", 24}, {"A100-40GB", 40}, {"A100-80GB", 80}, {"L4", 24},
                 {"L40S", 48}, {"H100", 80},      {"H200", 141},     {"RTX-4090", 24}};
    for (uint32_t i = 0; i < 8; i++) {
        const device_card *card = device_card_find(cards[i].name);
        assert_ptr_equal(card, device_card_at(i));
        double gib = (double)card->memory / (double)(1ull << 30);
        assert_true(gib < cards[i].box_gib && gib > 0.9 * cards[i].box_gib);
        assert_true(card->memory_bandwidth >= 300e9 && card->bf16_flops >= 70e12 && card->link_bandwidth > 0);
    }
    assert_null(device_card_at(8));
    assert_ptr_equal(device_card_find("h100"), device_card_at(5));
}

static void test_a_section_makes_a_pool(void **state)
{
    (void)state;
    fixture f;
    assert_int_equal(open_fixture(&f, "[pool a]\ndevice = H100\ncount = 2\nlink = pcie\nnodes = 3\n"
                                      "[pool odd]\ndevice = B900\nmemory = 256GiB\nmemory_bandwidth = 8TB\n"
                                      "bf16_teraflops = 2000\nbackend = vendor\n[pool here]\n"),
                     TN_OK);
    pool a = must_find(&f, "a"), odd = must_find(&f, "odd"), here = must_find(&f, "here");
    assert_string_equal(a.device.name, "H100");
    assert_int_equal(a.count * a.nodes, 6);
    assert_int_equal(a.link, DEVICE_LINK_PCIE);
    assert_true(a.link_bandwidth == 32e9);
    assert_string_equal(odd.device.name, "B900");
    assert_true(odd.device.mem_total == 256ull << 30 && odd.memory_bandwidth == 8e12 && odd.bf16_flops == 2e15);
    assert_string_equal(odd.backend, "vendor");
    assert_true(odd.link == DEVICE_LINK_UNKNOWN && odd.count == 1);
    assert_true(!here.described && here.count == 0 && !here.backend);
    close_fixture(&f);
}

static void test_a_section_changes_only_what_it_names(void **state)
{
    (void)state;
    fixture f;
    assert_int_equal(open_fixture(&f, "[pool GPU_NV_M]\nrate_per_hour = 5.5\nhours_per_month = 100\n"
                                      "power_per_month = 10\ndepreciation_per_month = 20\noperations_per_month = 30\n"
                                      "currency = EUR\n"),
                     TN_OK);
    pool pool = must_find(&f, "GPU_NV_M");
    assert_string_equal(pool.device.name, "A10G");
    assert_int_equal(pool.count, 4);
    assert_true(pool.priced && pool_month_cost(&pool) == 5.5 * 100 + 60);
    assert_string_equal(pool.currency, "EUR");
    assert_false(must_find(&f, "GPU_NV_S").priced);
    close_fixture(&f);
}

/* message: after the folder's name. */
static void must_fail(const char *text, const char *name, const char *message)
{
    fixture f;
    pool pool;
    tn_status status = open_fixture(&f, text);
    if (status == TN_OK)
        status = pool_find(f.settings, name, &pool, &f.err);
    assert_int_not_equal(status, TN_OK);
    const char *at = strstr(f.err.msg, "t.ini");
    assert_string_equal(at ? at : f.err.msg, message);
    close_fixture(&f);
}

static void test_mangled_sections(void **state)
{
    (void)state;
    must_fail("[pool a]\ncuont = 2\n", "a", "t.ini:2: [pool a] has no key \"cuont\"; did you mean \"count\"?");
    must_fail("[log]\n[pol a]\n", "a", "t.ini:2: there is no section [pol a]; did you mean [pool NAME]?");
    must_fail("[pool]\n", "a",
              "t.ini:1: [pool] needs a name of 1 to 32 letters, digits, '-' and '_', such as [pool a]");
    must_fail("[pool a.b]\n", "a",
              "t.ini:1: [pool a.b] needs a name of 1 to 32 letters, digits, '-' and '_', such as [pool a]");
    must_fail("[my plugin]\n", "a",
              "t.ini:1: there is no section [my plugin]; only pools, prices, services and targets have names");
    must_fail("[pool a]\ncount = 0\n", "a", "t.ini:2: [pool a] count: 0 is outside 1 to 64");
    must_fail("[pool a]\nlink = token-ring\n", "a", "t.ini:2: [pool a] link: \"token-ring\" is not pcie or nvlink");
    must_fail("[pool a]\nrate_per_hour = cheap\n", "a", "t.ini:2: [pool a] rate_per_hour: \"cheap\" is not a number");
    must_fail("[pool a]\ncount = 1\n[pool b]\n[pool a]\ncount = 2\n", "a",
              "t.ini:5: [pool a] count is already set in line 2; keep one of them");
    must_fail("[pool a]\n\ndevice = H10\n", "a",
              "t.ini:3: [pool a] device: there is no card \"H10\"; did you mean \"H100\"? `tenon pool devices` lists "
              "them; set memory to describe another");
    must_fail("[pool a]\nmemory = 20GiB\n", "a", "t.ini:2: [pool a] memory: it describes a device: name it in device");
    must_fail("[pool abc]\n", "abd", "there is no pool \"abd\"; did you mean \"abc\"?");
    must_fail(
        "[pool x]\n", "something",
        "there is no pool \"something\"; there are GPU_NV_S, GPU_NV_M, GPU_NV_L, x; a section [pool NAME] makes one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predefined_pools),       cmocka_unit_test(test_cards_have_what_their_names_say),
        cmocka_unit_test(test_a_section_makes_a_pool), cmocka_unit_test(test_a_section_changes_only_what_it_names),
        cmocka_unit_test(test_mangled_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
