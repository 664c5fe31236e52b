/* fixture_probe.h: "acme.probe/1", a vendor's own interface, through which tests look into a fixture plugin. */
#ifndef TESTS_ABI_FIXTURE_PROBE_H
#define TESTS_ABI_FIXTURE_PROBE_H

#include "tenon/plugin.h"

typedef struct fixture_probe {
    const tn_host *(*host)(void); /* as init got it */
    uint32_t (*inits)(void);      /* calls of init so far */
} fixture_probe;

#endif
