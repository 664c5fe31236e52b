/* growth_core.h: two cores, one built against each version of the fixture's header, each adopting a table the way the
 * real core does and using it through its own copy. */
#ifndef TESTS_ABI_GROWTH_CORE_H
#define TESTS_ABI_GROWTH_CORE_H

#include "tenon/error.h"

/* What a core saw. */
typedef struct growth_report {
    uint32_t width;
    uint64_t depth;         /* core v2 only */
    int64_t value, twice;   /* of a = 5, b not used; twice: core v2 only */
    tn_status with_b;       /* core v2: asking for b = 3 */
    int64_t value_with_b;   /* if with_b is TN_OK */
    uint32_t canary_intact; /* nothing was written behind the info struct */
} growth_report;

/* theirs: what the plugin's get_interface returned. */
tn_status growth_core_v1(const void *theirs, growth_report *ret_report, tn_error *err);
tn_status growth_core_v2(const void *theirs, growth_report *ret_report, tn_error *err);

#endif
