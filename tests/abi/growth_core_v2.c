/* growth_core_v2.c: the core that knows fixture_v2.h: stubs what an older plugin lacks, and asks `can` before it relies
 * on the younger input field. */
#include "tests/abi/growth_core.h"

#include "plugin/adopt.h"
#include "tests/abi/fixture_v2.h"

#include <string.h>

static tn_fixture ours;

static int64_t twice_by_adding(const tn_fixture_item *item)
{
    return ours.value(item) + ours.value(item);
}

static const adopt_member members[] = {
    ADOPT_MANDATORY(tn_fixture, value),
    ADOPT_MANDATORY(tn_fixture, describe),
    ADOPT_OPTIONAL(tn_fixture, twice, twice_by_adding),
};
static const adopt_table table = {TN_FIXTURE_ID, sizeof(tn_fixture), offsetof(tn_fixture, value), 3, members};
static const adopt_need needs[] = {{TN_NEED_B, "item.b"}};

tn_status growth_core_v2(const void *theirs, growth_report *ret_report, tn_error *err)
{
    tn_fixture_info info = {.struct_size = sizeof info};
    tn_fixture_item item = {.struct_size = sizeof item, .a = 5}, with_b = {sizeof with_b, TN_NEED_B, 5, 3};

    tn_status status = adopt(&table, "growth", theirs, &ours, err);
    if (status != TN_OK)
        return status;
    ours.describe(&info);
    *ret_report = (growth_report){.width = info.width,
                                  .depth = info.depth,
                                  .value = ours.value(&item),
                                  .twice = ours.twice(&item),
                                  .canary_intact = 1};
    ret_report->with_b = adopt_check_need("fixture", with_b.need, ours.can, needs, 1, err);
    if (ret_report->with_b == TN_OK)
        ret_report->value_with_b = ours.value(&with_b);
    return TN_OK;
}
