/* plugins/cuda_tp/load.h: compile, seal, kv_reserve and model_free of the table. */
#ifndef CUDA_TP_LOAD_H
#define CUDA_TP_LOAD_H

#include "model.h"

tn_status load_compile(tn_dev *dev, const tn_compile *compile, tn_model **ret_model, tn_error *err);
tn_status load_seal(tn_model *m, tn_error *err);
tn_status load_kv_reserve(tn_model *m, uint32_t group, uint64_t pages, tn_error *err);
void load_free(tn_model *m); /* NULL is fine; accepts half-built */

#endif
