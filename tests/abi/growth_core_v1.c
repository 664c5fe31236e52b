/* growth_core_v1.c: the core that only knows fixture_v1.h. */
#include "tests/abi/growth_core.h"

#include "plugin/adopt.h"
#include "tests/abi/fixture_v1.h"

#include <string.h>

static const adopt_member members[] = {
    ADOPT_MANDATORY(tn_fixture, value),
    ADOPT_MANDATORY(tn_fixture, describe),
};
static const adopt_table table = {TN_FIXTURE_ID, sizeof(tn_fixture), offsetof(tn_fixture, value), 2, members};

tn_status growth_core_v1(const void *theirs, growth_report *ret_report, tn_error *err)
{
    tn_fixture ours;
    struct {
        tn_fixture_info info;
        uint64_t canary;
    } described = {{sizeof(tn_fixture_info), 0}, 0x1234567890abcdef};
    tn_fixture_item item = {sizeof item, 0, 5};

    tn_status status = adopt(&table, "growth", theirs, &ours, err);
    if (status != TN_OK)
        return status;
    ours.describe(&described.info);
    *ret_report = (growth_report){.width = described.info.width,
                                  .value = ours.value(&item),
                                  .canary_intact = described.canary == 0x1234567890abcdef};
    return TN_OK;
}
