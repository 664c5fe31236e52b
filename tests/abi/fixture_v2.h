/* fixture_v2.h: fixture_v1.h one minor later: every struct has grown by one member. */
#ifndef TESTS_ABI_FIXTURE_V2_H
#define TESTS_ABI_FIXTURE_V2_H

#include "tenon/plugin.h"

#define TN_FIXTURE_ID "tn.fixture/1"

enum { TN_NEED_B = 1u << 0 /* tn_fixture_item.b, whose neglect would change the answer */ };

typedef struct tn_fixture_item {
    uint32_t struct_size, need;
    int64_t a;
    int64_t b; /* minor 2; value = a + b */
} tn_fixture_item;
TN_SEALED(tn_fixture_item, b);

typedef struct tn_fixture_info {
    uint32_t struct_size, width;
    uint64_t depth; /* minor 2 */
} tn_fixture_info;
TN_SEALED(tn_fixture_info, depth);

typedef struct tn_fixture {
    uint32_t struct_size, can;
    int64_t (*value)(const tn_fixture_item *item);
    void (*describe)(tn_fixture_info *ret_info);
    int64_t (*twice)(const tn_fixture_item *item); /* minor 2. NULL: the core doubles the value */
} tn_fixture;
TN_SEALED(tn_fixture, twice);

#endif
