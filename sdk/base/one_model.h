/* sdk/base/one_model.h: tn.models over a single engine: of a process that serves one model. */
#ifndef BASE_ONE_MODEL_H
#define BASE_ONE_MODEL_H

#include "tenon/models.h"

/* Borrowed by those that hold a tn_models of it. */
typedef struct one_model {
    tn_engine *engine;
    const tn_engine_table *engine_api;
} one_model;

static inline tn_models *one_model_models(one_model *model)
{
    return (tn_models *)(void *)model;
}
/* The engine outlives all who ask for it: there is nothing to count. */
extern const tn_models_table one_model_table;

#endif
