/* test_service_ledger.c: what is reserved of which device, and who gets the last of it. */
#include "cmocka_test.h"

#include "service/ledger.h"

#include <string.h>

static ledger_pool pool_of(const char *domain, uint32_t devices, uint64_t bytes)
{
    ledger_pool pool = {.device_count = devices, .device_bytes = bytes};
    snprintf(pool.domain, sizeof pool.domain, "%s", domain);
    for (uint32_t i = 0; i < devices; i++)
        pool.ordinals[i] = i;
    return pool;
}

static tn_status take(ledger *ledger, const ledger_pool *pool, const char *service, uint32_t devices, uint64_t bytes,
                      uint64_t *ret_had)
{
    const ledger_claim *claim;
    return ledger_take(ledger, pool, service, "", devices, bytes, &claim, ret_had, NULL);
}

static void test_the_second_is_refused_with_what_is_left(void **state)
{
    (void)state;
    ledger ledger = {0};
    ledger_pool pool = pool_of("cuda_tp", 1, 100);
    uint64_t had = 0;
    assert_int_equal(take(&ledger, &pool, "a", 1, 60, &had), TN_OK);
    assert_int_equal(take(&ledger, &pool, "b", 1, 41, &had), TN_E_MEMORY);
    assert_int_equal(had, 40);
    assert_null(ledger_find(&ledger, "b", ""));
    assert_int_equal(take(&ledger, &pool, "b", 1, 40, &had), TN_OK);
    assert_int_equal(ledger_reserved(&ledger, "cuda_tp", 0), 100);
    ledger_release(&ledger, "a", NULL);
    assert_int_equal(ledger_reserved(&ledger, "cuda_tp", 0), 40);
    ledger_finish(&ledger);
}

static void test_devices_with_the_most_room_first(void **state)
{
    (void)state;
    ledger ledger = {0};
    ledger_pool pool = pool_of("cuda_tp", 4, 100);
    const ledger_claim *claim;
    uint64_t had = 0;
    assert_int_equal(ledger_take(&ledger, &pool, "a", "a-1", 1, 50, &claim, &had, NULL), TN_OK);
    assert_int_equal(claim->ordinals[0], 0);
    assert_int_equal(ledger_take(&ledger, &pool, "a", "a-2", 2, 30, &claim, &had, NULL), TN_OK);
    assert_int_equal(claim->ordinals[0], 1);
    assert_int_equal(claim->ordinals[1], 2);
    assert_int_equal(ledger_take(&ledger, &pool, "b", "b-1", 4, 60, &claim, &had, NULL), TN_E_MEMORY);
    assert_int_equal(had, 50); /* of the fullest of the four */
    assert_int_equal(ledger_take(&ledger, &pool, "b", "b-1", 5, 1, &claim, &had, NULL), TN_E_ARGUMENT);
    assert_int_equal(ledger_take(&ledger, &pool, "b", "b-1", 0, 1, &claim, &had, NULL), TN_E_ARGUMENT);
    ledger_finish(&ledger);
}

/* Two pools that name the same device do not give it away twice; shares of the host's memory are apart. */
static void test_pools_share_real_devices_only(void **state)
{
    (void)state;
    ledger ledger = {0};
    ledger_pool first = pool_of("cuda_tp", 2, 100), second = pool_of("cuda_tp", 1, 100),
                host = pool_of("pool a", 2, 100);
    uint64_t had = 0;
    second.ordinals[0] = 1;
    assert_int_equal(take(&ledger, &first, "a", 2, 70, &had), TN_OK);
    assert_int_equal(take(&ledger, &second, "b", 1, 40, &had), TN_E_MEMORY);
    assert_int_equal(had, 30);
    assert_int_equal(take(&ledger, &host, "c", 2, 100, &had), TN_OK);
    ledger_finish(&ledger);
}

static void test_a_place_changes_hands(void **state)
{
    (void)state;
    ledger ledger = {0};
    ledger_pool pool = pool_of("pool a", 1, 100);
    uint64_t had = 0;
    assert_int_equal(take(&ledger, &pool, "a", 1, 60, &had), TN_OK);
    ledger_rename(&ledger, "a", "", "a-1");
    assert_null(ledger_find(&ledger, "a", ""));
    assert_int_equal(ledger_find(&ledger, "a", "a-1")->bytes, 60);
    assert_int_equal(take(&ledger, &pool, "a", 1, 40, &had), TN_OK);
    ledger_release(&ledger, "a", "a-1");
    assert_int_equal(ledger_reserved(&ledger, "pool a", 0), 40);
    ledger_release(&ledger, "nobody", NULL);
    ledger_claim found = *ledger_find(&ledger, "a", "");
    snprintf(found.instance, sizeof found.instance, "a-2");
    found.bytes = 90; /* more than is there: what runs has it */
    assert_int_equal(ledger_restore(&ledger, &found, NULL), TN_OK);
    assert_int_equal(take(&ledger, &pool, "b", 1, 1, &had), TN_E_MEMORY);
    assert_int_equal(had, 0);
    ledger_finish(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_second_is_refused_with_what_is_left),
        cmocka_unit_test(test_devices_with_the_most_room_first),
        cmocka_unit_test(test_pools_share_real_devices_only),
        cmocka_unit_test(test_a_place_changes_hands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
