/* growth_plugin.c: a plugin with tn.fixture/1, built against fixture_v1.h or, with FIXTURE_V2, against fixture_v2.h. */
#ifdef FIXTURE_V2
#include "tests/abi/fixture_v2.h"
#define FIXTURE_NAME "growth_v2"
#else
#include "tests/abi/fixture_v1.h"
#define FIXTURE_NAME "growth_v1"
#endif

static int64_t fixture_value(const tn_fixture_item *item)
{
#ifdef FIXTURE_V2
    return item->a + (TN_HAS(item, tn_fixture_item, b) ? item->b : 0);
#else
    return item->a;
#endif
}

static void fixture_describe(tn_fixture_info *ret_info)
{
    ret_info->width = 7;
#ifdef FIXTURE_V2
    if (TN_HAS(ret_info, tn_fixture_info, depth))
        ret_info->depth = 9;
#endif
}

#ifdef FIXTURE_V2
static int64_t fixture_twice(const tn_fixture_item *item)
{
    return 2 * fixture_value(item) + 1000; /* tells it from the core's stub */
}
#endif

static const tn_fixture table = {
    .struct_size = sizeof table,
    .value = fixture_value,
    .describe = fixture_describe,
#ifdef FIXTURE_V2
    .can = TN_NEED_B,
    .twice = fixture_twice,
#endif
};

static const void *get_interface(const char *id)
{
    (void)id;
    return &table;
}

static const char *const provides[] = {TN_FIXTURE_ID, NULL};
static const tn_plugin descriptor = {
    .magic = TN_PLUGIN_MAGIC,
    .struct_size = sizeof descriptor,
    .abi_major = TN_ABI_MAJOR,
    .abi_built = TN_ABI_MINOR,
    .abi_min = 1,
    .id = FIXTURE_NAME,
    .version = "1",
    .vendor = "Tenon's tests",
    .license = "Apache-2.0",
    .provides = provides,
    .get_interface = get_interface,
};

const tn_plugin *tn_plugin_entry(void)
{
    return &descriptor;
}
