/* fake_models.h: tn.models of two scripted engines, which may come and go. */
#ifndef TESTS_FAKE_MODELS_H
#define TESTS_FAKE_MODELS_H

#include "fake_engine.h"
#include "tenon/models.h"

#include <stdatomic.h>

typedef struct fake_models {
    tn_engine *engine[2];
    atomic_bool listed[2];
    atomic_uint retained[2];
    atomic_ullong generation;
} fake_models;

/* Finds the listed ones by their names. "loading" is on its way, "broken" has failed. */
extern const tn_models_table fake_models_table; /* its tn_models is a fake_models */
void fake_models_list(fake_models *models, uint32_t index, bool listed);

#endif
