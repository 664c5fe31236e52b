/* tests/e2e/engine_counter.h: what an engine has counted, by name. */
#ifndef TESTS_ENGINE_COUNTER_H
#define TESTS_ENGINE_COUNTER_H

#include "tenon/embed.h"

#include <string.h>

/* The value of one counter of tn.stats; -1 if there is none of that name. */
static inline double engine_counter(const tn_stats_table *stats, tn_engine *engine, const char *name)
{
    for (uint32_t i = 0;; i++) {
        tn_stat stat = {.struct_size = sizeof stat};
        if (stats->stat(engine, i, &stat) != TN_OK)
            return -1;
        if (strcmp(stat.name, name) == 0)
            return stat.value;
    }
}

#endif
