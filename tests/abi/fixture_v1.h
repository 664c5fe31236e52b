/* fixture_v1.h: "tn.fixture/1" as first released: a table, a struct the core passes in, a struct the plugin fills. */
#ifndef TESTS_ABI_FIXTURE_V1_H
#define TESTS_ABI_FIXTURE_V1_H

#include "tenon/plugin.h"

#define TN_FIXTURE_ID "tn.fixture/1"

typedef struct tn_fixture_item {
    uint32_t struct_size, need;
    int64_t a;
} tn_fixture_item;
TN_SEALED(tn_fixture_item, a);

typedef struct tn_fixture_info {
    uint32_t struct_size, width; /* struct_size: set by the core */
} tn_fixture_info;
TN_SEALED(tn_fixture_info, width);

typedef struct tn_fixture {
    uint32_t struct_size, can;
    int64_t (*value)(const tn_fixture_item *item); /* Mandatory. */
    void (*describe)(tn_fixture_info *ret_info);   /* Mandatory. */
} tn_fixture;
TN_SEALED(tn_fixture, describe);

#endif
