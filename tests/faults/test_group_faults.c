/* test_group_faults.c: a process alone in a group joins, exchanges and leaves while memory runs out, at every
 * allocation in turn. */
#include "fail_nth.h"
#include "unit/cmocka_test.h"
#include "unit/scratch_directory.h"

#include "group/node_list.h"
#include "group/rendezvous.h"

static settings *group_settings;
static group_identity identity;

static tn_status parse_nodes(tn_error *err)
{
    node_list list;
    tn_status status = node_list_parse("NODES", "n[1-100],m[01-03]", &list, err);
    if (status == TN_OK)
        node_list_finish(&list);
    return status;
}

static tn_status live(tn_error *err)
{
    tn_group group;
    char value[16];
    uint64_t n = sizeof value;
    tn_status status = rendezvous_open(group_settings, &identity, &group, err);
    if (status == TN_OK)
        status = rendezvous_table.put(NULL, "key", "value", 5, err);
    if (status == TN_OK)
        status = rendezvous_table.get(NULL, "key", value, &n, 5000, err);
    rendezvous_close();
    return status;
}

/* Returns how many allocations there are. */
static uint32_t live_without_memory(const char *store, bool exact)
{
    const char *sets[] = {"group.rank=0", "group.world_size=1", "group.join_timeout=5", store, NULL};
    tn_error err = TN_ERROR_INIT;
    if (settings_read(NULL, sets, &group_settings, &err) != TN_OK ||
        group_identity_find(group_settings, group_environment, &identity, &err) != TN_OK)
        fail_msg("%s", err.msg);
    uint32_t count = fail_every_allocation(live, exact);
    settings_destroy(group_settings);
    return count;
}

static void test_lists_of_nodes(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(parse_nodes, true) >= 3);
}

static void test_a_store_in_a_folder(void **state)
{
    (void)state;
    char store[96];
    scratch_directory directory = scratch_create();
    snprintf(store, sizeof store, "group.store=file:%s", directory.path);
    assert_true(live_without_memory(store, true) >= 5);
    scratch_destroy(&directory);
}

/* The member hears of rank 0's lack of memory by what its thread can still say. */
static void test_a_store_over_tcp(void **state)
{
    (void)state;
    char store[64];
    setenv("TENON_GROUP_SECRET", "sixteen bytes, or more", 1);
    snprintf(store, sizeof store, "group.store=tcp://127.0.0.1:%d", 20000 + (int)getpid() % 9000);
    assert_true(live_without_memory(store, false) >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_of_nodes),
        cmocka_unit_test(test_a_store_in_a_folder),
        cmocka_unit_test(test_a_store_over_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
