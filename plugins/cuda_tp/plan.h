/* plugins/cuda_tp/plan.h: plan and check of the table: they need no device. */
#ifndef CUDA_TP_PLAN_H
#define CUDA_TP_PLAN_H

#include "program.h"

/* As tn_backend.plan and tn_backend.check. [probe] */
tn_status plan_backend(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *plan,
                       tn_error *err);
tn_status plan_check(const tn_devinfo *info, const tn_compile *compile, uint32_t *bad, uint32_t *bad_count,
                     tn_error *err);
/* Bytes of staging that loading takes per rank. */
uint64_t plan_staging_bytes(const program *p);

#endif
